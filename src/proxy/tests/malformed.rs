//! Malformed and ambiguous requests through a real socket: what each is answered, and that nothing of it gets on.

use super::harness::*;
use crate::wire::http1::{MAX_FIELDS, MAX_HEAD, MAX_METHOD, MAX_TARGET};

/// Start lines and what is in front of them; a Host follows.
const START_LINES: &[(&str, u16)] = &[
    ("GET / HTTP/1.1\n", 400),
    ("GET / HTTP/1.1\r", 400),
    ("GET / HTTP/1.1\r\r\n", 400),
    ("GET  / HTTP/1.1\r\n", 400),
    ("GET /  HTTP/1.1\r\n", 400),
    ("GET / HTTP/1.1 \r\n", 400),
    ("GET\t/ HTTP/1.1\r\n", 400),
    ("GET /\tHTTP/1.1\r\n", 400),
    ("GET / HTTP/1.1 x\r\n", 400),
    (" GET / HTTP/1.1\r\n", 400),
    ("\tGET / HTTP/1.1\r\n", 400),
    ("\nGET / HTTP/1.1\r\n", 400),
    ("\r\n\r\nGET / HTTP/1.1\r\n", 400),
    ("\r\n GET / HTTP/1.1\r\n", 400),
    ("\rGET / HTTP/1.1\r\n", 400),
    ("GET\r\n", 400),
    ("GET /\r\n", 400),
    ("GET HTTP/1.1\r\n", 400),
    ("/ HTTP/1.1\r\n", 400),
    ("G\x01T / HTTP/1.1\r\n", 400),
    ("G\x7FT / HTTP/1.1\r\n", 400),
    ("GÉT / HTTP/1.1\r\n", 400),
    ("G(T / HTTP/1.1\r\n", 400),
    ("GET: / HTTP/1.1\r\n", 400),
    ("\"GET\" / HTTP/1.1\r\n", 400),
    ("GET / HTTP/1.1\0\r\n", 400),
    ("GET /\0 HTTP/1.1\r\n", 400),
    ("GET /\x01 HTTP/1.1\r\n", 400),
    ("GET /\x7F HTTP/1.1\r\n", 400),
    ("GET /é HTTP/1.1\r\n", 400),
    ("GET /a b HTTP/1.1\r\n", 400),
    ("GET /#a HTTP/1.1\r\n", 400),
    ("GET /?a#b HTTP/1.1\r\n", 400),
    ("GET /<script> HTTP/1.1\r\n", 400),
    ("GET /\"a\" HTTP/1.1\r\n", 400),
    ("GET a HTTP/1.1\r\n", 400),
    ("GET a/b HTTP/1.1\r\n", 400),
    ("GET ?a HTTP/1.1\r\n", 400),
    ("GET * HTTP/1.1\r\n", 400),
    ("OPTIONS ** HTTP/1.1\r\n", 400),
    ("OPTIONS *?a HTTP/1.1\r\n", 400),
    ("GET x:80 HTTP/1.1\r\n", 400),
    ("GET ftp://x/ HTTP/1.1\r\n", 400),
    ("GET file:///etc/passwd HTTP/1.1\r\n", 400),
    ("GET http:/x/ HTTP/1.1\r\n", 400),
    ("GET http:x HTTP/1.1\r\n", 400),
    ("GET http:// HTTP/1.1\r\n", 400),
    ("GET http:///a HTTP/1.1\r\n", 400),
    ("GET http://y/ HTTP/1.1\r\n", 400),
    ("GET http://x:81/ HTTP/1.1\r\n", 400),
    ("GET http://user@x/ HTTP/1.1\r\n", 400),
    ("GET http://x\\@y/ HTTP/1.1\r\n", 400),
    ("GET http://x,y/ HTTP/1.1\r\n", 400),
    ("GET https://x:80/ HTTP/1.1\r\n", 400),
    ("CONNECT x:443 HTTP/1.1\r\n", 405),
    ("CONNECT / HTTP/1.1\r\n", 405),
    ("connect x:443 HTTP/1.1\r\n", 400),
    ("GET / HTTP/1.2\r\n", 505),
    ("GET / HTTP/0.9\r\n", 505),
    ("GET / HTTP/2.0\r\n", 505),
    ("GET / HTTP/9.9\r\n", 505),
    ("GET / HTTP/3\r\n", 400),
    ("GET / http/1.1\r\n", 400),
    ("GET / HTTP/1.10\r\n", 400),
    ("GET / HTTP/01.1\r\n", 400),
    ("GET / HTTP/1,1\r\n", 400),
    ("GET / HTTP /1.1\r\n", 400),
    ("GET / HTTP/1.1/\r\n", 400),
    ("GET / HTTPS/1.1\r\n", 400),
    ("GET / ICY/1.1\r\n", 400),
    ("HTTP/1.1 200 OK\r\n", 400),
];

