//! Reading a request body: bounded in bytes, bounded in depth, JSON or refused with the place where it is not.
//!
//! A body over the limit is not kept but, up to a second bound, still read: an answer sent while the client is writing
//! is lost when the connection is reset (RFC 9112, 9.6).

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http_body_util::BodyExt;
use serde_json::Value;

use super::problem::{Kind, Problem};
use crate::config::{Unambiguous, limits};

/// The largest body taken.
const LIMIT: usize = limits::COMMAND_BYTES;
/// Past the limit, this much is read and dropped so that the refusal arrives.
const DRAIN: usize = 64 << 20;
/// The slowest body taken.
const WITHIN: Duration = Duration::from_secs(30);

/// A request body that is one JSON value.
pub(super) struct JsonBody(pub(super) Value);

impl<S: Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        expect_json(&parts.headers)?;
        let bytes = read(&parts.headers, body).await?;
        if bytes.is_empty() {
            return Err(Problem::at(
                Kind::Malformed,
                "",
                "the body is empty; it must be a JSON value",
            ));
        }
        parse(&bytes).map(Self)
    }
}

/// JSON by its name, or a body without a name, or with the name that curl gives when none is said; anything else would
/// be guessed at. A page of another origin can send the last as well: its writes are refused for that origin.
fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(named) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = named
        .to_str()
        .unwrap_or("")
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    if matches!(
        essence.as_str(),
        "application/json" | "application/merge-patch+json" | "application/x-www-form-urlencoded"
    ) {
        return Ok(());
    }
    let detail = format!(
        "the content-type is {named:?}; it must be application/json or application/merge-patch+json"
    );
    Err(Problem::new(Kind::UnsupportedMediaType, detail))
}

/// Bytes of the body, where a head tells.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let oversize = announced(headers).is_some_and(|length| length > LIMIT as u64);
    if oversize && headers.contains_key(EXPECT) {
        return Err(too_large()); // The client waits to be asked for the body, so there is nothing to drain.
    }
    match tokio::time::timeout(WITHIN, collect(body, oversize)).await {
        Ok(result) => result,
        Err(_) => Err(Problem::new(
            Kind::Malformed,
            format!("the body did not arrive within {} s", WITHIN.as_secs()),
        )),
    }
}

async fn collect(mut body: Body, mut oversize: bool) -> Result<Bytes, Problem> {
    let mut kept = BytesMut::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::new(Kind::Malformed, format!("the body broke off: {error}"))
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        seen += data.len();
        oversize |= seen > LIMIT;
        if !oversize {
            kept.extend_from_slice(&data);
            continue;
        }
        kept = BytesMut::new();
        if seen > DRAIN {
            break;
        }
    }
    if oversize {
        Err(too_large())
    } else {
        Ok(kept.freeze())
    }
}

fn too_large() -> Problem {
    Problem::new(
        Kind::TooLarge,
        format!("the body is over {LIMIT} bytes; a larger change must be split"),
    )
}

/// Stops at a depth of 128, which is serde_json's own bound, long before the stack is in danger.
fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(bytes)
        .map(|Unambiguous(value)| value)
        .map_err(|error| {
            Problem::at(
                Kind::Malformed,
                "",
                format!("the body is not JSON: {error}"),
            )
            .with("line", error.line())
            .with("column", error.column())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn taken(content_type: Option<&str>, body: impl Into<Body>) -> Result<Value, Kind> {
        let mut request = Request::builder().uri("/");
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request
            .body(body.into())
            .expect("a static request is valid");
        JsonBody::from_request(request, &())
            .await
            .map(|body| body.0)
            .map_err(|problem| problem.kind())
    }

    #[tokio::test]
    async fn bodies_are_json_or_refused() {
        let json = Some("application/json");
        assert_eq!(
            taken(json, "{\"a\":1}").await,
            Ok(serde_json::json!({"a": 1}))
        );
        assert_eq!(
            taken(Some("Application/JSON; charset=utf-8"), "1").await,
            Ok(serde_json::json!(1))
        );
        assert_eq!(
            taken(Some("application/merge-patch+json"), "1").await,
            Ok(serde_json::json!(1))
        );
        assert_eq!(taken(None, "1").await, Ok(serde_json::json!(1)));
        assert_eq!(
            taken(Some("text/plain"), "1").await,
            Err(Kind::UnsupportedMediaType)
        );
        assert_eq!(
            taken(Some("application/jsonp"), "1").await,
            Err(Kind::UnsupportedMediaType)
        );
        assert_eq!(
            taken(json, "{\"a\":{\"b\":1,\"b\":2}}").await,
            Err(Kind::Malformed)
        );
        assert_eq!(taken(json, "").await, Err(Kind::Malformed));
        assert_eq!(taken(json, "{\"a\":1} x").await, Err(Kind::Malformed));
        assert_eq!(taken(json, vec![0xff, 0xfe]).await, Err(Kind::Malformed));
    }

    #[tokio::test]
    async fn braces_are_refused_by_depth_and_by_size() {
        let json = Some("application/json");
        assert_eq!(
            taken(json, "{\"a\":".repeat(1000)).await,
            Err(Kind::Malformed)
        );
        assert_eq!(taken(json, "[".repeat(LIMIT)).await, Err(Kind::Malformed));
        assert_eq!(
            taken(json, "{".repeat(10_000_000)).await,
            Err(Kind::TooLarge)
        );
    }
}
