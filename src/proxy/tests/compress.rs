//! Answers made smaller, and those that stay as they are.

use std::io::{Read as _, Write as _};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use serde_json::json;

use super::harness::*;

/// A proxy that compresses what this backend answers.
fn compressing(backend: &Scripted) -> Harness {
    let mut config = web(&[backend.address], json!({}));
    config["routes"][0]["compress"] = json!({"min_bytes": 100});
    Harness::new(options(), &config)
}

fn text() -> String {
    (0..5_000).map(|i| format!("line {i}\n")).collect()
}

/// An answer with this body and these fields.
fn answer(fields: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n{body}")
}

/// The next chunk's data; none for the last, whose trailers are left.
fn chunk(peer: &mut Peer) -> Option<Vec<u8>> {
    let size = peer.until("\r\n");
    match usize::from_str_radix(size.trim_end(), 16).unwrap() {
        0 => None,
        size => {
            let data = peer.exactly(size);
            assert_eq!(peer.exactly(2), b"\r\n");
            Some(data)
        }
    }
}

fn body(peer: &mut Peer) -> Vec<u8> {
    std::iter::from_fn(|| chunk(peer)).flatten().collect()
}

fn decoded(coding: &str, data: &[u8]) -> String {
    let mut text = String::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(data).read_to_string(&mut text),
        "br" => brotli::Decompressor::new(data, 4_096).read_to_string(&mut text),
        other => panic!("{other}"),
    }
    .unwrap();
    text
}

#[test]
fn a_client_gets_the_coding_it_likes_best() {
    let text = text();
    let backend = Scripted::always(answer(
        "Content-Type: text/html; charset=utf-8\r\nETag: \"a\"\r\nAccept-Ranges: bytes\r\nVary: Origin\r\n",
        &text,
    ));
    let harness = compressing(&backend);
    let mut client = harness.client();
    for (accepts, expected) in [
        ("gzip, deflate, br", "br"),
        ("gzip", "gzip"),
        ("GZIP;q=0.5, br;q=0.4", "gzip"),
        ("br;q=0, *", "gzip"),
        ("*;q=0.1", "br"),
        ("identity\r\nAccept-Encoding: br", "br"),
    ] {
        client.send(format!(
            "GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {accepts}\r\n\r\n"
        ));
        let head = client.head();
        assert_eq!(
            field(&head, "content-encoding"),
            Some(expected),
            "{accepts}"
        );
        assert_eq!(field(&head, "etag"), Some("W/\"a\""));
        assert_eq!(field(&head, "content-length"), None);
        assert_eq!(field(&head, "accept-ranges"), None);
        assert!(head.contains("Vary: Origin\r\n") && head.contains("Vary: Accept-Encoding\r\n"));
        let data = body(&mut client);
        assert_eq!(client.exactly(2), b"\r\n");
        assert!(data.len() < text.len() / 3);
        assert_eq!(decoded(expected, &data), text);
    }
}

#[test]
fn no_coding_but_its_own_is_told_and_no_tag_that_the_route_removes() {
    let backend = Scripted::always(answer(
        "Content-Type: text/plain\r\nContent-Encoding: identity\r\nETag: \"a\"\r\n",
        &text(),
    ));
    let mut config = web(&[backend.address], json!({}));
    config["routes"][0]["compress"] = json!({"codings": ["gzip"]});
    config["routes"][0]["headers"] = json!({"response": {"remove": ["ETag"]}});
    let harness = Harness::new(options(), &config);
    let mut client = harness.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
    let head = client.head();
    assert_eq!(field(&head, "content-encoding"), Some("gzip"));
    assert!(!head.contains("identity"), "{head}");
    assert_eq!(field(&head, "etag"), None);
}

