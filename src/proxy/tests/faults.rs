//! Backends that fail: what the client sees, what is tried again, what is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;

use super::harness::*;
use crate::telemetry::metrics::BackendError;

/// What a bad backend does with every request, by name.
fn bad(kind: &'static str) -> (Scripted, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let backend = Scripted::new(move |peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            peer.exactly(
                field(&head, "content-length").map_or(0, |length| length.parse().unwrap()),
            );
            count.fetch_add(1, Ordering::SeqCst);
            match kind {
                "closes" => return,
                "hangs" => drop(peer.rest()),
                "garbage" => return peer.send("SSH-2.0-OpenSSH\r\n\r\n"),
                "ambiguous" => {
                    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")
                }
                "half a head" => return peer.send("HTTP/1.1 200 OK\r\nContent-"),
                "unasked upgrade" => {
                    return peer.send(
                        "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
                    );
                }
                "bad chunk" => {
                    return peer
                        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
                }
                other => panic!("{other}"),
            }
        }
    });
    (backend, seen)
}

fn patient_for_a_moment() -> serde_json::Value {
    json!({"timeouts": {"response_headers": "300ms", "stream_idle": "300ms", "connect": "300ms"}})
}

#[test]
fn each_failure_has_its_answer() {
    let table = [
        ("closes", 502, "connection_terminated", BackendError::Reset),
        ("hangs", 504, "http_response_timeout", BackendError::Timeout),
        (
            "garbage",
            502,
            "http_protocol_error",
            BackendError::Malformed,
        ),
        (
            "ambiguous",
            502,
            "http_protocol_error",
            BackendError::Malformed,
        ),
        (
            "half a head",
            502,
            "connection_terminated",
            BackendError::Reset,
        ),
        (
            "unasked upgrade",
            502,
            "http_upgrade_failed",
            BackendError::Malformed,
        ),
        (
            "bad chunk",
            502,
            "http_protocol_error",
            BackendError::Malformed,
        ),
    ];
    for (kind, expected, error, counted) in table {
        let (backend, seen) = bad(kind);
        let harness = Harness::with_pool(&[backend.address], patient_for_a_moment());
        let mut client = harness.client();
        for n in 1..=2 {
            let (head, body) = client.get();
            assert_eq!(status(&head), expected, "{kind}");
            let why = field(&head, "proxy-status").unwrap();
            assert!(
                why.starts_with(&format!("synod; error={error}")),
                "{kind}: {why}"
            );
            assert!(!body.is_empty());
            harness.settle();
            assert_eq!(
                harness.metrics.backend("web", "b1").errors(counted),
                n,
                "{kind}"
            );
        }
        assert_eq!(
            seen.load(Ordering::SeqCst),
            2,
            "{kind}: no other backend, no other try"
        );
        assert_eq!(harness.metrics.route("all").requests(500), 2);
        assert_eq!(harness.metrics.backend("web", "b1").in_flight(), 0);
    }
    let harness = Harness::to(&[nobody()]);
    let (head, _) = harness.get("/");
    assert_eq!(
        (status(&head), field(&head, "proxy-status")),
        (502, Some("synod; error=connection_refused"))
    );
    assert_eq!(
        harness
            .metrics
            .backend("web", "b1")
            .errors(BackendError::Connect),
        1
    );
}

#[test]
fn a_connect_has_two_seconds_unless_the_pool_says_otherwise() {
    let held_up = HeldUp::new();
    let mut all = Vec::new();
    for (pool, least) in [
        (json!({}), 2_000),
        (json!({"timeouts": {"connect": "200ms"}}), 200),
    ] {
        let harness = Harness::with_pool(&[held_up.address], pool.clone());
        let began = Instant::now();
        let (head, _) = harness.get("/");
        let took = began.elapsed().as_millis();
        assert_eq!(
            (status(&head), field(&head, "proxy-status")),
            (504, Some("synod; error=connection_timeout"))
        );
        assert!(took >= least, "{pool}: {took} ms");
        all.push(took);
        harness.settle();
        let metrics = harness.metrics.backend("web", "b1");
        let counts = BackendError::ALL.map(|error| metrics.errors(error));
        let connects = BackendError::ALL.map(|error| u64::from(error == BackendError::Connect));
        assert_eq!((counts, metrics.in_flight()), (connects, 0));
    }
    assert!(all[1] < all[0], "{all:?}");
}

/// For each method and fault: whether the client gets the good backend's answer when the bad one comes first.
#[test]
fn another_backend_is_tried_when_that_is_safe() {
    let table = [
        ("GET", "closes", true),
        ("HEAD", "closes", true),
        ("PUT", "closes", true),
        ("DELETE", "closes", true),
        ("OPTIONS", "closes", true),
        ("POST", "closes", false),
        ("PATCH", "closes", false),
        ("BREW", "closes", false),
        ("GET", "garbage", true),
        ("POST", "garbage", false),
        ("GET", "hangs", true),
        ("POST", "hangs", false),
        ("GET", "refuses", true),
        ("POST", "refuses", true),
        ("PATCH", "refuses", true),
        ("GET", "holds up", true),
        ("POST", "holds up", true),
        ("PATCH", "holds up", true),
        ("BREW", "holds up", true),
    ];
    let held_up = HeldUp::new();
    for (method, kind, retried) in table {
        let good = Scripted::always(ok(if method == "HEAD" { "" } else { "good" }));
        let bad = match kind {
            "refuses" => nobody(),
            "holds up" => held_up.address,
            kind => bad(kind).0.address,
        };
        let harness = Harness::with_pool(&[bad, good.address], patient_for_a_moment());
        let mut failed = 0;
        for _ in 0..4 {
            let (head, _) = harness.once(&format!(
                "{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
            ));
            failed += usize::from(status(&head) != 200);
        }
        assert_eq!(failed, if retried { 0 } else { 2 }, "{method} {kind}");
        harness.settle();
        assert_eq!(
            harness.metrics.route("all").retries() > 0,
            retried,
            "{method} {kind}"
        );
    }
}

