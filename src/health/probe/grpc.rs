//! Good is a backend whose health service of gRPC (grpc.health.v1) says that it is serving.

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{RecvStream, client};
use http::HeaderMap;
use prost::Message;
use tokio_util::task::AbortOnDropHandle;

use super::tcp::Connection;
use crate::backend::Backend;
use crate::config::GrpcProbe;

/// The longest answer that is read; a right one has seven bytes.
const MOST_READ: usize = 4 << 10;

/// What stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// `ServingStatus.SERVING`
const SERVING: i32 = 1;

#[derive(Clone, PartialEq, Message)]
pub(super) struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    pub(super) service: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

pub(super) async fn ask(
    probe: &GrpcProbe,
    backend: &Backend,
    encrypted: bool,
    connection: Box<dyn Connection>,
) -> Result<(), String> {
    let no_answer = |error: h2::Error| format!("no gRPC answer: {error}");
    let shaken = client::handshake(connection).await;
    let (sender, driver) = shaken.map_err(no_answer)?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(driver));
    let request = request(backend, encrypted).map_err(|error| format!("cannot ask: {error}"))?;
    let mut sender = sender.ready().await.map_err(no_answer)?;
    let (answer, mut body) = sender.send_request(request, false).map_err(no_answer)?;
    let question = HealthCheckRequest {
        service: probe.service.clone(),
    };
    body.send_data(framed(&question), true).map_err(no_answer)?;
    let (head, body) = answer.await.map_err(no_answer)?.into_parts();
    let status = head.status.as_u16();
    if status != 200 {
        return Err(format!("answered {status}"));
    }
    // An answer that is a head only.
    if head.headers.contains_key("grpc-status") {
        succeeded(&head.headers)?;
    }
    let (message, trailers) = read(body).await.map_err(no_answer)?;
    succeeded(&trailers)?;
    serving(&message)
}

fn request(backend: &Backend, encrypted: bool) -> Result<http::Request<()>, http::Error> {
    let scheme = if encrypted { "https" } else { "http" };
    let authority = backend.address.authority();
    http::Request::post(format!(
        "{scheme}://{authority}/grpc.health.v1.Health/Check"
    ))
    .version(http::Version::HTTP_2)
    .header("content-type", "application/grpc")
    .header("te", "trailers")
    .header(
        "user-agent",
        concat!("synod/", env!("CARGO_PKG_VERSION"), " health"),
    )
    .body(())
}

/// A message as it is sent: not compressed.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let bytes = message.encode_to_vec();
    let mut framed = BytesMut::with_capacity(PREFIX + bytes.len());
    framed.put_u8(0);
    framed.put_u32(bytes.len() as u32);
    framed.put_slice(&bytes);
    framed.freeze()
}

/// The body, as far as it is of interest, and the trailers.
async fn read(mut body: RecvStream) -> Result<(Vec<u8>, HeaderMap), h2::Error> {
    let mut read = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        if read.len() < MOST_READ {
            read.extend_from_slice(&data);
        }
    }
    Ok((read, body.trailers().await?.unwrap_or_default()))
}

fn succeeded(fields: &HeaderMap) -> Result<(), String> {
    let text = |name| fields.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        Some("0") => Ok(()),
        None => Err("answered without a status of gRPC".to_owned()),
        Some(code) => {
            let message = text("grpc-message").unwrap_or_default();
            Err(format!("answered with gRPC status {code}: {message}"))
        }
    }
}

fn serving(answer: &[u8]) -> Result<(), String> {
    let message = answer.get(PREFIX..).unwrap_or_default();
    match HealthCheckResponse::decode(message) {
        Ok(HealthCheckResponse { status: SERVING }) => Ok(()),
        Ok(HealthCheckResponse { status }) => Err(match status {
            0 => "says UNKNOWN".to_owned(),
            2 => "says NOT_SERVING".to_owned(),
            3 => "says SERVICE_UNKNOWN".to_owned(),
            other => format!("says {other}, which is no status of health"),
        }),
        Err(error) => Err(format!("its answer cannot be read: {error}")),
    }
}
