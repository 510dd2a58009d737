//! What may take long is done where it keeps nothing else waiting.
//!
//! The control plane has one thread: peers, checks of backends and the admin API take turns on it, which costs a third
//! less than having each wake another. A vote must not wait until a list of ten thousand backends is written.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

use super::body::announced;

/// So many bytes are read, tried and written well within a millisecond.
pub(super) const SHORT: usize = 16 << 10;

/// So much of it is done at a time: more would have the threads that do it keep the one that serves from its turn.
static SEATS: Semaphore = Semaphore::const_new(2);

/// Does something, when it is its turn, while another thread goes on with all other tasks of this one.
pub(super) async fn lengthy<T>(act: impl FnOnce() -> T) -> T {
    // Never closed: there is a seat sooner or later.
    let _seat = SEATS.acquire().await;
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
            within(&one) && has_short_body(request.headers())
        }
    }
}

/// A body that comes in chunks may be of any length.
fn has_short_body(headers: &HeaderMap) -> bool {
    match announced(headers) {
        Some(length) => length <= SHORT as u64,
        None => !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING),
    }
}

/// Every step of this answer is a lengthy one. It has no seat while it waits for something.
pub(super) async fn answer(answer: impl Future<Output = Response>) -> Response {
    let mut answer = pin!(answer);
    loop {
        let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        let step = || answer.as_mut().poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(response) = lengthy(step).await {
            return response;
        }
        woken().await;
    }
}

/// Returns when this task is woken, by whatever it has polled last.
async fn woken() {
    let mut asleep = false;
    let wait = |_: &mut Context<'_>| match std::mem::replace(&mut asleep, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    };
    poll_fn(wait).await;
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

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn an_answer_that_waits_has_no_seat() {
        let waiting = |_| {
            let (tell, told) = tokio::sync::oneshot::channel::<()>();
            let answer = answer(async move {
                told.await.expect("it is told");
                StatusCode::OK.into_response()
            });
            (tell, tokio::spawn(answer))
        };
        let many: Vec<_> = (0..100).map(waiting).collect();
        assert_eq!(lengthy(|| 7).await, 7, "there is a seat");
        for (tell, answer) in many.into_iter().rev() {
            tell.send(()).expect("it waits");
            assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
        }
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
