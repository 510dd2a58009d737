//! One exchange on one fresh connection: an operator's client asks seldom and gains nothing from a pool.

use std::io;

use http::response::Parts;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::{Admin, Call, Client, Reply};
use crate::tls::{Host, Sessions};

/// How an exchange broke.
#[derive(Debug)]
pub(super) enum Broken {
    /// The call is no HTTP request.
    Unfit(http::Error),
    /// Nothing reached the node.
    NotSent(io::Error),
    /// The request was sent, in part at least.
    Sent(hyper::Error),
}

/// An answer whose body is still to come.
pub(super) struct Streamed {
    pub(super) head: Parts,
    pub(super) body: Incoming,
    /// Dropped with it.
    _driver: AbortOnDropHandle<hyper::Result<()>>,
}

/// Sends the call and collects the answer.
pub(super) async fn exchange(client: &Client, admin: &Admin, call: &Call) -> Result<Reply, Broken> {
    let streamed = open(client, admin, call).await?;
    streamed.collect().await.map_err(Broken::Sent)
}

/// Sends the call and waits for the answer's head.
pub(super) async fn open(client: &Client, admin: &Admin, call: &Call) -> Result<Streamed, Broken> {
    let request = request(client, &admin.authority, call).map_err(Broken::Unfit)?;
    let stream = connect(client, admin).await.map_err(Broken::NotSent)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(Broken::Sent)?;
    let driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let response = sender.send_request(request).await.map_err(Broken::Sent)?;
    let (head, body) = response.into_parts();
    Ok(Streamed {
        head,
        body,
        _driver: driver,
    })
}

impl Streamed {
    /// The whole answer.
    pub(super) async fn collect(self) -> Result<Reply, hyper::Error> {
        Ok(Reply {
            body: self.body.collect().await?.to_bytes().to_vec(),
            status: self.head.status,
            headers: self.head.headers,
        })
    }
}

/// A connection, whatever carries it.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

async fn connect(client: &Client, admin: &Admin) -> io::Result<Box<dyn Connection>> {
    let stream = TcpStream::connect(&admin.authority).await?;
    let Some(tls) = client.tls.as_ref().filter(|_| admin.secure) else {
        return Ok(Box::new(stream));
    };
    let host = admin
        .authority
        .rsplit_once(':')
        .map_or("", |(host, _)| host);
    let host = host.trim_matches(['[', ']']);
    let host = host.parse().map_or(Host::Name(host), Host::Ip);
    let encrypted = tls.connect(stream, host, &Sessions::default()).await;
    let unsafe_to_ask = |error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("no TLS with it: {error}"),
        )
    };
    Ok(Box::new(encrypted.map_err(unsafe_to_ask)?))
}

fn request(
    client: &Client,
    admin: &str,
    call: &Call,
) -> Result<http::Request<Full<Bytes>>, http::Error> {
    let mut request = http::Request::builder()
        .method(call.method.clone())
        .uri(&call.path)
        .header("host", admin)
        .header("accept", "application/json");
    if let Some(authorization) = &client.authorization {
        request = request.header("authorization", authorization);
    }
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
    request.body(body)
}
