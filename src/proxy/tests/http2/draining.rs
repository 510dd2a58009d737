//! A stop, as clients of HTTP/2 see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use h2::Reason;
use serde_json::json;

use super::client::{Client, get, soon};
use super::raw::{self, GOAWAY, HEADERS, PING, Raw, frame};
use crate::proxy::tests::harness::*;
use crate::proxy::tests::swap::{counting, ends_spread_over_a_drain};

/// RFC 9113, 6.8: the first names no stream, so that requests on their way are served; the second, behind the ping that
/// shows that it was read, the last one served.
#[test]
fn the_goodbye_comes_in_two_steps_and_loses_no_request_between_them() {
    let backend = Scripted::named("served");
    let proxy = Harness::to(&[backend.address]);
    let mut raw = Raw::connect(&proxy);
    raw.send(raw::get(1));
    assert_eq!(raw.outcome(), raw::Outcome::Status(200));
    let draining = std::thread::spawn(move || proxy.drain_within(Duration::from_secs(10)));
    let mut frames =
        std::iter::from_fn(|| raw.frame()).map(|(kind, flags, _, payload)| (kind, flags, payload));
    let first = frames.find(|(kind, ..)| *kind == GOAWAY).unwrap().2;
    assert_eq!(first, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let (_, _, ping) = frames
        .find(|(kind, flags, _)| (*kind, *flags) == (PING, 0))
        .unwrap();
    drop(frames);
    // It crossed the first on its way.
    raw.send(raw::get(3));
    raw.send(frame(PING, 1, 0, ping));
    let (mut served, mut second) = (false, None);
    while let Some((kind, _, stream, payload)) = raw.frame() {
        served |= kind == HEADERS && stream == 3;
        if kind == GOAWAY {
            second = Some(payload);
        }
    }
    assert!(served);
    assert_eq!(second.as_deref(), Some(&[0, 0, 0, 3, 0, 0, 0, 0][..]));
    assert_eq!(draining.join().unwrap(), 0, "connections cut");
}

#[test]
fn idle_connections_are_told_goodbye_one_by_one_over_a_third_of_the_drain() {
    ends_spread_over_a_drain(|proxy| {
        let mut raw = Raw::connect(proxy);
        raw.send(raw::get(1));
        assert_eq!(raw.outcome(), raw::Outcome::Status(200));
        move || assert_eq!(raw.outcome(), raw::Outcome::GoAway(0))
    });
}

/// What a client is not answered it is told was not done, and it was not.
#[test]
fn requests_under_way_at_a_drain_are_answered_and_all_others_never_sent_on() {
    const CLIENTS: usize = 4;
    let (backend, seen) = counting();
    let mut two = options();
    two.threads = 2;
    let proxy = Harness::new(two, &web(&[backend.address], json!({})));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = runtime.block_on(soon(Client::connect(&proxy)));
            let answered = answered.clone();
            runtime.spawn(async move {
                while client.is_welcome().await {
                    let mut sent = Vec::new();
                    while sent.len() < 8 && client.is_welcome().await {
                        sent.extend(client.try_send(get("/")));
                    }
                    for response in sent {
                        match response.await {
                            Ok(response) => {
                                assert_eq!(response.status(), 200);
                                answered.fetch_add(1, Ordering::SeqCst);
                            }
                            Err(error) => assert!(was_not_done(&error), "{error}"),
                        }
                    }
                }
            })
        })
        .collect();
    wait_until(|| answered.load(Ordering::SeqCst) > 500);
    assert_eq!(
        proxy.drain_within(Duration::from_secs(10)),
        0,
        "connections cut"
    );
    runtime.block_on(soon(async {
        for client in clients {
            client.await.unwrap();
        }
    }));
    assert_eq!(answered.load(Ordering::SeqCst), seen.load(Ordering::SeqCst));
}

/// RFC 9113, 8.7: a stream that was refused, or is behind the last one that a goodbye named.
fn was_not_done(error: &h2::Error) -> bool {
    error.reason() == Some(Reason::REFUSED_STREAM)
        || error.is_go_away() && error.reason() == Some(Reason::NO_ERROR)
}