#[test]
fn a_body_that_came_with_the_head_goes_to_the_next_backend_whole() {
    let (good, heads) = recording();
    let harness = Harness::to(&[nobody(), good.address]);
    for _ in 0..4 {
        let (head, _) = harness.once("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(status(&head), 200);
        assert_eq!(field(&heads.recv().unwrap(), "content-length"), Some("4"));
    }
}

#[test]
fn tries_end_at_the_pools_number() {
    let backends: Vec<_> = (0..5).map(|_| bad("closes")).collect();
    let addresses: Vec<_> = backends
        .iter()
        .map(|(backend, _)| backend.address)
        .collect();
    for (attempts, expected) in [(1, 1), (2, 2), (4, 4)] {
        let before: usize = backends
            .iter()
            .map(|(_, seen)| seen.load(Ordering::SeqCst))
            .sum();
        let harness = Harness::with_pool(&addresses, json!({"retries": {"attempts": attempts}}));
        assert_eq!(status(&harness.get("/").0), 502);
        let after: usize = backends
            .iter()
            .map(|(_, seen)| seen.load(Ordering::SeqCst))
            .sum();
        assert_eq!(after - before, expected);
    }
}

#[test]
fn a_spent_budget_ends_the_tries() {
    let good = Scripted::named("good");
    let none = json!({"retries": {"attempts": 3, "budget_percent": 0, "budget_min_per_second": 0}});
    let harness = Harness::with_pool(&[nobody(), good.address], none);
    let statuses: Vec<u16> = (0..4).map(|_| status(&harness.get("/").0)).collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == 502).count(),
        2,
        "{statuses:?}"
    );
}

#[test]
fn a_reused_connection_that_is_dead_is_nobodys_failure() {
    let backend = forgetful(1);
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    for _ in 0..10 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(status(&client.response().0), 200);
    }
    harness.settle();
    assert_eq!(
        harness
            .metrics
            .backend("web", "b1")
            .errors(BackendError::Reset),
        0
    );
    assert_eq!(harness.metrics.route("all").retries(), 0);
}

#[test]
fn what_a_backend_may_have_done_is_not_done_twice() {
    let backend = forgetful(1);
    let harness = Harness::to(&[backend.address]);
    assert_eq!(status(&harness.get("/").0), 200);
    let (head, _) = harness.once("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(status(&head), 502);
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_reused_connection_that_is_dead_ejects_nobody_whatever_the_method() {
    let backend = forgetful(1);
    let harness = Harness::to_one_of_two(backend.address);
    for _ in 0..20 {
        assert_eq!(status(&harness.get("/").0), 200);
        let (head, _) = harness.once("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(status(&head), 502);
        let metrics = harness.metrics.backend("web", "b1");
        assert_eq!(metrics.errors(BackendError::Reset), 0);
        assert!(!harness.backend(0).is_ejected());
    }
}

#[test]
fn a_connection_that_ended_while_idle_is_not_used() {
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.send(ok("x"));
    });
    let harness = Harness::to(&[backend.address]);
    for n in 1..=5 {
        let (head, _) = harness.once("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(status(&head), 200);
        assert_eq!(backend.connections(), n);
        // The script's end closes the connection; the kernel says so before the next request is sent.
        backend.wait_for_ended(n);
    }
}

#[test]
fn bytes_that_nobody_asked_for_end_a_backends_connection() {
    let backend = Scripted::always(format!(
        "{}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        ok("fine")
    ));
    let harness = Harness::to(&[backend.address]);
    for _ in 0..3 {
        assert_eq!(harness.get("/").1, "fine");
    }
    assert_eq!(backend.connections(), 3);
}

#[test]
fn a_body_that_breaks_off_breaks_the_clients_connection() {
    for (answer, version, visible) in [
        ("Content-Length: 100\r\n\r\npart", "1.1", true),
        (
            "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
            "1.1",
            true,
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
            "1.0",
            false,
        ),
    ] {
        let backend = Scripted::new(move |peer, _| {
            peer.head();
            peer.send(format!("HTTP/1.1 200 OK\r\n{answer}"));
        });
        let harness = Harness::to(&[backend.address]);
        let mut client = harness.client();
        client.send(format!("GET / HTTP/{version}\r\nHost: x\r\n\r\n"));
        client.until("part");
        let reset = client.ends_by_reset();
        assert_eq!(
            reset, !visible,
            "{answer:?} to {version}: an end that looks right would be a lie"
        );
        harness.settle();
        assert_eq!(
            harness
                .metrics
                .backend("web", "b1")
                .errors(BackendError::Reset),
            1
        );
    }
}

#[test]
fn a_body_that_stands_still_is_broken_off() {
    let backend = Scripted::new(move |peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
        peer.rest();
    });
    let harness = Harness::with_pool(&[backend.address], patient_for_a_moment());
    let mut client = harness.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    client.until("part");
    assert!(client.is_closed());
}

#[test]
fn a_client_that_leaves_takes_its_try_with_it() {
    let (sender, ended) = std::sync::mpsc::channel();
    let backend = Scripted::new(move |peer, _| {
        peer.head();
        peer.rest();
        sender.send(()).unwrap();
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    backend.wait_for_connections(1);
    drop(client);
    ended
        .recv_timeout(std::time::Duration::from_secs(5))
        .unwrap();
    harness.settle();
    assert_eq!(harness.metrics.backend("web", "b1").in_flight(), 0);
    assert_eq!(harness.metrics.route("all").requests(400), 1);
}
