//! Copies of requests, and what they must not do to the requests.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::*;
use crate::telemetry::metrics::BackendError;

/// Pool `web` of the one backend, pool `copy` of the other, and a route to `web` that mirrors.
fn mirrored(web_at: SocketAddr, copy_at: SocketAddr, percent: u32) -> Value {
    let mut config = web(&[web_at], json!({}));
    let copy = json!({"name": "copy", "timeouts": {"connect": "1h", "response_headers": "1h"},
        "backends": [{"id": "c1", "address": copy_at.to_string()}]});
    config["pools"].as_array_mut().unwrap().push(copy);
    config["routes"][0]["mirror"] = json!({"pool": "copy", "percent": percent});
    config["routes"][0]["rewrite"] = json!({"path": {"full": "/rewritten"}});
    config
}

/// A backend that tells each request it reads, of a known length or chunked, and answers it.
fn told() -> (Scripted, std::sync::mpsc::Receiver<(String, String)>) {
    let (sender, requests) = std::sync::mpsc::channel();
    let backend = Scripted::new(move |peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            let body = match field(&head, "transfer-encoding") {
                Some(_) => peer.until("0\r\n\r\n"),
                None => {
                    let length = field(&head, "content-length").map_or(0, |n| n.parse().unwrap());
                    String::from_utf8(peer.exactly(length)).unwrap()
                }
            };
            sender.send((head, body)).unwrap();
            if !peer.try_send(ok("copied")) {
                return;
            }
        }
    });
    (backend, requests)
}

#[test]
fn a_copy_is_the_request_as_the_backend_gets_it_and_its_answer_is_dropped() {
    let (backend, requests) = told();
    let (copies, copied) = told();
    let harness = Harness::new(options(), &mirrored(backend.address, copies.address, 100));
    let mut client = harness.client();
    for (pieces, body) in [
        (vec!["GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n\r\n"], ""),
        (
            vec!["POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"],
            "hi",
        ),
        // The body comes later than the head.
        (
            vec![
                "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                "2\r\nhi\r\n",
                "0\r\n\r\n",
            ],
            "2\r\nhi\r\n0\r\n\r\n",
        ),
    ] {
        for piece in pieces {
            client.send(piece);
            harness.settle();
        }
        assert_eq!(client.response().1, "copied");
        let request = requests.recv().unwrap();
        assert_eq!(request.1, body);
        assert!(request.0.contains(" /rewritten "), "{}", request.0);
        assert_eq!(copied.recv().unwrap(), request);
    }
    assert_eq!(harness.metrics.route("all").mirrors(), (3, 0));
    harness.publish(&mirrored(backend.address, copies.address, 0));
    for _ in 0..20 {
        harness.get("/");
    }
    assert_eq!(harness.metrics.route("all").mirrors(), (3, 0));
}

/// However often the request is tried.
#[test]
fn a_request_is_copied_once_though_it_is_tried_again() {
    let bad = Scripted::new(|peer, _| drop(peer.try_until("\r\n\r\n")));
    let (backend, _requests) = told();
    let (copies, copied) = told();
    let mut config = mirrored(bad.address, copies.address, 100);
    let good = json!({"id": "b2", "address": backend.address.to_string()});
    config["pools"][0]["outlier"] = json!({"max_percent": 0});
    let backends = config["pools"][0]["backends"].as_array_mut().unwrap();
    backends.push(good);
    let harness = Harness::new(options(), &config);
    let request = "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";
    for _ in 0..6 {
        assert_eq!(harness.once(request).1, "copied");
        assert_eq!(heard(&copied).1, "hi");
    }
    assert!(bad.connections() >= 2, "some were tried there first");
    assert_eq!(harness.metrics.route("all").mirrors(), (6, 0));
    harness.drain();
    assert_eq!(copied.try_iter().count(), 0);
}

