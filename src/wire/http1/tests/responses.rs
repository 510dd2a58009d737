use super::*;
use crate::wire::body::{BodyKind, Relay};
use crate::wire::head::Version;
use Reason::*;

/// Heads of responses, each followed by a blank line.
const BAD: &[(&[u8], Reason)] = &[
    (b"", BadStartLine),
    (b"\r\nHTTP/1.1 200 OK", BadStartLine),
    (b" HTTP/1.1 200 OK", BadStartLine),
    (b"http/1.1 200 OK", BadStartLine),
    (b"ICY 200 OK", BadStartLine),
    (b"GET / HTTP/1.1", BadStartLine),
    (b"<html>", BadStartLine),
    (b"\0", BadStartLine),
    (b"HTTP/", BadStartLine),
    (b"HTTP/1.1", BadStatus),
    (b"HTTP/1.1 ", BadStatus),
    (b"HTTP/1.1  200 OK", BadStatus),
    (b"HTTP/1.1\t200 OK", BadStatus),
    (b"HTTP/1.1 20 OK", BadStatus),
    (b"HTTP/1.1 2000 OK", BadStatus),
    (b"HTTP/1.1 -20 OK", BadStatus),
    (b"HTTP/1.1 2x0 OK", BadStatus),
    (b"HTTP/1.1 099 OK", BadStatus),
    (b"HTTP/1.1 000 OK", BadStatus),
    (b"HTTP/1.1 OK 200", BadStatus),
    (b"HTTP/1.1 200OK", BadStatus),
    (b"HTTP/1.1 200\tOK", BadStatus),
    (b"HTTP/1.1 200 O\0K", ControlByte),
    (b"HTTP/1.1 200 O\x7FK", ControlByte),
    (b"HTTP/1.1 200 O\rK", BareCr),
    (b"HTTP/1.1 200 OK\n", BareLf),
    (b"HTTP/1.1 200 OK\nA: b", BareLf),
    (b"HTTP/0.9 200 OK", UnsupportedVersion),
    (b"HTTP/2.0 200 OK", UnsupportedVersion),
    (b"HTTP/1.2 200 OK", UnsupportedVersion),
    (b"HTTP/2 200 OK", BadVersion),
    (b"HTTP/1.1.1 200 OK", BadStatus),
    (b"HTTP/x.y 200 OK", BadVersion),
    (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        LengthAndCoding,
    ),
    (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        LengthAndCoding,
    ),
    (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2",
        RepeatedLength,
    ),
    (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1",
        RepeatedLength,
    ),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2", RepeatedLength),
    (b"HTTP/1.1 200 OK\r\nContent-Length: -1", BadLength),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1 ;", BadLength),
    (b"HTTP/1.1 200 OK\r\nContent-Length:", BadLength),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", UnknownCoding),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
        UnknownCoding,
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity",
        UnknownCoding,
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked",
        ChunkedNotFinal,
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip",
        ChunkedNotFinal,
    ),
    (
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
        CodingInHttp10,
    ),
    (b"HTTP/1.1 200 OK\r\nA: b\r\n c", FoldedField),
    (b"HTTP/1.1 200 OK\r\n A: b", FoldedField),
    (b"HTTP/1.1 200 OK\r\nA : b", SpaceBeforeColon),
    (b"HTTP/1.1 200 OK\r\nA", BadFieldName),
    (b"HTTP/1.1 200 OK\r\n: b", BadFieldName),
    (b"HTTP/1.1 200 OK\r\nA\xE9: b", BadFieldName),
    (b"HTTP/1.1 200 OK\r\nA: b\0", ControlByte),
    (b"HTTP/1.1 200 OK\r\nA: b\rc", BareCr),
    (b"HTTP/1.1 200 OK\r\nA: b\nSet-Cookie: c", BareLf),
];

#[test]
fn each_bad_response_is_the_backends_fault() {
    for (bytes, reason) in BAD {
        let shown = bytes.escape_ascii();
        match response("GET", &[*bytes, b"\r\n\r\n"].concat()) {
            Err(refusal) => assert_eq!(
                (refusal.reason(), refusal.status()),
                (*reason, 502),
                "{shown}"
            ),
            Ok((head, _)) => panic!("{shown} was accepted: {head:?}"),
        }
    }
}