/// Field lines behind `GET / HTTP/1.1` and a Host.
const FIELDS: &[(&str, u16)] = &[
    ("A: b\n", 400),
    ("A: b\r", 400),
    ("A: b\rC: d\r\n", 400),
    ("A: b\r\r\n", 400),
    ("A: b\n\r\n", 400),
    ("A: b\r\n c\r\n", 400),
    ("A: b\r\n\tc\r\n", 400),
    (" A: b\r\n", 400),
    ("\tA: b\r\n", 400),
    ("A : b\r\n", 400),
    ("A\t: b\r\n", 400),
    ("A b: c\r\n", 400),
    ("A\r\n", 400),
    (": b\r\n", 400),
    (":\r\n", 400),
    ("A(: b\r\n", 400),
    ("A\": b\r\n", 400),
    ("A/B: c\r\n", 400),
    ("A[]: b\r\n", 400),
    ("A\x01: b\r\n", 400),
    ("A\x7F: b\r\n", 400),
    ("A\0: b\r\n", 400),
    ("Ä: b\r\n", 400),
    ("A: b\0c\r\n", 400),
    ("A: \x01\r\n", 400),
    ("A: \x0B\r\n", 400),
    ("A: \x0C\r\n", 400),
    ("A: \x1B[31m\r\n", 400),
    ("A: \x7F\r\n", 400),
    ("\x0BA: b\r\n", 400),
    ("Host: x\r\n", 400),
    ("Host: y\r\n", 400),
    ("host: y\r\n", 400),
    ("Host : y\r\n", 400),
    ("Content-Length: x\r\n", 400),
    ("Content-Length:\r\n", 400),
    ("Content-Length: \r\n", 400),
    ("Content-Length: +1\r\n", 400),
    ("Content-Length: -1\r\n", 400),
    ("Content-Length: 1.0\r\n", 400),
    ("Content-Length: 0x1\r\n", 400),
    ("Content-Length: 1e1\r\n", 400),
    ("Content-Length: 1 1\r\n", 400),
    ("Content-Length: 1_000\r\n", 400),
    ("Content-Length: \"1\"\r\n", 400),
    ("Content-Length: 1;\r\n", 400),
    ("Content-Length: 1,\r\n", 400),
    ("Content-Length: 1, 1\r\n", 400),
    ("Content-Length: 1,2\r\n", 400),
    ("Content-Length: \u{661}\r\n", 400),
    ("Content-Length: 9223372036854775808\r\n", 400),
    ("Content-Length: 18446744073709551617\r\n", 400),
    ("Content-Length: 99999999999999999999999999\r\n", 400),
    ("Content-Length: 1\r\nContent-Length: 1\r\n", 400),
    ("Content-Length: 1\r\nContent-Length: 2\r\n", 400),
    ("Content-Length: 0\r\ncontent-length: 5\r\n", 400),
    ("Content-Length : 1\r\n", 400),
    (" Content-Length: 1\r\n", 400),
    ("Content-Length\0: 1\r\n", 400),
    ("Content_Length: 1\r\n", 400),
    ("Content--Length: 1\r\n", 400),
    ("Content-Length-: 1\r\n", 400),
    ("ContentLength: 11\r\n", 400),
    ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", 400),
    ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
    ("Content-Length: 1\r\nTransfer-Encoding: identity\r\n", 400),
    ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", 400),
    ("Transfer-Encoding: identity\r\n", 501),
    ("Transfer-Encoding: gzip\r\n", 501),
    ("Transfer-Encoding: gzip, chunked\r\n", 501),
    ("Transfer-Encoding: chunked, gzip\r\n", 400),
    ("Transfer-Encoding: chunked, chunked\r\n", 400),
    ("Transfer-Encoding: chunked, identity\r\n", 400),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        400,
    ),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        400,
    ),
    (
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        501,
    ),
    ("Transfer-Encoding:\r\n", 400),
    ("Transfer-Encoding: ,\r\n", 400),
    ("Transfer-Encoding: ,chunked\r\n", 400),
    ("Transfer-Encoding: chunked,\r\n", 400),
    ("Transfer-Encoding: \"chunked\"\r\n", 501),
    ("Transfer-Encoding: 'chunked'\r\n", 501),
    ("Transfer-Encoding: chunked;q=1\r\n", 501),
    ("Transfer-Encoding: xchunked\r\n", 501),
    ("Transfer-Encoding: chunke\r\n", 501),
    ("Transfer-Encoding: chun\u{212A}ed\r\n", 501),
    ("Transfer-Encoding: \x0Bchunked\r\n", 400),
    ("Transfer-Encoding: chunked\x0B\r\n", 400),
    ("Transfer-Encoding:\r\n chunked\r\n", 400),
    ("Transfer-Encoding\r\n: chunked\r\n", 400),
    ("Transfer-Encoding : chunked\r\n", 400),
    ("Transfer-Encoding\t: chunked\r\n", 400),
    (" Transfer-Encoding: chunked\r\n", 400),
    ("A: b\rTransfer-Encoding: chunked\r\n", 400),
    ("A: b\nTransfer-Encoding: chunked\r\n", 400),
    ("Transfer_Encoding: chunked\r\n", 400),
    ("transfer_encoding: chunked\r\n", 400),
    ("Transfer--Encoding: chunked\r\n", 400),
    ("TransferEncoding: chunked\r\n", 400),
    ("Transfer-Encoding\x01: chunked\r\n", 400),
    ("Expect: 200-ok\r\n", 417),
    ("Expect: 100-continue, 200-ok\r\n", 417),
    ("Expect:\r\nExpect: x\r\n", 417),
];

