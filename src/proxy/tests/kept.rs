//! What belongs to a backend stays while the config changes around it: its idle connections first of all.

use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::backend_tls::server;
use super::harness::*;
use super::http2::backend::Backend;
use super::http2::raw::PREFACE;
use super::http2::trouble::{answer_frames, fine};
use crate::config::Balance;
use crate::tls::testing::Authority;

/// Changes the weight, the policy and times of a backend a thousand times, with requests between, each of which goes
/// over the connection that the first has opened.
fn lives_through_a_thousand_changes(address: std::net::SocketAddr, pool: &Value) {
    let config = |n: usize| {
        let mut config = web(&[address], pool.clone());
        let pool = &mut config["pools"][0];
        pool["backends"][0]["weight"] = json!(1 + n % 7);
        pool["balance"] = json!(Balance::ALL[n % Balance::ALL.len()].name());
        pool["timeouts"] = json!({
            "response_headers": format!("{}s", 20 + n % 11),
            "idle": format!("{}s", 50 + n % 13),
        });
        config
    };
    let harness = Harness::new(options(), &config(0));
    let mut client = harness.client();
    let mut ask = || client.get();
    assert_eq!(ask().1, "x");
    let (backend, metrics) = (harness.backend(0), harness.metrics.backend("web", "b1"));
    for n in 1..=1_000 {
        harness.publish(&config(n));
        let weight = harness.pool().members()[0].weight;
        assert_eq!(usize::from(weight), 1 + n % 7, "it is in force");
        let (head, body) = ask();
        assert_eq!((status(&head), body.as_str()), (200, "x"), "change {n}");
        assert_eq!(metrics.connections(), 1, "opened by change {n}");
    }
    assert!(Arc::ptr_eq(&backend, &harness.backend(0)));
}

#[test]
fn a_connection_lives_through_a_thousand_changes() {
    let backend = Scripted::named("x");
    lives_through_a_thousand_changes(backend.address, &json!({}));
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_connection_of_http2_lives_through_a_thousand_changes() {
    let backend = Backend::new(|_, mut respond| async move {
        let answer = http::Response::builder().header("content-length", "1");
        let mut body = respond
            .send_response(answer.body(()).unwrap(), false)
            .unwrap();
        body.send_data("x".into(), true).unwrap();
    });
    lives_through_a_thousand_changes(backend.address, &json!({"protocol": "http2"}));
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_connection_over_tls_lives_through_a_thousand_changes() {
    let ca = Authority::new("backends");
    let backend = encrypted(server(&ca, None));
    let tls = json!({"tls": {"ca": ca.pem, "server_name": "api.internal"}});
    lives_through_a_thousand_changes(backend.address, &tls);
    assert_eq!(backend.connections(), 1);
}

/// A backend that understands both, as servers do that tell them apart by the preface, says which it took a
/// connection for; the number of its connections tells whether one was taken for something else later.
#[test]
fn a_pool_that_changes_its_protocol_uses_no_connection_of_the_one_before() {
    let backend = Scripted::new(|peer, _| {
        let begins = peer.exactly(PREFACE.len());
        if begins == PREFACE {
            return answer_frames(peer, |peer, _, stream| peer.send(fine(stream)));
        }
        let mut head = String::from_utf8(begins).unwrap();
        loop {
            head.push_str(&peer.until("\r\n\r\n"));
            assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
            peer.send(ok(""));
            head.clear();
        }
    });
    let config = |protocol: &str| web(&[backend.address], json!({ "protocol": protocol }));
    for (first, second) in [("http1", "http2"), ("http2", "http1")] {
        let before = backend.connections();
        let harness = Harness::new(options(), &config(first));
        for (protocol, connections) in [(first, 1), (second, 2)] {
            harness.publish(&config(protocol));
            for _ in 0..3 {
                let (head, _) = harness.get("/");
                assert_eq!(status(&head), 200, "{first}, then {second}: {head}");
                assert_eq!(backend.connections() - before, connections, "{protocol}");
            }
        }
    }
}

/// Answers every request over TLS.
fn encrypted(config: Arc<ServerConfig>) -> Scripted {
    Scripted::new(move |peer, _| {
        let session = ServerConnection::new(config.clone()).unwrap();
        let socket = peer.stream.try_clone().unwrap();
        let mut stream = BufReader::new(StreamOwned::new(session, socket));
        let mut line = String::new();
        while stream.read_line(&mut line).is_ok_and(|read| read > 0) {
            if line == "\r\n" {
                stream.get_mut().write_all(ok("x").as_bytes()).unwrap();
            }
            line.clear();
        }
    })
}
