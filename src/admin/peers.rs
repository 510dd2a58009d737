//! Asks another node what only it can know: how many requests it has under way at a backend.
//!
//! Over its admin API, as any client would. An address may not be reachable from here, or may be another node's when
//! it is a loopback address of another machine; the answer says who answered, and is believed only from the right one.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::HOST;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::layers::SYNOD_NODE;
use crate::config::{Name, ResourcePath};

/// For one question and its answer.
const WITHIN: Duration = Duration::from_secs(1);
/// The largest answer read.
const ANSWER_BYTES: usize = 64 << 10;

/// Why a node did not tell.
pub(super) type Why = &'static str;

/// How many requests the node has under way at the backend.
pub(super) async fn in_flight(
    node: &str,
    admin: SocketAddr,
    pool: &Name,
    id: &Name,
) -> Result<u64, Why> {
    let path = ResourcePath::Backend(pool.clone(), id.clone());
    let target = format!("/v1{path}?consistency=local");
    let asked = tokio::time::timeout(WITHIN, ask(node, admin, &target)).await;
    let answer = asked.unwrap_or(Err("its admin address did not answer in time"))?;
    match &answer["status"] {
        Value::Null => Ok(0),
        status => status["in_flight"]
            .as_u64()
            .ok_or("its answer was not understood"),
    }
}

async fn ask(node: &str, admin: SocketAddr, target: &str) -> Result<Value, Why> {
    const UNREACHABLE: Why = "its admin address cannot be reached from here";
    let stream = TcpStream::connect(admin).await.map_err(|_| UNREACHABLE)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|_| UNREACHABLE)?;
    let connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::get(target)
        .header(HOST, admin.to_string())
        .body(Empty::<Bytes>::new());
    let request = request.map_err(|_| "its admin address cannot be asked")?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|_| UNREACHABLE)?;
    if response
        .headers()
        .get(SYNOD_NODE)
        .is_none_or(|name| name != node)
    {
        return Err("its admin address, from here, is not its own");
    }
    let body = Limited::new(response.into_body(), ANSWER_BYTES)
        .collect()
        .await;
    let body = body
        .map_err(|_| "its answer was not understood")?
        .to_bytes();
    drop(connection);
    serde_json::from_slice(&body).map_err(|_| "its answer was not understood")
}