#[test]
fn what_is_not_to_be_compressed_passes_as_it_is() {
    let text = text();
    let gzip = "Accept-Encoding: gzip\r\n";
    for (request, fields, content, varies) in [
        ("", "Content-Type: text/plain\r\n", &text[..], true),
        (
            "Accept-Encoding: gzip;q=0, deflate\r\n",
            "Content-Type: text/plain\r\n",
            &text,
            true,
        ),
        (gzip, "Content-Type: text/plain\r\n", "short", false),
        (gzip, "Content-Type: image/png\r\n", &text, false),
        (gzip, "", &text, false),
        (
            gzip,
            "Content-Type: text/plain\r\nContent-Encoding: identity\r\nContent-Encoding: zstd\r\n",
            &text,
            false,
        ),
        (
            gzip,
            "Content-Type: text/plain\r\nCache-Control: public, no-transform\r\n",
            &text,
            false,
        ),
        (
            gzip,
            "Content-Type: text/plain\r\nContent-Range: bytes 0-9/20\r\n",
            &text,
            false,
        ),
    ] {
        let backend = Scripted::always(answer(&format!("{fields}ETag: \"a\"\r\n"), content));
        let harness = compressing(&backend);
        let (head, body) = harness.once(&format!("GET / HTTP/1.1\r\nHost: x\r\n{request}\r\n"));
        assert!(body == content, "{request} {fields}");
        assert_eq!(field(&head, "etag"), Some("\"a\""));
        let varied = field(&head, "vary") == Some("Accept-Encoding");
        assert_eq!(varied, varies, "{request} {fields}");
    }
    // Nobody of HTTP/1.0 knows chunks.
    let backend = Scripted::always(answer("Content-Type: text/plain\r\n", &text));
    let harness = compressing(&backend);
    let mut client = harness.client();
    client.send(format!("GET / HTTP/1.0\r\nHost: x\r\n{gzip}\r\n"));
    assert_eq!(field(&client.head(), "content-encoding"), None);
    assert!(client.rest() == text);
}

#[test]
fn an_event_arrives_when_it_is_sent_and_trailers_behind_the_last() {
    let (sender, events) = channel::<&str>();
    let events = Mutex::new(events);
    let backend = Scripted::new(move |peer, _| {
        if peer.try_until("\r\n\r\n").is_none() {
            return;
        }
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for event in events.lock().unwrap().iter() {
            peer.send(format!("{:x}\r\n{event}\r\n", event.len()));
        }
        peer.send("0\r\nX-End: 1\r\n\r\n");
    });
    let harness = compressing(&backend);
    let mut client = harness.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(field(&client.head(), "content-encoding"), Some("gzip"));
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    for event in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
        sender.send(event).unwrap();
        while !decoder.get_ref().ends_with(event.as_bytes()) {
            let data = chunk(&mut client).unwrap();
            decoder.write_all(&data).unwrap();
            decoder.flush().unwrap();
        }
    }
    drop(sender);
    while let Some(data) = chunk(&mut client) {
        decoder.write_all(&data).unwrap();
    }
    assert_eq!(client.until("\r\n\r\n"), "X-End: 1\r\n\r\n");
    assert!(decoder.finish().unwrap().ends_with(b"data: three\n\n"));
}

#[test]
fn a_body_that_breaks_off_does_not_look_whole() {
    let (go, told) = channel::<()>();
    let told = Mutex::new(told);
    let backend = Scripted::new(move |peer, _| {
        if peer.try_until("\r\n\r\n").is_some() {
            peer.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9999\r\n\r\nbegun",
            );
            // Until its beginning has reached the client.
            let _ = told.lock().unwrap().recv();
        }
    });
    let harness = compressing(&backend);
    let mut client = harness.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: br\r\n\r\n");
    assert_eq!(field(&client.head(), "content-encoding"), Some("br"));
    drop(go);
    assert!(!client.rest().ends_with("0\r\n\r\n"));
}

