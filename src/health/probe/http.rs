//! Good is a backend that answers a request with a fitting status, and with the wanted text if there is one. It is
//! asked in what its pool speaks.

use bytes::Bytes;
use http::HeaderName;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_util::task::AbortOnDropHandle;

use super::Way;
use super::tcp::Connection;
use crate::backend::Backend;
use crate::config::{HttpProbe, Protocol};

/// How far into a body the wanted text is looked for.
const BODY_READ: usize = 64 << 10;

pub(super) async fn ask(
    probe: &HttpProbe,
    backend: &Backend,
    way: &Way,
    connection: Box<dyn Connection>,
) -> Result<(), String> {
    let no_answer = |error: hyper::Error| format!("no HTTP answer: {error}");
    let request = request(probe, backend, way).map_err(|error| format!("cannot ask: {error}"))?;
    let io = TokioIo::new(connection);
    // Whoever drives the connection is needed to the end of the answer.
    let (answer, _driver) = match way.protocol {
        Protocol::Http1 => {
            let (mut sender, driver) = http1::handshake(io).await.map_err(no_answer)?;
            let driver = AbortOnDropHandle::new(tokio::spawn(driver));
            (sender.send_request(request).await, driver)
        }
        Protocol::Http2 => {
            let shaken = http2::handshake(TokioExecutor::new(), io).await;
            let (mut sender, driver) = shaken.map_err(no_answer)?;
            let driver = AbortOnDropHandle::new(tokio::spawn(driver));
            (sender.send_request(request).await, driver)
        }
    };
    let answer = answer.map_err(no_answer)?;
    let status = answer.status().as_u16();
    if !probe.accepts(status) {
        return Err(format!("answered {status}"));
    }
    match &probe.body {
        None => Ok(()),
        Some(wanted) => look_for(wanted.as_bytes(), answer.into_body()).await,
    }
}

fn request(
    probe: &HttpProbe,
    backend: &Backend,
    way: &Way,
) -> Result<http::Request<Empty<Bytes>>, http::Error> {
    let host = probe.host.clone();
    let host = host.unwrap_or_else(|| backend.address.authority());
    let mut request = http::Request::builder().method(&probe.method[..]);
    request = match way.protocol {
        Protocol::Http1 => request
            .uri(&probe.path)
            .header("host", host)
            .header("connection", "close"),
        Protocol::Http2 => {
            let scheme = if way.tls.is_some() { "https" } else { "http" };
            request.uri(format!("{scheme}://{host}{}", probe.path))
        }
    };
    let agent = concat!("synod/", env!("CARGO_PKG_VERSION"), " health");
    let mut request = request.header("user-agent", agent).body(Empty::new())?;
    for (name, value) in &probe.headers {
        let name = HeaderName::try_from(name)?;
        request.headers_mut().insert(name, value.try_into()?);
    }
    Ok(request)
}

async fn look_for(wanted: &[u8], mut body: Incoming) -> Result<(), String> {
    let mut read = Vec::new();
    while read.len() < BODY_READ {
        let Some(frame) = body.frame().await else {
            break;
        };
        let frame = frame.map_err(|error| format!("the body broke off: {error}"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        // Only what is new, and as much before it as could begin the text.
        let from = read.len().saturating_sub(wanted.len());
        read.extend_from_slice(&data);
        if memchr::memmem::find(&read[from..], wanted).is_some() {
            return Ok(());
        }
    }
    Err("the body lacks the wanted text".to_owned())
}
