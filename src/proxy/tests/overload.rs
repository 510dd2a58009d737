//! What a node takes as a whole.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::harness::*;
use super::limits::{asked, gated};
use super::upgrade::{echo, tunnel};
use crate::proxy::NodeLimits;

fn harness(backend: std::net::SocketAddr, limits: NodeLimits) -> Harness {
    let options = crate::proxy::ProxyOptions {
        limits,
        ..options()
    };
    Harness::new(options, &web(&[backend], json!({})))
}

#[test]
fn requests_beyond_the_limit_are_refused_and_the_node_says_before_that_it_is_busy() {
    let gated = gated();
    let limits = NodeLimits {
        requests: Some(2),
        ..NodeLimits::default()
    };
    let busy = limits.busy.clone();
    let harness = harness(gated.backend.address, limits);
    let mut first = asked(&harness);
    gated.wait_for_request();
    assert!(!busy.load(Ordering::Relaxed));
    let mut second = asked(&harness);
    gated.wait_for_request();
    assert!(busy.load(Ordering::Relaxed));
    let mut third = asked(&harness);
    let (head, _) = third.response();
    assert_eq!(
        (status(&head), field(&head, "retry-after")),
        (503, Some("1"))
    );
    let why = field(&head, "proxy-status").unwrap();
    assert!(
        why.contains("http_request_denied") && why.contains("overload"),
        "{why}"
    );
    (0..2).for_each(|_| gated.go.send(()).unwrap());
    assert_eq!(
        (first.response().1, second.response().1),
        ("done".into(), "done".into())
    );
    harness.settle();
    assert!(!busy.load(Ordering::Relaxed));
    third.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    gated.go.send(()).unwrap();
    assert_eq!(third.response().1, "done", "the connection was kept");
}

#[test]
fn a_tunnel_is_one_of_the_requests_for_as_long_as_it_lasts() {
    let backend = echo();
    let limits = NodeLimits {
        requests: Some(1),
        ..NodeLimits::default()
    };
    let busy = limits.busy.clone();
    let harness = harness(backend.address, limits);
    let client = tunnel(&harness);
    harness.settle();
    assert!(busy.load(Ordering::Relaxed));
    let (head, _) = asked(&harness).response();
    assert_eq!(status(&head), 503, "{head}");
    drop(client);
    wait_until(|| !busy.load(Ordering::Relaxed));
    tunnel(&harness);
}

#[test]
fn connections_beyond_the_limit_wait_until_one_ends() {
    let backend = Scripted::named("fine");
    let limits = NodeLimits {
        connections: Some(2),
        ..NodeLimits::default()
    };
    let harness = harness(backend.address, limits);
    let mut clients: Vec<Peer> = (0..2).map(|_| asked(&harness)).collect();
    for client in &mut clients {
        assert_eq!(client.response().1, "fine");
    }
    let mut third = asked(&harness);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(harness.metrics.listener().open(), 2);
    clients.pop();
    assert_eq!(third.response().1, "fine");
}