#[test]
fn beyond_the_bound_answers_pass_as_they_are() {
    let backend = Scripted::new(|peer, _| {
        if peer.try_until("\r\n\r\n").is_some() {
            peer.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9999\r\n\r\nbegun",
            );
            // Until the client leaves.
            peer.rest();
        }
    });
    let harness = compressing(&backend);
    let ask = || {
        let mut client = harness.client();
        client.send("GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
        let head = client.head();
        assert_eq!(field(&head, "vary"), Some("Accept-Encoding"));
        (client, field(&head, "content-encoding").is_some())
    };
    let held: Vec<_> = (0..256).map(|_| ask()).collect();
    assert!(held.iter().all(|(_, compressed)| *compressed));
    assert!(!ask().1);
}

/// Fields of an answer, of those that compression touches.
fn told(head: &str) -> String {
    let names = [
        "vary",
        "etag",
        "content-encoding",
        "content-length",
        "accept-ranges",
    ];
    let told = names.map(|name| field(head, name).map(|value| format!("{name}: {value}")));
    told.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[test]
fn answers_without_the_whole_body_say_what_the_whole_one_would() {
    let text = "x".repeat(200);
    let typed = "Content-Type: text/plain\r\n";
    let common = "ETag: \"a\"\r\nAccept-Ranges: bytes\r\n";
    let gzipped = "vary: Accept-Encoding, etag: W/\"a\", content-encoding: gzip";
    let plain = "vary: Accept-Encoding, etag: \"a\", content-length: 200, accept-ranges: bytes";
    let untouched = "etag: \"a\", content-length: 200, accept-ranges: bytes";
    let unchanged = "etag: \"a\", accept-ranges: bytes";
    let unchanged_varied = "vary: Accept-Encoding, etag: \"a\", accept-ranges: bytes";
    let unchanged_weak = "vary: Accept-Encoding, etag: W/\"a\", accept-ranges: bytes";
    for (method, asked, status_told, fields, expected) in [
        ("GET", "Accept-Encoding: gzip", "200", typed, gzipped),
        ("HEAD", "Accept-Encoding: gzip", "200", typed, gzipped),
        ("GET", "Accept-Encoding: gzip", "404", typed, gzipped),
        ("HEAD", "Accept-Encoding: gzip", "404", typed, gzipped),
        ("GET", "X: 1", "200", typed, plain),
        ("HEAD", "X: 1", "200", typed, plain),
        // Whoever asks wants it as it is.
        (
            "GET",
            "Accept-Encoding: gzip\r\nCache-Control: no-transform",
            "200",
            typed,
            plain,
        ),
        // Nor is it another for anybody.
        (
            "GET",
            "Accept-Encoding: gzip",
            "200",
            "Content-Type: image/png\r\n",
            untouched,
        ),
        (
            "HEAD",
            "Accept-Encoding: gzip",
            "200",
            "Content-Type: image/png\r\n",
            untouched,
        ),
        (
            "HEAD",
            "Accept-Encoding: gzip",
            "200",
            "Content-Type: text/plain\r\nCache-Control: no-transform\r\n",
            untouched,
        ),
        // A part is one of the form that is not compressed.
        (
            "GET",
            "Accept-Encoding: gzip\r\nRange: bytes=0-199",
            "206",
            "Content-Type: text/plain\r\nContent-Range: bytes 0-199/300\r\n",
            plain,
        ),
        // Of what has not changed the client has the form whose tag it shows.
        (
            "GET",
            "Accept-Encoding: gzip\r\nIf-None-Match: \"b\", W/\"a\"",
            "304",
            "",
            unchanged_weak,
        ),
        (
            "GET",
            "Accept-Encoding: gzip\r\nIf-None-Match: W/\"a\"",
            "304",
            typed,
            unchanged_weak,
        ),
        (
            "GET",
            "Accept-Encoding: gzip\r\nIf-None-Match: \"a\"",
            "304",
            "",
            unchanged_varied,
        ),
        ("GET", "If-None-Match: W/\"a\"", "304", "", unchanged_varied),
        (
            "GET",
            "Accept-Encoding: gzip\r\nIf-None-Match: W/\"a\"",
            "304",
            "Content-Type: image/png\r\n",
            unchanged,
        ),
    ] {
        let (length, body) = match (method, status_told) {
            (_, "304") => (String::new(), ""),
            ("HEAD", _) => ("Content-Length: 200\r\n".to_owned(), ""),
            _ => ("Content-Length: 200\r\n".to_owned(), &text[..]),
        };
        let backend = Scripted::always(format!(
            "HTTP/1.1 {status_told} X\r\n{length}{common}{fields}\r\n{body}"
        ));
        let harness = compressing(&backend);
        let mut client = harness.client();
        client.send(format!("{method} / HTTP/1.1\r\nHost: x\r\n{asked}\r\n\r\n"));
        let head = client.head();
        assert_eq!(
            told(&head),
            expected,
            "{method} {asked} {status_told} {fields}"
        );
        if method == "HEAD" {
            // No body was sent, and none is awaited.
            client.send(format!("HEAD / HTTP/1.1\r\nHost: x\r\n{asked}\r\n\r\n"));
            assert_eq!(told(&client.head()), expected);
        }
    }
    let short = Scripted::always(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{common}{typed}\r\n"
    ));
    let harness = compressing(&short);
    let mut client = harness.client();
    client.send("HEAD / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(
        told(&client.head()),
        "etag: \"a\", content-length: 5, accept-ranges: bytes"
    );
}