/// Six deviations off what is expected.
#[test]
fn so_many_of_a_hundred_requests_are_copied_as_the_route_says() {
    let backend = Scripted::named("web");
    let copies = Scripted::named("copied");
    let harness = Harness::new(options(), &mirrored(backend.address, copies.address, 50));
    let mut client = harness.client();
    for _ in 0..400 {
        assert_eq!(client.get().1, "web");
    }
    let (made, dropped) = harness.metrics.route("all").mirrors();
    let drawn = made + dropped;
    assert!((140..=260).contains(&drawn), "{drawn} of 400");
}

#[test]
fn a_body_that_is_not_kept_whole_is_not_copied() {
    let (backend, requests) = told();
    let (copies, _copied) = told();
    let harness = Harness::new(options(), &mirrored(backend.address, copies.address, 100));
    let body = "x".repeat(100_000);
    let length = body.len();
    let request = format!("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
    assert_eq!(harness.once(&request).1, "copied");
    assert_eq!(requests.recv().unwrap().1, body);
    harness.settle();
    assert_eq!(harness.metrics.route("all").mirrors(), (0, 1));
    assert_eq!(copies.connections(), 0);
}

#[test]
fn copies_that_hang_take_no_place_of_another_pools() {
    let backend = Scripted::named("web");
    let silent = Scripted::new(|peer, _| while peer.try_until("\r\n\r\n").is_some() {});
    let (copies, copied) = told();
    let mut config = mirrored(backend.address, silent.address, 100);
    let other =
        json!({"name": "other", "backends": [{"id": "o1", "address": copies.address.to_string()}]});
    config["pools"].as_array_mut().unwrap().push(other);
    let route = json!({"name": "also", "match": {"path": {"prefix": "/also"}}, "to": [{"pool": "web"}],
        "mirror": {"pool": "other", "percent": 100}});
    config["routes"].as_array_mut().unwrap().push(route);
    let harness = Harness::new(options(), &config);
    let mut client = harness.client();
    for _ in 0..300 {
        client.get();
    }
    assert_eq!(harness.metrics.route("all").mirrors(), (256, 44));
    client.send("GET /also HTTP/1.1\r\nHost: x\r\n\r\n");
    client.response();
    assert!(copied.recv().unwrap().0.starts_with("GET /also "));
}

#[test]
fn a_mirror_that_cannot_be_reached_or_does_not_answer_holds_up_nothing() {
    let backend = Scripted::named("web");
    let silent = Scripted::new(|peer, _| while peer.try_until("\r\n\r\n").is_some() {});
    let held_up = HeldUp::new();
    for copies in [nobody(), held_up.address, silent.address] {
        let harness = Harness::new(options(), &mirrored(backend.address, copies, 100));
        let mut client = harness.client();
        for _ in 0..400 {
            assert_eq!(client.get().1, "web");
        }
        let (made, dropped) = harness.metrics.route("all").mirrors();
        assert_eq!(made + dropped, 400);
        if copies != held_up.address && copies != silent.address {
            continue;
        }
        // As many are under way as there may be, and the end of the proxy does not wait for them.
        assert_eq!(made, 256);
        harness.drain();
    }
}

#[test]
fn a_copy_over_a_reused_connection_that_is_dead_is_made_again_where_it_may_be() {
    let backend = Scripted::named("web");
    let (sender, copied) = std::sync::mpsc::channel();
    let copies = Scripted::new(move |peer, _| {
        for answered in [true, false] {
            let Some(head) = peer.try_until("\r\n\r\n") else {
                return;
            };
            if answered {
                sender.send(head).unwrap();
                peer.send(ok(""));
            }
        }
    });
    let harness = Harness::new(options(), &mirrored(backend.address, copies.address, 100));
    let wait = |dropped| {
        let metrics = harness.metrics.backend("copy", "c1");
        wait_until(|| metrics.in_flight() == 0);
        assert_eq!(metrics.errors(BackendError::Reset), dropped);
    };
    for n in 1..=5 {
        harness.get("/");
        copied.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(copies.connections(), n);
        wait(0);
    }
    harness.once("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    wait(0);
    copies.wait_for_ended(5);
    assert!(copied.try_recv().is_err(), "it may have been done already");
}