/// Values of a Host.
const HOSTS: &[&str] = &[
    "",
    "x y",
    "x,y",
    "x/y",
    "x?y",
    "x#y",
    "x@y",
    "user:word@x",
    "x:a",
    "x:80a",
    "x:65536",
    "x:-1",
    "x:8:0",
    "[::1",
    "::1",
    "[::1]x",
    "[x]",
    "[]",
    "x\\y",
    "\"x\"",
    "<x>",
    "x%00",
    "é",
    ".",
    "..",
    "http://x",
    "x\ty",
    "x;y",
    "x&y",
    "$x",
    "'x'",
];

/// Bodies behind `Transfer-Encoding: chunked`, all of them bad at once.
const CHUNKS: &[(&str, u16)] = &[
    ("\r\n", 400),
    ("\n", 400),
    ("x\r\n", 400),
    ("-1\r\n", 400),
    ("+1\r\na\r\n", 400),
    ("0x1\r\na\r\n", 400),
    (" 1\r\na\r\n", 400),
    ("1\na\r\n0\r\n\r\n", 400),
    ("1\r\na\n0\r\n\r\n", 400),
    ("1\r\nab\r\n0\r\n\r\n", 400),
    ("1\r\na0\r\n\r\n", 400),
    ("1\r\r\na\r\n", 400),
    ("1 x\r\na\r\n", 400),
    ("1;\r\na\r\n", 400),
    ("1;a=\r\na\r\n", 400),
    ("1;a\nb\r\na\r\n", 400),
    ("1;a=\"b\nc\"\r\na\r\n", 400),
    ("1;a=\"b\r\nc\"\r\n", 400),
    ("1;a\x01\r\na\r\n", 400),
    ("1;=b\r\na\r\n", 400),
    ("1,2\r\na\r\n", 400),
    ("10000000000000000\r\n", 400),
    ("FFFFFFFFFFFFFFFFF\r\n", 400),
    ("0000000000000001\r\na\r\n", 400),
    ("0\n\r\n", 400),
    ("0\r\n\n", 400),
    ("0\r\n\rX", 400),
    ("0\r\nA: b\n\r\n", 400),
    ("0\r\nA : b\r\n\r\n", 400),
    ("0\r\n A: b\r\n\r\n", 400),
    ("0\r\nA\r\n\r\n", 400),
    ("0\r\n: b\r\n\r\n", 400),
    ("0\r\nA: \0\r\n\r\n", 400),
    ("0\r\nA: b\r\n c\r\n\r\n", 400),
    ("0\r\nContent-Length: 5\r\n\r\n", 400),
    ("0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("0\r\nHost: y\r\n\r\n", 400),
    ("0\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n", 400),
    ("0\r\nConnection: close\r\n\r\n", 400),
    ("0\r\nAuthorization: x\r\n\r\n", 400),
];

/// Bytes of extensions that the chunks of one body may have.
const EXTENSIONS: usize = 16 * 1_024;

/// What is too much, to the byte.
fn too_much() -> Vec<(String, u16)> {
    let get = "GET / HTTP/1.1\r\nHost: x\r\n";
    let line =
        |method: &str, target: &str| format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let many = format!("{get}{}\r\n", "A: b\r\n".repeat(MAX_FIELDS));
    let large = format!("{get}A: {}", "b".repeat(MAX_HEAD));
    let options = format!("{get}Connection: {}\r\n\r\n", "a,".repeat(MAX_FIELDS + 1));
    let chunked = format!("{get}Transfer-Encoding: chunked\r\n\r\n");
    vec![
        (line("GET", &format!("/{}", "a".repeat(MAX_TARGET))), 414),
        (
            line("GET", &format!("http://x/{}", "a".repeat(MAX_TARGET))),
            414,
        ),
        (format!("GET /{}", "a".repeat(2 * MAX_TARGET)), 414),
        (line(&"A".repeat(MAX_METHOD + 1), "/"), 501),
        (many, 431),
        (large, 431),
        (options, 400),
        (format!("{chunked}0\r\n{}\r\n", "A: b\r\n".repeat(101)), 431),
        (
            format!("{chunked}0\r\n{}\r\n", "A: b\r\n".repeat(MAX_FIELDS + 1)),
            431,
        ),
    ]
}

/// The documented numbers, and not the names that the code has for them.
#[test]
fn as_much_as_there_may_be_is_passed_on() {
    let (backend, heads) = recording();
    let harness = Harness::to(&[backend.address]);
    let get = "GET / HTTP/1.1\r\nHost: x\r\n";
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let target = format!("/{}", "a".repeat(8 * 1_024 - 1));
    let shorter = &target["http://x".len()..].replacen('a', "/", 1);
    let large = "b".repeat(64 * 1_024 - get.len() - "A: \r\n\r\n".len());
    for (request, reaches) in [
        (
            format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"),
            format!("GET {target} HTTP/1.1\r\n"),
        ),
        (
            format!("GET http://x{shorter} HTTP/1.1\r\nHost: x\r\n\r\n"),
            format!("GET {shorter} HTTP/1.1\r\n"),
        ),
        (
            format!("{get}{}\r\n", "A: b\r\n".repeat(99)),
            "A: b\r\n".repeat(99),
        ),
        (
            format!("{get}A: {large}\r\n\r\n"),
            format!("A: {large}\r\n"),
        ),
    ] {
        assert_eq!(status(&harness.once(&request).0), 200, "{}", request.len());
        let head = heads.recv().unwrap();
        assert!(head.contains(&reaches), "{head}");
    }
    // What is between a size and its line's end.
    let extensions = format!("{chunked}0;{}\r\n\r\n", "a".repeat(EXTENSIONS - 2));
    assert_eq!(status(&harness.once(&extensions).0), 200);
}

/// All of them, each a whole request.
fn table() -> Vec<(String, u16)> {
    let mut table: Vec<(String, u16)> = Vec::new();
    for (line, expected) in START_LINES {
        table.push((format!("{line}Host: x\r\n\r\n"), *expected));
    }
    for (fields, expected) in FIELDS {
        table.push((
            format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n"),
            *expected,
        ));
    }
    // A bad field is no better in front of the others.
    for (fields, expected) in FIELDS
        .iter()
        .filter(|(fields, _)| !fields.starts_with(['H', 'h']))
    {
        table.push((
            format!("POST / HTTP/1.1\r\n{fields}Host: x\r\n\r\n"),
            *expected,
        ));
    }
    for host in HOSTS {
        table.push((format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400));
    }
    for (chunks, expected) in CHUNKS {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        table.push((format!("{head}{chunks}"), *expected));
    }
    table.push(("GET / HTTP/1.1\r\n\r\n".into(), 400));
    table.push(("GET http://x/ HTTP/1.1\r\n\r\n".into(), 400));
    let coded = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    table.push((coded.into(), 400));
    table.push(("\x16\x03\x01\x02\0\x01\0\x01\u{7f}\x03\x03".into(), 400));
    table.push(("SSH-2.0-OpenSSH_9.2\r\n".into(), 400));
    table.extend(too_much());
    table
}

#[test]
fn nothing_of_it_reaches_a_backend_and_the_client_is_told() {
    let (backend, heads) = recording();
    let harness = Harness::to(&[backend.address]);
    let table = table();
    assert!(table.len() >= 150, "{}", table.len());
    let mut wrong = Vec::new();
    for (request, expected) in &table {
        let mut client = harness.client();
        // What follows on the connection must not be taken for a request either.
        client.try_send(format!(
            "{request}GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
        ));
        let shown = request.chars().take(90).collect::<String>();
        let Some(head) = client.try_until("\r\n\r\n") else {
            wrong.push(format!("{shown:?}: no answer"));
            continue;
        };
        if status(&head) < 400 {
            wrong.push(format!("{shown:?}: passed on"));
            continue;
        }
        let rest = client.rest();
        if status(&head) != *expected
            || field(&head, "connection") != Some("close")
            || !field(&head, "proxy-status").is_some_and(|why| why.contains("details="))
            || rest.contains("HTTP/1.1")
        {
            wrong.push(format!("{shown:?}: expected {expected}, got {head} {rest}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        table.len(),
        wrong.join("\n")
    );
    // The one request that is fine is the first that the backend hears of.
    assert_eq!(status(&harness.get("/fine").0), 200);
    let head = heads.recv().unwrap();
    assert!(head.starts_with("GET /fine "), "{head}");
    assert!(heads.try_recv().is_err());
    assert_eq!(backend.connections(), 1);
}

#[test]
fn it_does_not_matter_how_it_is_cut_into_pieces() {
    let (backend, heads) = recording();
    let harness = Harness::to(&[backend.address]);
    for (request, expected) in table()
        .iter()
        .filter(|(request, _)| request.len() < 200)
        .step_by(7)
    {
        // Chunks come behind a head that is passed on as soon as it is read.
        let passed_on = request.contains("Transfer-Encoding: chunked\r\n\r\n");
        if passed_on || !request.ends_with("\r\n\r\n") {
            continue;
        }
        let mut client = harness.client();
        for byte in request.as_bytes() {
            client.try_send([*byte]);
        }
        let head = client.try_until("\r\n\r\n");
        let head = head.unwrap_or_else(|| panic!("{request:?}: no answer"));
        assert_eq!(status(&head), *expected, "{request:?}");
    }
    assert!(heads.try_recv().is_err());
}

#[test]
fn a_body_that_turns_bad_on_its_way_ends_both_connections() {
    let (sender, rests) = std::sync::mpsc::channel();
    let backend = Scripted::new(move |peer, _| {
        peer.head();
        sender.send(peer.rest()).unwrap();
    });
    let harness = Harness::to(&[backend.address]);
    for (i, (chunks, _)) in CHUNKS.iter().enumerate() {
        let mut client = harness.client();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        backend.wait_for_connections(i + 1);
        client.send("4\r\nfine\r\n");
        client.try_send(format!("{chunks}GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"));
        let answer = client.rest();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{chunks:?}: {answer}");
        let got = rests.recv().unwrap();
        // It ends before the body does, so the backend knows.
        assert!("4\r\nfine\r\n".starts_with(&got), "{chunks:?}: {got:?}");
    }
}

/// They come behind a head that is passed on, as far as they are longer than what is read at once.
#[test]
fn chunks_with_too_much_of_extensions_are_refused() {
    let (sender, rests) = std::sync::mpsc::channel();
    let backend = Scripted::new(move |peer, _| {
        sender.send(peer.rest()).unwrap();
    });
    let harness = Harness::to(&[backend.address]);
    let long = "a".repeat(EXTENSIONS);
    for chunks in [
        format!("1;{long}\r\nx\r\n"),
        format!("1;a=\"{long}\"\r\nx\r\n"),
        format!("0;{long}\r\n"),
        "1;abcdefg\r\nx\r\n".repeat(EXTENSIONS / 8 + 1),
    ] {
        let mut client = harness.client();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.try_send(format!("{chunks}0\r\n\r\n"));
        let answer = client.rest();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let got = rests.recv().unwrap();
        assert!(!got.ends_with("0\r\n\r\n"), "the backend knows: {got}");
    }
}