#[test]
fn it_is_compressed_as_the_route_has_the_answer() {
    for (fields, edits, expected) in [
        (
            "Content-Type: text/plain\r\nVary: Accept-Encoding\r\n",
            json!({"remove": ["Vary"]}),
            "vary: Accept-Encoding, etag: W/\"a\", content-encoding: gzip",
        ),
        (
            "Content-Type: text/plain\r\nVary: Cookie\r\nVary: accept-encoding\r\n",
            json!({"remove": ["X-A"]}),
            "vary: Cookie, etag: W/\"a\", content-encoding: gzip",
        ),
        (
            "Content-Type: image/png\r\n",
            json!({"set": {"Content-Type": "text/plain"}}),
            "vary: Accept-Encoding, etag: W/\"a\", content-encoding: gzip",
        ),
        (
            "Content-Type: text/plain\r\n",
            json!({"set": {"Content-Type": "image/png"}}),
            "etag: \"a\", content-length: 200",
        ),
        (
            "Content-Type: text/plain\r\n",
            json!({"add": {"Cache-Control": "no-transform"}}),
            "etag: \"a\", content-length: 200",
        ),
        (
            "Content-Type: text/plain\r\nCache-Control: no-transform\r\n",
            json!({"remove": ["Cache-Control"]}),
            "vary: Accept-Encoding, etag: W/\"a\", content-encoding: gzip",
        ),
        (
            "Content-Type: text/plain\r\n",
            json!({"set": {"ETag": "\"b\""}}),
            "vary: Accept-Encoding, etag: W/\"b\", content-encoding: gzip",
        ),
    ] {
        let backend = Scripted::always(answer(
            &format!("{fields}ETag: \"a\"\r\n"),
            &"x".repeat(200),
        ));
        let mut config = web(&[backend.address], json!({}));
        config["routes"][0]["compress"] = json!({"min_bytes": 100});
        config["routes"][0]["headers"] = json!({"response": edits});
        let harness = Harness::new(options(), &config);
        let mut client = harness.client();
        client.send("GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
        let head = client.head();
        assert_eq!(told(&head), expected, "{head}");
        for name in ["ccept-encoding\r\n", "etag: "] {
            assert!(
                head.to_ascii_lowercase().matches(name).count() <= 1,
                "{head}"
            );
        }
    }
}
