//! Good is a backend that answers a GET with a fitting status, and with the wanted text if there is one.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio_util::task::AbortOnDropHandle;

use super::tcp::Connection;
use crate::backend::Backend;
use crate::config::HttpProbe;

/// How far into a body the wanted text is looked for.
const BODY_READ: usize = 64 << 10;

pub(super) async fn ask(
    probe: &HttpProbe,
    backend: &Backend,
    connection: Box<dyn Connection>,
) -> Result<(), String> {
    let no_answer = |error: hyper::Error| format!("no HTTP answer: {error}");
    let (mut sender, driver) = http1::handshake(TokioIo::new(connection))
        .await
        .map_err(no_answer)?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(driver));
    let request = request(probe, backend).map_err(|error| format!("cannot ask: {error}"))?;
    let answer = sender.send_request(request).await.map_err(no_answer)?;
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
) -> Result<http::Request<Empty<Bytes>>, http::Error> {
    let host = probe
        .host
        .clone()
        .unwrap_or_else(|| backend.address.authority());
    http::Request::get(&probe.path)
        .header("host", host)
        .header(
            "user-agent",
            concat!("synod/", env!("CARGO_PKG_VERSION"), " health"),
        )
        .header("connection", "close")
        .body(Empty::new())
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
