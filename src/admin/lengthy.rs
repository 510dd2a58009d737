//! What may take long is done where it keeps nothing else waiting.
//!
//! The control plane has one thread: peers, checks of backends and the admin API take turns on it, which costs a third
//! less than having each wake another. A vote must not wait until a list of ten thousand backends is written.

use std::future::poll_fn;
use std::pin::pin;

use axum::extract::Request;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// So many bytes are read, tried and written well within a millisecond.
pub(super) const SHORT: usize = 16 << 10;

/// Does something while another thread goes on with all other tasks of this one.
pub(super) fn lengthy<T>(act: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => block_in_place(act),
        // A runtime of one thread and no other has nobody to go on with.
        _ => act(),
    }
}

/// Whether answering takes no longer than is fair to all others: a small change of one resource, and what holders of
/// locks and probes ask all the time. Whatever reads may read all there is.
pub(super) fn is_short(request: &Request) -> bool {
    let path = request.uri().path();
    let within = |parents: &[&str]| parents.iter().any(|parent| path.starts_with(parent));
    match *request.method() {
        Method::GET | Method::HEAD => within(&["/livez", "/readyz", "/v1/locks/"]),
        _ => {
            let one = [
                "/v1/pools/",
                "/v1/routes/",
                "/v1/policies/",
                "/v1/locks/",
                "/v1/sessions",
            ];
            within(&one) && body(request.headers()).is_some_and(|length| length <= SHORT)
        }
    }
}

/// Bytes of the body, where the head tells.
fn body(headers: &HeaderMap) -> Option<usize> {
    match headers.get(CONTENT_LENGTH) {
        Some(length) => length.to_str().ok()?.parse().ok(),
        None => (!headers.contains_key(TRANSFER_ENCODING)).then_some(0),
    }
}

/// Every step of this answer is a lengthy one.
pub(super) async fn answer(answer: impl Future<Output = Response>) -> Response {
    let mut answer = pin!(answer);
    poll_fn(|context| lengthy(|| answer.as_mut().poll(context))).await
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use axum::body::Body;
    use axum::response::IntoResponse as _;
    use http::StatusCode;

    use super::*;

    /// Far beyond what waking a thread takes.
    const DEADLINE: Duration = Duration::from_secs(30);

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_lengthy_answer_keeps_nothing_else_waiting() {
        let (tell, told) = mpsc::channel::<StatusCode>();
        let long = tokio::spawn(answer(async move {
            let told = told.recv_timeout(DEADLINE);
            told.expect("the other task runs meanwhile").into_response()
        }));
        let other = tokio::spawn(async move { tell.send(StatusCode::OK) });
        other.await.unwrap().expect("somebody waits for it");
        assert_eq!(long.await.unwrap().status(), StatusCode::OK);
    }

    #[test]
    fn what_is_small_for_sure_is_short() {
        let is = |method: &str, path: &str, length: Option<usize>| {
            let mut request = Request::builder().method(method).uri(path);
            if let Some(length) = length {
                request = request.header(CONTENT_LENGTH, length);
            }
            is_short(&request.body(Body::empty()).unwrap())
        };
        assert!(is("PUT", "/v1/pools/web", Some(SHORT)));
        assert!(!is("PUT", "/v1/pools/web", Some(SHORT + 1)));
        assert!(is("DELETE", "/v1/pools/web/backends/b1", None));
        assert!(is("POST", "/v1/locks/leader/acquire", Some(40)));
        assert!(is("POST", "/v1/sessions/keep-alive", Some(40)));
        assert!(is("GET", "/readyz", None));
        assert!(
            !is("GET", "/v1/pools/web", None),
            "it may have 10,000 backends"
        );
        assert!(
            !is("PUT", "/v1/config", Some(40)),
            "it replaces all there is"
        );
        assert!(!is("GET", "/metrics", None));
        let chunked = Request::put("/v1/pools/web").header(TRANSFER_ENCODING, "chunked");
        assert!(!is_short(&chunked.body(Body::empty()).unwrap()));
    }
}
