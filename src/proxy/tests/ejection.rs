//! Backends that fail requests, seen from a client: after a few they get none.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::json;

use super::harness::*;
use crate::telemetry::metrics::BackendError;

/// What a client of two backends sees, the second of which does `kind` with every request.
fn ejected_after(failing: std::net::SocketAddr) -> Harness {
    let good = Scripted::named("good");
    let more = json!({
        "retries": {"attempts": 1},
        "timeouts": {"response_headers": "100ms", "connect": "200ms"},
    });
    let harness = Harness::with_pool(&[good.address, failing], more);
    let bad = harness.backend(1);
    let mut failed = 0;
    wait_until(|| {
        failed += usize::from(status(&harness.get("/").0) >= 500);
        bad.is_ejected()
    });
    assert!(failed >= 5, "{failed} failures are not enough");
    for _ in 0..20 {
        assert_eq!(harness.get("/").1, "good");
    }
    harness
}

#[test]
fn who_fails_five_times_in_a_row_gets_no_more() {
    let failing = [
        Scripted::always("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
        Scripted::always("HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n"),
        Scripted::new(|peer, _| drop(peer.try_until("\r\n\r\n"))),
        Scripted::new(|peer, _| drop(peer.rest())),
    ];
    for backend in failing {
        ejected_after(backend.address);
    }
    ejected_after(HeldUp::new().address);
    let harness = ejected_after(nobody());
    let reason = harness.backend(1).condition().reason.unwrap();
    assert!(reason.starts_with("5 failures in a row"), "{reason}");
    let figures = harness.figures();
    for (name, well, ill) in [("ejected", 0, 1), ("ejections_total", 0, 1)] {
        for (id, expected) in [("b1", well), ("b2", ill)] {
            let line =
                format!("synod_backend_{name}{{pool=\"web\",backend=\"{id}\"}} {expected}\n");
            assert!(figures.contains(&line), "{line} {figures}");
        }
    }
}

/// Any client can have a backend say that it does not know a method or a version.
#[test]
fn who_says_that_it_does_not_do_such_a_thing_has_not_failed() {
    for status in [501, 505] {
        let odd = Scripted::always(format!(
            "HTTP/1.1 {status} No\r\nContent-Length: 3\r\n\r\nodd"
        ));
        let harness = Harness::to_one_of_two(odd.address);
        let told = (0..40).filter(|_| harness.get("/").1 == "odd");
        assert_eq!(told.count(), 40);
        assert!(!harness.backend(0).is_ejected());
    }
}

#[test]
fn a_tenth_of_a_pool_is_ejected_at_most() {
    let bad: Vec<_> = (0..20)
        .map(|n| Scripted::always(ok(&format!("b{n}")).replace("200 OK", "500 No")))
        .collect();
    let addresses: Vec<_> = bad.iter().map(|backend| backend.address).collect();
    let harness = Harness::with_pool(&addresses, json!({"retries": {"attempts": 1}}));
    let ejected = || (0..20).filter(|i| harness.backend(*i).is_ejected()).count();
    let mut client = harness.client();
    let mut ask = || client.get().1;
    wait_until(|| {
        ask();
        ejected() == 2
    });
    // All others fail often enough for it, several times over.
    let answered: BTreeSet<String> = (0..20 * 15).map(|_| ask()).collect();
    assert_eq!((ejected(), answered.len()), (2, 18));
}

#[test]
fn each_ejection_is_half_a_minute_longer_up_to_five_minutes() {
    let good = Scripted::named("good");
    let bad = Scripted::always("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    let more = json!({"retries": {"attempts": 1}});
    let harness = Harness::with_pool(&[good.address, bad.address], more);
    let suspect = harness.backend(1);
    for n in 1..=12 {
        wait_until(|| {
            harness.get("/");
            suspect.is_ejected()
        });
        let ejection = suspect.ejection().unwrap();
        let lasts = ejection.until - ejection.began;
        assert_eq!(lasts.as_secs(), (30 * n).min(300), "the {n}th");
        // As a good check ends it: nobody waits for five minutes.
        assert!(suspect.readmit(Instant::now(), |_| true));
    }
}

#[test]
fn a_single_backend_is_never_ejected() {
    let bad = Scripted::always("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    let harness = Harness::to(&[bad.address]);
    for _ in 0..30 {
        let (head, _) = harness.get("/");
        assert_eq!((status(&head), field(&head, "proxy-status")), (503, None));
    }
    assert!(!harness.backend(0).is_ejected());
}

#[test]
fn with_most_of_a_pool_ejected_all_are_used_unless_that_is_switched_off() {
    let good = Scripted::named("good");
    let bad = ["b", "c"].map(|body| Scripted::always(ok(body).replace("200 OK", "500 No")));
    for (percent, panics) in [(50, true), (0, false)] {
        let more = json!({"retries": {"attempts": 1}, "outlier": {
            "consecutive_failures": 1, "max_percent": 100, "panic_percent": percent}});
        let harness = Harness::with_pool(&[good.address, bad[0].address, bad[1].address], more);
        for index in 1..=2 {
            harness.backend(index).failed(BackendError::Reset);
        }
        wait_until(|| (1..=2).all(|index| harness.backend(index).is_ejected()));
        wait_until(|| harness.pool().recourse().is_panic() == panics);
        let mut answers: Vec<_> = (0..30).map(|_| harness.get("/").1).collect();
        answers.sort_unstable();
        answers.dedup();
        let expected: &[&str] = if panics {
            &["b", "c", "good"]
        } else {
            &["good"]
        };
        assert_eq!(answers, expected);
    }
}

#[test]
fn what_clients_do_is_no_failure_of_the_backend() {
    let good = Scripted::named("good");
    let slow = Scripted::new(|peer, _| {
        while peer.try_until("\r\n\r\n").is_some() {
            peer.rest();
        }
    });
    let harness = Harness::with_pool(&[good.address, slow.address], json!({}));
    for n in 0..20 {
        let mut client = harness.client();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
        slow.wait_for_connections(n / 2);
        drop(client);
    }
    harness.settle();
    assert!((0..2).all(|i| !harness.backend(i).is_ejected()));
}
