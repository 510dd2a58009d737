//! The gRPC backend: every unary call is answered with one message, by the h2 crate without TLS.
//!
//! A call that does not bring [`QUESTION`] whole ends with status 13 (INTERNAL) instead.

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpStream;

use crate::backend;

/// Where it listens.
pub(crate) const ADDRESS: &str = "127.0.0.1:18093";

/// The path of the method that is called.
pub(crate) const METHOD: &str = "/bench.Greeter/Greet";

/// A request's body: one message, not compressed, with its length before it.
pub(crate) const QUESTION: &[u8] = b"\x00\x00\x00\x00\x11\x0a\x0fa caller's name";

/// An answer's body, likewise.
pub(crate) const ANSWER: &[u8] = b"\x00\x00\x00\x00\x0f\x0a\x0dHello, world\n";

/// Answers until killed.
pub(crate) fn run() {
    backend::accept_each(ADDRESS, serve);
}

async fn serve(stream: TcpStream) -> Option<()> {
    let mut connection = h2::server::handshake(stream).await.ok()?;
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond));
    }
    None
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let asked = whole(&mut request.into_body()).await?;
    let status = if asked == QUESTION { "0" } else { "13" };
    let head = Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .expect("a valid head");
    let mut body = respond.send_response(head, false)?;
    body.send_data(Bytes::from_static(ANSWER), false)?;
    let status = HeaderValue::from_static(status);
    body.send_trailers(HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        status,
    )]))
}

/// All bytes of a body, given back to the windows as they come.
pub(crate) async fn whole(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}
