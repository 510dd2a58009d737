//! Bodies so large that the kernel passes them on where both sides are plain sockets: all else goes on as with small
//! ones, which are copied.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::SockRef;

use super::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// Bytes that no socket's buffers take unread.
const HUGE: usize = 64 << 20;

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

fn post(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
}

fn announced(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")
}

fn stands_still_for(idle: &str) -> Value {
    json!({"timeouts": {"stream_idle": idle}})
}

/// Answers each body with what it came to.
fn adding_up() -> Scripted {
    Scripted::new(|peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            let body = peer.exactly(field(&head, "content-length").unwrap().parse().unwrap());
            let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
            peer.send(ok(&sum.to_string()));
        }
    })
}

/// The only line that the log comes to.
fn logged(harness: Harness, log: &std::path::Path) -> Value {
    harness.drain();
    wait_until(|| log.exists() && !lines(log).is_empty());
    lines(log).remove(0)
}

#[test]
fn the_next_request_begins_where_a_large_upload_ends() {
    let backend = adding_up();
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    let mut sender = Peer::connect_clone(&client);
    let sizes = [200_000, 3, 1_000_000, 70_000];
    let sending = std::thread::spawn(move || {
        let message = |size| [post(size).into_bytes(), bytes(size)].concat();
        sender.send(sizes.map(message).concat());
    });
    for size in sizes {
        let sum: u64 = bytes(size).iter().map(|byte| u64::from(*byte)).sum();
        assert_eq!(client.response().1, sum.to_string(), "of {size} bytes");
    }
    sending.join().unwrap();
    assert_eq!(backend.connections(), 1);
}

#[test]
fn an_answer_that_comes_early_in_a_large_upload_reaches_the_client_and_ends_both_connections() {
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.exactly(300_000);
        peer.send(ok("enough"));
        peer.rest();
    });
    let harness = Harness::to(&[backend.address]);
    for n in 1..=2 {
        let mut client = harness.client();
        client.send(post(1_000_000));
        client.send(bytes(400_000));
        let (head, body) = client.response();
        assert_eq!((status(&head), body.as_str()), (200, "enough"));
        assert_eq!(field(&head, "connection"), Some("close"));
        assert!(client.is_closed());
        assert_eq!(backend.connections(), n);
    }
}

