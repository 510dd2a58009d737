//! Crowds of clients and backends that are slow, silent or greedy: whoever behaves is not disturbed by them.

use std::time::Duration;

use serde_json::json;

use super::harness::*;
use crate::telemetry::metrics::BackendError;
use crate::wire::http1::MAX_HEAD;

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn slow_silent_and_greedy_clients_disturb_nobody_and_are_told() {
    const EACH: usize = 60;
    let backend = Scripted::new(|peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            if field(&head, "content-length").is_some() {
                peer.rest();
                return;
            }
            peer.send(ok("fine"));
        }
    });
    let mut impatient = options();
    impatient.timeouts.client_headers = Duration::from_millis(1_500);
    let pool = json!({"timeouts": {"stream_idle": "1500ms"}});
    let harness = Harness::new(impatient, &web(&[backend.address], pool));
    let crowd = |says: &str| -> Vec<Peer> {
        (0..EACH)
            .map(|_| {
                let mut client = harness.client();
                client.try_send(says);
                client
            })
            .collect()
    };
    let silent = crowd("");
    let slow_heads = crowd("GET / HTTP/1.1\r\nHost: x\r\nA: ");
    let slow_bodies = crowd("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
    let greedy = crowd(&format!(
        "GET / HTTP/1.1\r\nHost: x\r\nA: {}",
        "b".repeat(MAX_HEAD)
    ));
    let mut ordinary = harness.client();
    for _ in 0..500 {
        ordinary.send(GET);
        assert_eq!(ordinary.response().1, "fine");
    }
    for mut client in silent {
        assert!(client.is_closed(), "who said nothing is told nothing");
    }
    for (crowd, expected) in [(slow_heads, 408), (slow_bodies, 408), (greedy, 431)] {
        for mut client in crowd {
            assert_eq!(status(&client.response().0), expected);
            assert!(client.is_closed());
        }
    }
    let metrics = harness.metrics.backend("web", "b1");
    wait_until(|| metrics.in_flight() == 0);
    assert_eq!(
        metrics.errors(BackendError::Timeout),
        0,
        "it was not the backend's fault"
    );
}

#[test]
fn a_backend_that_answers_a_byte_at_a_time_is_understood() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                  5;a=b\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n";
    let backend = Scripted::new(move |peer, _| {
        while peer.try_until("\r\n\r\n").is_some() {
            for byte in answer.as_bytes() {
                peer.send([*byte]);
            }
        }
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    for _ in 0..3 {
        client.send(GET);
        assert_eq!(field(&client.head(), "link"), Some("</a>"));
        assert_eq!(status(&client.head()), 200);
        let body = client.until("X-Sum: 5\r\n\r\n");
        assert_eq!(body, "5;a=b\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n");
    }
    assert_eq!(backend.connections(), 1);
}

/// What a backend does before it resets its connection, and what the client gets: an answer of this status, or none
/// that it could take for whole.
#[test]
fn a_reset_is_seen_for_what_it_is_wherever_it_comes() {
    let table: &[(&str, Option<u16>)] = &[
        ("", Some(502)),
        ("HTT", Some(502)),
        ("HTTP/1.1 200 OK\r\nContent-Le", Some(502)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart", None),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
            None,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n",
            None,
        ),
        ("HTTP/1.1 200 OK\r\n\r\npart", None),
    ];
    for (sent, expected) in table {
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let backend = Scripted::new(move |peer, _| {
            peer.head();
            peer.send(sent);
            // A reset overtakes what lies in the kernel's buffers.
            if expected.is_none() {
                gate.lock().unwrap().recv().unwrap();
            }
            let socket = socket2::SockRef::from(&peer.stream);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        });
        let harness = Harness::to(&[backend.address]);
        let mut client = harness.client();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        let head = client.head();
        match expected {
            Some(expected) => assert_eq!(status(&head), *expected, "{sent:?}"),
            None => {
                go.send(()).unwrap();
                let rest = client.rest();
                let counted = field(&head, "content-length").is_some();
                let whole = match counted {
                    true => rest.len() == 9,
                    false => rest.ends_with("0\r\n\r\n"),
                };
                assert!(!whole, "{sent:?}: {head}{rest}");
            }
        }
        assert_eq!(backend.connections(), 1, "a POST is not sent twice");
        harness.settle();
        let metrics = harness.metrics.backend("web", "b1");
        assert_eq!(metrics.errors(BackendError::Reset), 1, "{sent:?}");
    }
}
