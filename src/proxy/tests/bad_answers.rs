//! Malformed answers of a backend: 502 and nothing of them, or, once the client has a part, an end it cannot mistake.

use serde_json::json;

use super::harness::*;
use crate::telemetry::metrics::BackendError;
use crate::wire::http1::{MAX_FIELDS, MAX_HEAD};

/// Heads, each sent with a blank line and a body.
const HEADS: &[&str] = &[
    "\r\nHTTP/1.1 200 OK",
    " HTTP/1.1 200 OK",
    "http/1.1 200 OK",
    "ICY 200 OK",
    "GET / HTTP/1.1\r\nHost: x",
    "<html>evil</html>",
    "220 mail.example ESMTP",
    "-ERR unknown command",
    "\0",
    "HTTP/1.1",
    "HTTP/1.1 ",
    "HTTP/1.1  200 OK",
    "HTTP/1.1\t200 OK",
    "HTTP/1.1 20 OK",
    "HTTP/1.1 2000 OK",
    "HTTP/1.1 -20 OK",
    "HTTP/1.1 2x0 OK",
    "HTTP/1.1 099 OK",
    "HTTP/1.1 000 OK",
    "HTTP/1.1 OK 200",
    "HTTP/1.1 200OK",
    "HTTP/1.1 200 O\0K",
    "HTTP/1.1 200 O\rK",
    "HTTP/1.1 200 OK\n",
    "HTTP/1.1 200 OK\nEvil: 1",
    "HTTP/0.9 200 OK",
    "HTTP/1.2 200 OK",
    "HTTP/2.0 200 OK",
    "HTTP/2 200 OK",
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 4",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\nTransfer-Encoding: chunked",
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5",
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4",
    "HTTP/1.1 200 OK\r\nContent-Length: 4, 4",
    "HTTP/1.1 200 OK\r\nContent-Length: -4",
    "HTTP/1.1 200 OK\r\nContent-Length: +4",
    "HTTP/1.1 200 OK\r\nContent-Length: 0x4",
    "HTTP/1.1 200 OK\r\nContent-Length: 4 4",
    "HTTP/1.1 200 OK\r\nContent-Length: ",
    "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551620",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding:",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
    "HTTP/1.1 200 OK\r\nEvil: a\r\n b",
    "HTTP/1.1 200 OK\r\n Evil: a",
    "HTTP/1.1 200 OK\r\nEvil : a",
    "HTTP/1.1 200 OK\r\nEvil",
    "HTTP/1.1 200 OK\r\n: evil",
    "HTTP/1.1 200 OK\r\nEv(il: a",
    "HTTP/1.1 200 OK\r\nEvil\u{e9}: a",
    "HTTP/1.1 200 OK\r\nEvil: a\0",
    "HTTP/1.1 200 OK\r\nEvil: a\x1B[2J",
    "HTTP/1.1 200 OK\r\nEvil: a\rb",
    "HTTP/1.1 200 OK\r\nEvil: a\nSet-Cookie: b",
    "HTTP/1.1 100 Continue\r\nEvil : a",
    "HTTP/1.1 101 Switching Protocols",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: evil",
];

/// Starts of a chunked body.
const CHUNKS: &[&str] = &[
    "\r\n",
    "evil\r\n",
    "-1\r\nevil",
    "0x4\r\nevil\r\n",
    " 4\r\nevil\r\n",
    "4\nevil\n",
    "4\r\nevil!\r\n",
    "4\r\nevil\n",
    "4;\r\nevil\r\n",
    "4;a\nb\r\nevil\r\n",
    "10000000000000000\r\nevil",
    "0\r\nEvil : a\r\n\r\n",
    "0\r\n Evil: a\r\n\r\n",
    "0\r\nContent-Length: 4\r\n\r\n",
    "0\r\nEvil: \0\r\n\r\n",
    "0\n\r\n",
];

fn too_much() -> [String; 3] {
    let head = "HTTP/1.1 200 OK\r\n";
    [
        format!("{head}{}Evil: 1", "A: b\r\n".repeat(MAX_FIELDS)),
        format!("{head}Evil: {}", "b".repeat(MAX_HEAD)),
        format!("HTTP/1.1 200 {}", "b".repeat(MAX_HEAD)),
    ]
}

#[test]
fn a_bad_head_is_502_and_nothing_of_it_is_passed_on() {
    let heads = HEADS.iter().map(|head| (*head).to_owned());
    let chunks = CHUNKS.iter().map(|chunks| {
        format!("HTTP/1.1 200 OK\r\nEvil: 1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
    });
    let answers: Vec<String> = heads.chain(chunks).chain(too_much()).collect();
    assert!(answers.len() >= 40);
    let (count, script) = (answers.len(), answers.clone());
    let backend = Scripted::new(move |peer, n| {
        peer.head();
        peer.try_send(format!("{}\r\n\r\nevil", script[n]));
        peer.rest();
    });
    let harness = Harness::with_pool(
        &[backend.address],
        json!({"timeouts": {"response_headers": "2s"}}),
    );
    let mut client = harness.client();
    for (n, answer) in answers.iter().enumerate() {
        let (head, body) = client.get();
        let shown = answer.chars().take(100).collect::<String>();
        assert_eq!(status(&head), 502, "{shown:?}");
        assert!(!(head + &body).to_lowercase().contains("evil"), "{shown:?}");
        assert_eq!(
            backend.connections(),
            n + 1,
            "{shown:?}: its connection is not used again"
        );
    }
    harness.settle();
    let counted = harness
        .metrics
        .backend("web", "b1")
        .errors(BackendError::Malformed);
    assert_eq!(counted, count as u64);
}

#[test]
fn chunks_that_turn_bad_behind_the_head_break_the_clients_connection() {
    let backend = Scripted::new(|peer, n| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n");
        // The client has this before the rest comes.
        peer.until("go");
        peer.send(CHUNKS[n]);
        peer.rest();
    });
    let harness = Harness::to(&[backend.address]);
    for chunks in CHUNKS {
        let mut client = harness.client();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n");
        client.until("fine\r\n");
        client.send("go");
        let rest = client.rest();
        assert!(
            !rest.contains("0\r\n\r\n"),
            "{chunks:?}: {rest:?} looks whole"
        );
    }
    harness.settle();
    let counted = harness
        .metrics
        .backend("web", "b1")
        .errors(BackendError::Malformed);
    assert_eq!(counted, CHUNKS.len() as u64);
}

#[test]
fn more_than_the_answer_is_never_the_next_one() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for answer in [
        format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine{evil}"),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n{evil}"
        ),
        format!("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n{evil}"),
        format!("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n{evil}"),
        format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n{evil}"),
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{evil}"),
    ] {
        let backend = Scripted::always(answer.clone());
        let harness = Harness::to(&[backend.address]);
        for n in 1..=3 {
            let mut client = harness.client();
            client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            assert!(!client.rest().contains("evil"), "{answer:?}");
            assert_eq!(backend.connections(), n, "{answer:?}");
        }
    }
}
