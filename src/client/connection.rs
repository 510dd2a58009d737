//! One exchange on one fresh connection: an operator's client asks seldom and gains nothing from a pool.

use std::io;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Call, Reply};

/// How an exchange broke.
#[derive(Debug)]
pub(super) enum Broken {
    /// Nothing reached the node.
    NotSent(io::Error),
    /// The request was sent, in part at least.
    Sent(hyper::Error),
}

/// Sends the call and collects the answer.
pub(super) async fn exchange(admin: &str, call: &Call) -> Result<Reply, Broken> {
    let stream = TcpStream::connect(admin).await.map_err(Broken::NotSent)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(Broken::Sent)?;
    let driver = tokio::spawn(connection);
    let reply = async {
        let response = sender
            .send_request(request(admin, call)?)
            .await
            .map_err(Broken::Sent)?;
        let (head, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(Broken::Sent)?
            .to_bytes()
            .to_vec();
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body,
        })
    }
    .await;
    driver.abort();
    reply
}

fn request(admin: &str, call: &Call) -> Result<http::Request<Full<Bytes>>, Broken> {
    let mut request = http::Request::builder()
        .method(call.method.clone())
        .uri(&call.path)
        .header("host", admin)
        .header("accept", "application/json");
    for (name, value) in &call.headers {
        request = request.header(*name, value);
    }
    let body = match &call.body {
        Some(body) => {
            request = request.header("content-type", "application/json");
            Full::from(body.to_string())
        }
        None => Full::default(),
    };
    request
        .body(body)
        .map_err(|error| Broken::NotSent(io::Error::new(io::ErrorKind::InvalidInput, error)))
}
