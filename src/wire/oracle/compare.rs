//! One stream of bytes, read by our codec and by hyper's server.
//!
//! Shared by the unit tests and the fuzz target, each of which has `wire` in the module above.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::wire::head::RequestHead;
use super::wire::http1::{BodyReader, Parsed, Scan, parse_request};

/// A request as one of the two understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    method: String,
    /// Path and query.
    target: String,
    /// None: it broke, or the stream ended within.
    body: Option<Vec<u8>>,
}

/// Where the two differ in a way that matters: something we would forward that hyper reads otherwise, or refuses.
pub(super) fn disagreement(bytes: &[u8]) -> Option<String> {
    let ours = ours(bytes);
    if ours.is_empty() {
        return None;
    }
    let theirs = theirs(bytes);
    for (at, our) in ours.iter().enumerate() {
        let their = theirs.get(at);
        let same = their.is_some_and(|their| {
            let body = our.body.is_none() || our.body == their.body;
            our.method == their.method && our.target == their.target && body
        });
        // Ours may be cut short where theirs is; a body that we found broken goes nowhere whole.
        if !same && !accepted_by_us_alone(our, their) {
            return Some(format!(
                "{}\nours:   {our:?}\ntheirs: {their:?}",
                bytes.escape_ascii()
            ));
        }
        if !same {
            break;
        }
    }
    None
}

/// What hyper refuses and we pass on, all of it harmless: the `http` crate wants `{`, `}` and `` ` `` escaped in a
/// path, which browsers do not do everywhere and no server minds; and `"`, `<` and `>` in a query, which we escape.
fn accepted_by_us_alone(our: &Seen, their: Option<&Seen>) -> bool {
    let (path, query) = our.target.split_once('?').unwrap_or((&our.target, ""));
    let escaped = || ["%22", "%3C", "%3E"].iter().any(|it| query.contains(it));
    their.is_none() && (path.contains(['{', '}', '`']) || escaped())
}

/// The requests that we would forward, until the connection would end.
pub(super) fn ours(bytes: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut rest = bytes;
    let mut head = RequestHead::new();
    while let Ok(Parsed::Head { len }) = parse_request(rest, &mut Scan::default(), &mut head) {
        rest = &rest[len..];
        let mut body = Vec::new();
        let step =
            BodyReader::request(head.body()).advance_with(rest, |run| body.extend_from_slice(run));
        let whole = step.ok().filter(|step| step.done);
        let query = head
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        seen.push(Seen {
            method: head.method().to_owned(),
            target: format!("{}{query}", head.path()),
            body: whole.map(|_| body),
        });
        match whole {
            Some(step) if head.keep_alive() => rest = &rest[step.consumed..],
            _ => break,
        }
    }
    seen
}

/// The requests that hyper gives to its service.
pub(super) fn theirs(bytes: &[u8]) -> Vec<Seen> {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers needs nothing");
    }
    let seen = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            let target = head
                .uri
                .path_and_query()
                .map_or("/", |target| target.as_str());
            // An absolute target without path.
            let slash = if target.starts_with('?') { "/" } else { "" };
            let target = format!("{slash}{target}");
            let at = seen.borrow().len();
            seen.borrow_mut().push(Seen {
                method: head.method.to_string(),
                target,
                body: None,
            });
            if let Ok(body) = body.collect().await {
                seen.borrow_mut()[at].body = Some(body.to_bytes().to_vec());
            }
            Ok::<_, Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
        }
    });
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (mut near, far) = tokio::io::duplex(1 << 20);
            let serve = hyper::server::conn::http1::Builder::new()
                .half_close(true)
                .serve_connection(TokioIo::new(far), service);
            let feed = async {
                // It may close at once; what it saw counts.
                let _ = near.write_all(bytes).await;
                let _ = near.shutdown().await;
                let mut answers = Vec::new();
                let _ = near.read_to_end(&mut answers).await;
            };
            let (_, ()) = tokio::join!(serve, feed);
        });
    });
    seen.take()
}