#[test]
fn what_comes_behind_a_large_answer_is_never_the_next_one() {
    let backend = Scripted::new(|peer, _| {
        while peer.try_until("\r\n\r\n").is_some() {
            let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
            let answer = [announced(200_000).into_bytes(), bytes(200_000), evil.into()];
            peer.try_send(answer.concat());
        }
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    for n in 1..=3 {
        client.send(GET);
        assert_eq!(field(&client.head(), "content-length"), Some("200000"));
        assert!(client.exactly(200_000) == bytes(200_000));
        // It may come behind the end of the answer, as far as the proxy can tell; not behind this.
        harness.settle();
        assert_eq!(backend.connections(), n);
    }
}

#[test]
fn urgent_data_within_a_large_body_does_not_halt_it() {
    const PART: usize = 100_000;
    fn send(peer: &mut Peer) {
        peer.send(bytes(PART));
        let urgent = SockRef::from(&peer.stream).send_out_of_band(b"!");
        assert_eq!(urgent.unwrap(), 1);
        peer.send(bytes(PART));
    }
    // It is no part of the body: who reads is not shown it.
    let whole = [bytes(PART), bytes(PART)].concat();
    let backend = Scripted::new(|peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            match field(&head, "content-length") {
                Some(_) => {
                    let body = peer.exactly(2 * PART);
                    peer.send(announced(2 * PART));
                    peer.send(body);
                }
                None => {
                    peer.send(announced(2 * PART));
                    send(peer);
                }
            }
        }
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    for _ in 0..3 {
        client.send(GET);
        client.head();
        assert!(client.exactly(2 * PART) == whole);
        client.send(post(2 * PART));
        send(&mut client);
        client.head();
        assert!(client.exactly(2 * PART) == whole);
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn what_went_of_a_large_answer_that_breaks_off_is_counted() {
    const PART: usize = 300_000;
    let directory = tempfile::tempdir().unwrap();
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.send(announced(1_000_000));
        peer.send(bytes(PART));
    });
    let (options, log) = logging_to(&directory);
    let harness = Harness::new(options, &web(&[backend.address], json!({})));
    let mut client = harness.client();
    client.send(GET);
    client.head();
    assert_eq!(
        client.rest().len(),
        String::from_utf8_lossy(&bytes(PART)).len()
    );
    harness.settle();
    assert_eq!(harness.metrics.route("all").bytes(), (0, PART as u64));
    let line = logged(harness, &log);
    assert_eq!(line["sent"], PART);
    assert_eq!(line["reason"], "connection_terminated");
}

#[test]
fn what_went_to_a_client_that_stopped_reading_is_counted_to_the_byte() {
    const READ: usize = 1 << 20;
    for framing in [
        format!("Content-Length: {HUGE}\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n{HUGE:x}\r\n"),
        "\r\n".to_owned(),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (options, log) = logging_to(&directory);
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}");
        let backend = Scripted::new(move |peer, _| {
            let body = vec![b'x'; HUGE];
            peer.head();
            peer.send(&answer);
            peer.try_send(body);
        });
        let config = web(&[backend.address], stands_still_for("1s"));
        let harness = Harness::new(options, &config);
        let mut client = harness.client();
        client.send(GET);
        client.head();
        let mut received = client.exactly(READ).len();
        let metrics = harness.metrics.backend("web", "b1");
        wait_until(|| metrics.in_flight() == 0);
        received += client.rest().len();
        assert!(received < HUGE, "{framing:?}");
        let line = logged(harness, &log);
        assert_eq!(line["sent"], received, "{framing:?}");
        assert_eq!(line["reason"], "connection_read_timeout");
    }
}

#[test]
fn what_came_of_a_large_upload_that_breaks_off_is_counted() {
    const PART: usize = 300_000;
    let directory = tempfile::tempdir().unwrap();
    let (sender, read) = channel();
    let backend = Scripted::new(move |peer, _| {
        peer.head();
        sender.send(peer.rest().len()).unwrap();
    });
    let (options, log) = logging_to(&directory);
    let harness = Harness::new(options, &web(&[backend.address], json!({})));
    let mut client = harness.client();
    client.send(post(1_000_000));
    client.send(vec![b'x'; PART]);
    drop(client);
    assert_eq!(read.recv_timeout(Duration::from_secs(5)).unwrap(), PART);
    harness.settle();
    assert_eq!(harness.metrics.route("all").bytes(), (PART as u64, 0));
    let line = logged(harness, &log);
    assert_eq!(line["received"], PART);
    assert_eq!(line["reason"], "client_gone");
}

/// What each side does in a body that stands still, and whom the log says it was.
#[test]
fn a_large_body_that_stands_still_is_broken_off_whoever_stalls() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Scripted::new(|peer, _| {
        let head = peer.head();
        if head.starts_with("GET /client") {
            peer.send(announced(HUGE));
            peer.try_send(vec![0; HUGE]);
        } else if head.starts_with("GET /backend") {
            peer.send(announced(1_000_000));
            peer.send(bytes(300_000));
            peer.rest();
        } else if head.starts_with("POST /client") {
            peer.rest();
        } else {
            // It does not read on.
            std::thread::sleep(Duration::from_secs(3));
        }
    });
    let (options, log) = logging_to(&directory);
    let config = web(&[backend.address], stands_still_for("1s"));
    let harness = Harness::new(options, &config);
    let began = Instant::now();
    let mut reader = harness.client();
    reader.send("GET /client HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut waiter = harness.client();
    waiter.send("GET /backend HTTP/1.1\r\nHost: x\r\n\r\n");
    waiter.head();
    waiter.exactly(300_000);
    assert!(waiter.is_closed());
    let mut sender = harness.client();
    sender.send(post(1_000_000).replace("POST /", "POST /client"));
    sender.send(bytes(300_000));
    assert_eq!(status(&sender.head()), 408);
    let mut unread = harness.client();
    unread.send(post(HUGE).replace("POST /", "POST /backend"));
    let mut pusher = Peer::connect_clone(&unread);
    let pushing = std::thread::spawn(move || pusher.try_send(vec![0; HUGE]));
    assert_eq!(status(&unread.head()), 504);
    drop(unread);
    pushing.join().unwrap();
    assert!(began.elapsed() < Duration::from_secs(8));
    harness.settle();
    wait_until(|| harness.metrics.backend("web", "b1").in_flight() == 0);
    drop(reader);
    harness.drain();
    wait_until(|| log.exists() && lines(&log).len() == 4);
    for line in lines(&log) {
        let asked = (
            line["method"].as_str().unwrap(),
            line["target"].as_str().unwrap(),
        );
        let expected = match asked {
            ("GET", _) => "connection_read_timeout",
            ("POST", "/client") => "http_request_error",
            _ => "connection_write_timeout",
        };
        assert_eq!(line["reason"], expected, "{asked:?}");
    }
}

#[test]
fn a_drain_waits_for_a_large_body_and_the_connection_ends_behind_it() {
    let (release, gate) = channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let backend = Scripted::new(move |peer, _| {
        peer.head();
        peer.send(announced(1_000_000));
        peer.send(bytes(400_000));
        gate.lock().unwrap().recv().unwrap();
        peer.send(&bytes(1_000_000)[400_000..]);
        peer.rest();
    });
    let harness = Harness::to(&[backend.address]);
    let (mut client, mut idle) = (harness.client(), harness.client());
    client.send(GET);
    client.head();
    let mut body = client.exactly(400_000);
    let draining = std::thread::spawn(move || harness.drain_within(Duration::from_secs(6)));
    assert!(idle.is_closed());
    release.send(()).unwrap();
    body.extend(client.exactly(600_000));
    assert!(body == bytes(1_000_000));
    assert!(client.is_closed());
    assert_eq!(draining.join().unwrap(), 0, "nothing was cut");
}