#[test]
fn limits_hold_for_responses() {
    let refused = |bytes: String| response("GET", bytes.as_bytes()).unwrap_err().reason();
    assert_eq!(
        refused(format!(
            "HTTP/1.1 200 {}\r\n\r\n",
            "a".repeat(2 * MAX_TARGET)
        )),
        BadStartLine
    );
    assert_eq!(
        refused(format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101))),
        TooManyFields
    );
    assert_eq!(
        refused(format!(
            "HTTP/1.1 200 OK\r\nA: {}\r\n\r\n",
            "b".repeat(MAX_HEAD)
        )),
        HeadTooLarge
    );
    let refusal = response(
        "GET",
        format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(MAX_HEAD)).as_bytes(),
    )
    .unwrap_err();
    assert_eq!(refusal.proxy_status(), "http_response_header_section_size");
}

#[test]
fn the_body_ends_where_the_rfc_says() {
    let length = "Content-Length: 5\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (method, status, fields, body, keep_alive) in [
        ("GET", 200, length, BodyKind::Length(5), true),
        ("GET", 200, "Content-Length: 0\r\n", BodyKind::None, true),
        ("GET", 200, chunked, BodyKind::Chunked, true),
        ("GET", 200, "", BodyKind::UntilClose, false),
        ("GET", 404, "", BodyKind::UntilClose, false),
        ("GET", 999, length, BodyKind::Length(5), true),
        (
            "GET",
            200,
            "Content-Length: 5\r\nConnection: close\r\n",
            BodyKind::Length(5),
            false,
        ),
        ("HEAD", 200, length, BodyKind::None, true),
        ("HEAD", 200, chunked, BodyKind::None, true),
        ("HEAD", 200, "", BodyKind::None, true),
        ("head", 200, length, BodyKind::Length(5), true),
        ("GET", 100, length, BodyKind::None, true),
        ("GET", 101, "", BodyKind::None, true),
        ("GET", 103, chunked, BodyKind::None, true),
        ("GET", 204, "", BodyKind::None, true),
        ("GET", 204, length, BodyKind::None, false),
        ("GET", 304, length, BodyKind::None, true),
        ("GET", 304, chunked, BodyKind::None, true),
    ] {
        let bytes = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
        let (head, len) = response(method, bytes.as_bytes()).unwrap();
        assert_eq!(
            (head.body(), head.keep_alive(), len),
            (body, keep_alive, bytes.len()),
            "{method} {bytes}"
        );
        assert_eq!(
            head.is_interim(),
            (100..200).contains(&status) && status != 101
        );
    }
}

#[test]
fn a_reason_is_kept_as_it_came() {
    for (line, reason) in [
        (
            &b"HTTP/1.1 200 Quite fine, \xE9"[..],
            &b"Quite fine, \xE9"[..],
        ),
        (b"HTTP/1.1 200 ", b""),
        (b"HTTP/1.1 200", b""),
        (b"HTTP/1.0 200  x ", b" x "),
    ] {
        let (head, _) = response("GET", &[line, b"\r\n\r\n"].concat()).unwrap();
        assert_eq!(
            head.reason().escape_ascii().to_string(),
            reason.escape_ascii().to_string()
        );
    }
}

#[test]
fn a_body_reaches_each_version_of_client_with_an_end() {
    for (kind, client, relay, delimited) in [
        (BodyKind::Chunked, Version::Http11, Relay::Pass, true),
        (BodyKind::Chunked, Version::Http10, Relay::Dechunk, false),
        (BodyKind::UntilClose, Version::Http11, Relay::Chunk, true),
        (BodyKind::UntilClose, Version::Http10, Relay::Pass, false),
        (BodyKind::Length(1), Version::Http10, Relay::Pass, true),
        (BodyKind::None, Version::Http10, Relay::Pass, true),
    ] {
        assert_eq!(
            (kind.relay(client), kind.delimited_for(client)),
            (relay, delimited),
            "{kind:?} {client:?}"
        );
    }
}
