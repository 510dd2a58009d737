//! Keep-alive, pipelining and bodies of every framing, both ways.

use super::harness::*;

const GET: &str = "GET /a?b=c HTTP/1.1\r\nHost: shop.example\r\n\r\n";

#[test]
fn both_sides_keep_their_connection() {
    let backend = Scripted::named("one");
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    for _ in 0..10 {
        client.send(GET);
        let (head, body) = client.response();
        assert_eq!((status(&head), body.as_str()), (200, "one"));
    }
    assert_eq!(backend.connections(), 1);
    harness.settle();
    assert_eq!(harness.metrics.route("all").requests(200), 10);
    assert_eq!(harness.metrics.backend("web", "b1").answers(200), 10);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = Scripted::new(|peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            peer.send(ok(&path));
        }
    });
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    let requests: String = (0..50)
        .map(|i| format!("GET /{i} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .collect();
    client.send(&requests[..requests.len() - 7]);
    client.send(&requests[requests.len() - 7..]);
    for i in 0..50 {
        assert_eq!(client.response().1, format!("/{i}"));
    }
}
