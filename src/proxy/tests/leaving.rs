//! Clients that leave before they have their answer: what they held is free at once, and nobody is to blame.

use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::json;
use socket2::SockRef;

use super::harness::*;
use super::limits::{asked, gated};
use super::tls::Site;
use crate::telemetry::metrics::BackendError;

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A backend that says `first` to whoever asks, and waits for the connection to end.
fn silent_after(first: &'static str) -> Scripted {
    Scripted::new(move |peer, _| {
        peer.head();
        peer.send(first);
        while !peer.is_closed() {
            peer.skip();
        }
    })
}

fn in_flight(harness: &Harness) -> u64 {
    harness.metrics.backend("web", "b1").in_flight()
}

fn reset_on_drop(socket: &TcpStream) {
    let socket = SockRef::from(socket);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_request_whose_client_left_ends_at_the_backend_too() {
    const BEGUN: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    const LARGE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\nx";
    const POST: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n";
    for resets in [false, true] {
        for (request, body, answer) in [
            (GET, "", ""),
            (GET, "", BEGUN),
            (GET, "", LARGE),
            (POST, "hi", ""),
            (POST, "hi", BEGUN),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "", ""),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let (options, log) = logging_to(&directory);
            let backend = silent_after(answer);
            let harness = Harness::new(options, &web(&[backend.address], json!({})));
            let mut client = harness.client();
            client.send(request);
            wait_until(|| in_flight(&harness) == 1);
            client.send(body);
            if !answer.is_empty() {
                client.until("x");
            }
            if resets {
                reset_on_drop(&client.stream);
            }
            drop(client);
            wait_until(|| in_flight(&harness) == 0);
            backend.wait_for_ended(1);
            harness.drain();
            let reason = &lines(&log)[0]["reason"];
            assert_eq!(reason, "client_gone", "{resets} {request:?} {answer:?}");
        }
    }
}

#[test]
fn a_client_of_tls_that_leaves_is_noticed_whether_it_says_so_or_not() {
    for says_so in [true, false] {
        let backend = silent_after("");
        let site = Site::new(None);
        let proxy = site.proxy(&backend);
        let mut client = site.client(&proxy);
        client.send(GET);
        wait_until(|| in_flight(&proxy) == 1);
        if says_so {
            client.0.conn.send_close_notify();
            client.0.conn.write_tls(&mut client.0.sock).unwrap();
        }
        client.0.sock.shutdown(Shutdown::Write).unwrap();
        wait_until(|| in_flight(&proxy) == 0);
        backend.wait_for_ended(1);
    }
}

#[test]
fn who_leaves_the_queue_makes_room_in_it() {
    let gated = gated();
    let limits = json!({"requests_per_backend": 1, "queue": 2, "queue_timeout": "1m"});
    let harness = Harness::with_pool(&[gated.backend.address], json!({ "limits": limits }));
    let mut first = asked(&harness);
    gated.wait_for_request();
    for _ in 0..3 {
        let waiting = [asked(&harness), asked(&harness)];
        wait_until(|| harness.pool().waiting() == 2);
        drop(waiting);
        wait_until(|| harness.pool().waiting() == 0);
    }
    let mut last = asked(&harness);
    wait_until(|| harness.pool().waiting() == 1);
    (0..2).for_each(|_| gated.go.send(()).unwrap());
    assert_eq!(first.response().1, "done");
    assert_eq!(last.response().1, "done");
}

#[test]
fn who_leaves_while_it_is_connected_to_a_backend_is_not_waited_for() {
    let backend = HeldUp::new();
    let harness = Harness::with_pool(&[backend.address], json!({"timeouts": {"connect": "1m"}}));
    let client = asked(&harness);
    wait_until(|| in_flight(&harness) == 1);
    drop(client);
    wait_until(|| in_flight(&harness) == 0);
}

#[test]
fn clients_that_leave_eject_nobody() {
    let backend = silent_after("");
    let harness = Harness::to_one_of_two(backend.address);
    for _ in 0..20 {
        let client = asked(&harness);
        wait_until(|| in_flight(&harness) == 1);
        drop(client);
        wait_until(|| in_flight(&harness) == 0);
    }
    harness.settle();
    for id in ["b1", "b2"] {
        let metrics = harness.metrics.backend("web", id);
        let none = |error: &BackendError| metrics.errors(*error) == 0;
        assert!(BackendError::ALL.iter().all(none), "{id}");
    }
    assert!(harness.backend(0).is_available());
    assert!(!harness.backend(0).is_ejected());
}

/// RFC 9112, 9.3: what says that it is the last request is followed by nothing, and the end behind it is no news.
#[test]
fn who_ends_its_direction_behind_its_last_request_is_answered() {
    for (requests, answers) in [
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 1),
        ("GET / HTTP/1.0\r\n\r\n", 1),
        (
            "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            2,
        ),
    ] {
        let gated = gated();
        let harness = Harness::to(&[gated.backend.address]);
        let mut client = harness.client();
        client.send(requests);
        client.stream.shutdown(Shutdown::Write).unwrap();
        for _ in 0..answers {
            gated.wait_for_request();
            gated.go.send(()).unwrap();
            assert_eq!(client.response().1, "done", "{requests}");
        }
        assert!(client.is_closed());
    }
}

#[test]
fn who_ends_its_direction_behind_a_last_request_is_answered_the_one_before() {
    for length in [1, 5_000, 30_000] {
        let gated = gated();
        let harness = Harness::to(&[gated.backend.address]);
        let mut client = harness.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        ));
        gated.wait_for_request();
        let last = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        client.send("x".repeat(length) + last);
        client.stream.shutdown(Shutdown::Write).unwrap();
        // The thread looks at what came first, first.
        for _ in 0..2 {
            let (head, _) = harness.once("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n");
            assert_eq!(status(&head), 400);
        }
        for n in 0..2 {
            gated.go.send(()).unwrap();
            assert_eq!(client.response().1, "done", "{n} of {length} bytes");
        }
        assert!(client.is_closed());
    }
}
