//! What holds for every request, whatever its path: origin and sender are checked, a panic is an answer, and the answer
//! says at which revision this node stands.

use std::any::Any;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http::header::{HOST, HeaderName, HeaderValue, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Method};

use super::access::Who;
use super::problem::{Kind, Problem};
use super::serve::Caller;
use super::{AdminState, lengthy};
use crate::config::Revision;

/// The revision of the config: the one the answer is of, or else this node's when it was sent.
pub(super) const SYNOD_REVISION: HeaderName = HeaderName::from_static("synod-revision");

/// Of a local read: how long ago this node heard of its leader; what is newer than that it may not know.
const SYNOD_AGE_MS: HeaderName = HeaderName::from_static("synod-age-ms");

/// Which node answers; a client behind an address that several nodes share cannot know otherwise.
pub(super) const SYNOD_NODE: HeaderName = HeaderName::from_static("synod-node");

pub(super) async fn guard(
    State((state, node)): State<(AdminState, HeaderValue)>,
    mut request: Request,
    next: Next,
) -> Response {
    let local = request
        .uri()
        .query()
        .is_some_and(|query| query.contains("consistency=local"));
    let mut response = match permitted(&state, &request) {
        Ok(who) => {
            if let Some(who) = who {
                request.extensions_mut().insert(who);
            }
            match lengthy::is_short(&request) {
                true => without_panic(next.run(request)).await,
                false => without_panic(lengthy::answer(next.run(request))).await,
            }
        }
        Err(problem) => problem.into_response(),
    };
    if !response.headers().contains_key(SYNOD_REVISION) {
        let revision = state.replication.glance().config.revision;
        response
            .headers_mut()
            .insert(SYNOD_REVISION, revision_value(revision));
    }
    response.headers_mut().insert(SYNOD_NODE, node);
    if local {
        response.headers_mut().insert(SYNOD_AGE_MS, age(&state));
    }
    response
}

/// Who sent it, if that is to be known; refused are who may not, and pages that abuse a browser.
fn permitted(state: &AdminState, request: &Request) -> Result<Option<Who>, Problem> {
    let caller = request.extensions().get::<ConnectInfo<Caller>>();
    let caller = caller.map(|ConnectInfo(caller)| caller);
    let (method, headers) = (request.method(), request.headers());
    same_origin(method, headers)?;
    named_as_itself(caller.map(|caller| caller.address.ip()), headers)?;
    state
        .access
        .admit(caller, method, request.uri().path(), headers)
}

pub(super) fn revision_value(revision: Revision) -> HeaderValue {
    HeaderValue::from(revision.0)
}

fn age(state: &AdminState) -> HeaderValue {
    match state.replication.age() {
        Some(ago) => HeaderValue::from(ago.as_millis() as u64),
        None => HeaderValue::from_static("unknown"),
    }
}

/// A panic ends this request and not its connection.
async fn without_panic(answer: impl Future<Output = Response>) -> Response {
    // What was under way is dropped with the request; what is shared recovers from poisoned locks.
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let panic = panic_text(&*panic);
            tracing::error!(panic, "an admin request panicked");
            Problem::new(
                Kind::Internal,
                "this is a bug of Synod: the request failed on this node",
            )
            .into_response()
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}

/// Loopback is no protection from a browser: any page can make it send a request there. A change is refused when the
/// browser says that it comes from a page of another host.
fn same_origin(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let from = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, authority)| authority);
    let to = headers.get(HOST).and_then(|host| host.to_str().ok());
    if from.is_some() && from == to {
        return Ok(());
    }
    Err(Problem::new(
        Kind::CrossOrigin,
        format!("the page that sent this is of {origin:?}, not of this node"),
    ))
}

/// A page may also have its own name resolve to 127.0.0.1, and then is of the same origin. Whoever asks over loopback
/// knows this node by an address or as localhost.
fn named_as_itself(peer: Option<IpAddr>, headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let (Some(peer), Some(host)) = (peer, host) else {
        return Ok(());
    };
    let name = match host.parse::<Authority>() {
        Ok(authority) => authority
            .host()
            .trim_matches(['[', ']'])
            .to_ascii_lowercase(),
        Err(_) => host.to_owned(),
    };
    let itself = name == "localhost" || name.parse::<IpAddr>().is_ok();
    if itself || !peer.to_canonical().is_loopback() {
        return Ok(());
    }
    Err(Problem::new(
        Kind::CrossOrigin,
        format!(
            "over loopback this node is asked for by its address or as localhost, not as {host:?}"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_loopback_only_the_address_names_this_node() {
        let refused = |peer: &str, host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            named_as_itself(Some(peer.parse().unwrap()), &headers).is_err()
        };
        for host in [
            "127.0.0.1:9900",
            "localhost:9900",
            "LOCALHOST",
            "[::1]:9900",
            "10.0.0.7",
        ] {
            assert!(!refused("127.0.0.1", host), "{host}");
        }
        assert!(refused("127.0.0.1", "evil.example"));
        assert!(refused("::1", "evil.example:9900"));
        assert!(refused("::ffff:127.0.0.1", "localhost.evil.example"));
        assert!(!refused("10.0.0.7", "lb.example:9900"));
    }

    #[test]
    fn changes_from_pages_of_other_hosts_are_refused() {
        let refused = |method: Method, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("127.0.0.1:9900"));
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            same_origin(&method, &headers).is_err()
        };
        assert!(!refused(Method::POST, None));
        assert!(!refused(Method::POST, Some("http://127.0.0.1:9900")));
        assert!(!refused(Method::GET, Some("http://evil.example")));
        assert!(refused(Method::POST, Some("http://evil.example")));
        assert!(refused(Method::DELETE, Some("null")));
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let answer = without_panic(async { panic!("on purpose") }).await;
        assert_eq!(answer.status(), http::StatusCode::INTERNAL_SERVER_ERROR);
    }
}
