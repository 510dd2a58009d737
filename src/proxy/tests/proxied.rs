//! The PROXY protocol through real sockets: in from trusted proxies, out to backends that are to know.

use std::sync::mpsc::{Receiver, channel};

use serde_json::json;

use super::harness::*;
use crate::proxy::ProxyOptions;

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
pub(super) const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";

pub(super) fn expecting(mut options: ProxyOptions) -> ProxyOptions {
    options.listeners[0].proxy_protocol = true;
    options
}

/// The line in version 2.
pub(super) fn binary() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 80]);
    header
}

#[test]
fn a_trusted_proxy_tells_who_the_client_is() {
    let (backend, heads) = recording();
    let config = web(&[backend.address], json!({}));
    let harness = Harness::new(expecting(trusting_loopback()), &config);
    let unknown = b"PROXY UNKNOWN\r\n".to_vec();
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec();
    for (header, expected) in [
        (LINE.as_bytes().to_vec(), "192.0.2.7"),
        (binary(), "192.0.2.7"),
        (
            b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(),
            "2001:db8::7",
        ),
        (unknown, "127.0.0.1"),
        (local, "127.0.0.1"),
    ] {
        for in_pieces in [false, true] {
            let mut client = harness.client();
            let bytes = [&header[..], GET.as_bytes(), GET.as_bytes()].concat();
            match in_pieces {
                true => bytes.iter().for_each(|byte| client.send([*byte])),
                false => client.send(&bytes),
            }
            for _ in 0..2 {
                assert_eq!(status(&client.response().0), 200);
                let head = heads.recv().unwrap();
                assert_eq!(field(&head, "x-forwarded-for"), Some(expected));
            }
        }
    }
}

#[test]
fn who_is_told_of_is_not_trusted_for_that() {
    let (backend, heads) = recording();
    let config = web(&[backend.address], json!({}));
    let harness = Harness::new(expecting(trusting_loopback()), &config);
    let claim = "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
    harness.once(&format!("{LINE}{claim}"));
    let head = heads.recv().unwrap();
    assert_eq!(field(&head, "x-forwarded-for"), Some("192.0.2.7"));
}

#[test]
fn without_its_header_a_trusted_proxy_is_not_served() {
    let (backend, heads) = recording();
    let config = web(&[backend.address], json!({}));
    let harness = Harness::new(expecting(trusting_loopback()), &config);
    for wrong in [GET.to_owned(), format!("PROXY TCP4 a b 1 2\r\n{GET}")] {
        let mut client = harness.client();
        client.send(wrong);
        assert_eq!(client.rest(), "", "there is nobody to answer");
    }
    assert!(heads.try_recv().is_err());
    harness.settle();
    assert_eq!(harness.metrics.listener().refusals("proxy_protocol"), 2);
}

#[test]
fn from_others_a_header_is_not_expected_and_not_believed() {
    let (backend, heads) = recording();
    let config = web(&[backend.address], json!({}));
    let harness = Harness::new(expecting(options()), &config);
    assert_eq!(status(&harness.once(GET).0), 200);
    let head = heads.recv().unwrap();
    assert_eq!(field(&head, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(status(&harness.once(&format!("{LINE}{GET}")).0), 400);
    assert!(heads.try_recv().is_err());
}

/// Hands on what each connection begins with, by its number, and answers.
fn told() -> (Scripted, Receiver<(usize, String)>) {
    let (sender, told) = channel();
    let backend = Scripted::new(move |peer, n| {
        sender.send((n, peer.until("\r\n"))).unwrap();
        while peer.try_until("\r\n\r\n").is_some() {
            if !peer.try_send(ok("x")) {
                return;
            }
        }
    });
    (backend, told)
}

#[test]
fn a_backend_is_told_of_each_client_on_connections_of_its_own() {
    let (backend, told) = told();
    let pool = json!({"proxy_protocol": "v1"});
    let harness = Harness::with_pool(&[backend.address], pool);
    let (mut one, mut other) = (harness.client(), harness.client());
    for _ in 0..3 {
        for client in [&mut one, &mut other] {
            client.send(GET);
            assert_eq!(status(&client.response().0), 200);
        }
    }
    assert_eq!(backend.connections(), 2);
    let port = harness.address().port();
    for client in [one, other] {
        let own = client.stream.local_addr().unwrap().port();
        let (_, line) = told.recv().unwrap();
        assert_eq!(
            line,
            format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {port}\r\n")
        );
    }
}

#[test]
fn what_a_proxy_in_front_told_is_told_on() {
    let (backend, told) = told();
    let pool = json!({"proxy_protocol": "v1"});
    let config = web(&[backend.address], pool);
    let harness = Harness::new(expecting(trusting_loopback()), &config);
    let mut client = harness.client();
    client.send([&binary()[..], GET.as_bytes()].concat());
    assert_eq!(status(&client.response().0), 200);
    assert_eq!(told.recv().unwrap().1, LINE);
}

#[test]
fn version_2_is_told_in_binary() {
    let backend = Scripted::new(|peer, _| {
        let header = peer.exactly(28);
        assert_eq!(header[..16], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
        assert_eq!(header[16..24], [127, 0, 0, 1, 127, 0, 0, 1]);
        peer.head();
        peer.send(ok("binary"));
    });
    let pool = json!({"proxy_protocol": "v2"});
    let harness = Harness::with_pool(&[backend.address], pool);
    assert_eq!(harness.get("/").1, "binary");
}

#[test]
fn a_pool_that_tells_no_more_uses_no_connection_that_was_told() {
    let (sender, begun) = channel();
    let backend = Scripted::new(move |peer, n| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            sender.send((n, head.starts_with("PROXY "))).unwrap();
            if !peer.try_send(ok("x")) {
                return;
            }
        }
    });
    let tells = web(&[backend.address], json!({"proxy_protocol": "v1"}));
    let harness = Harness::new(options(), &tells);
    let mut client = harness.client();
    for config in [tells.clone(), web(&[backend.address], json!({})), tells] {
        harness.publish(&config);
        client.send(GET);
        assert_eq!(status(&client.response().0), 200);
    }
    let begun: Vec<_> = begun.try_iter().collect();
    assert_eq!(begun[..2], [(0, true), (1, false)]);
    assert!(begun[2].0 == 2 && begun[2].1, "{begun:?}");
}
