//! hyper as a second opinion: whatever we would forward, it must understand in the same way.
//!
//! Where hyper refuses we must refuse; where we refuse it may repair. The exceptions are listed in [`compare`]. The
//! checks themselves are shared with `tests/fuzz`.

pub(super) mod coherence;
mod compare;

use proptest::prelude::*;

use crate::wire;

const METHODS: &[&str] = &[
    "GET", "POST", "HEAD", "OPTIONS", "PUT", "BREW", "get", "CONNECT", "P!ST",
];

const TARGETS: &[&str] = &[
    "/",
    "/a/b?c=d",
    "/?",
    "//a",
    "*",
    "http://a/",
    "http://a?b",
    "HTTP://A:80/x",
    "https://a",
    "a:80",
    "/%00",
    "/a|b",
    "/{}",
    "/?{}`^",
    "/a#b",
    "/\\",
    "http://b/",
    "/a//../b",
    "?",
];

const VERSIONS: &[&str] = &[
    "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.0",
    "HTTP/2.0",
];

const LINES: &[&str] = &[
    "Host: a",
    "Host: a",
    "Host: a",
    "host:a:80",
    "Content-Length: 5",
    "Content-Length: 5",
    "content-length: 0",
    "Content-Length: 05",
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Content-Length: 5 5",
    "Content-Length:",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked",
    "transfer-encoding:\tChunked ",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked, gzip",
    "Transfer-Encoding: identity",
    "Transfer-Encoding:",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked;a=b",
    "Connection: close",
    "Connection: keep-alive",
    "Connection: transfer-encoding",
    "Connection: upgrade",
    "Upgrade: h2c",
    "Expect: 100-continue",
    "Accept: */*",
    "X: \u{e9}",
    "X:",
    " folded: x",
    "X\t: y",
    "",
    "TE: trailers",
    "Trailer: X",
];

const BODIES: &[&str] = &[
    "",
    "hello",
    "5\r\nhello\r\n0\r\n\r\n",
    "5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "05\r\nhello\r\n00\r\n\r\n",
    "5\nhello\n0\n\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "fffffffffffffffff\r\nhello",
    "0\r\nContent-Length: 9\r\n\r\n",
    "-5\r\nhello",
    "5;a\nb\r\nhello\r\n0\r\n\r\n",
    "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n",
    "0\r\n\r\n",
];

/// Bytes that mean something to a parser.
const MARKS: &[u8] = b"\r\n\t\0 :,;=/?#*\"\\\x7F\xFF05afGH.-_x";

/// A request by a loose grammar, then another behind it, then perhaps damage to single bytes.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let one = (
        prop::sample::select(METHODS),
        prop::sample::select(TARGETS),
        prop::sample::select(VERSIONS),
        prop::collection::vec(prop::sample::select(LINES), 0..4),
        prop::sample::select(BODIES),
    );
    let one = one.prop_map(|(method, target, version, lines, body)| {
        format!(
            "{method} {target} {version}\r\nHost: a\r\n{}\r\n\r\n{body}",
            lines.join("\r\n")
        )
        .replace("Host: a\r\n\r\n\r\n", "Host: a\r\n\r\n")
    });
    let good = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    let edits = prop::collection::vec(
        (
            any::<prop::sample::Index>(),
            prop::sample::select(MARKS),
            0..3u8,
        ),
        0..3,
    );
    (one, prop_oneof![Just(good), Just(String::new())], edits).prop_map(|(first, second, edits)| {
        let mut bytes = (first + &second).into_bytes();
        for (place, mark, kind) in edits {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = mark,
                1 => bytes.insert(at, mark),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5_000) })]

    #[test]
    fn hyper_understands_what_we_forward_as_we_do(bytes in stream()) {
        let disagreement = compare::disagreement(&bytes);
        prop_assert!(disagreement.is_none(), "{}", disagreement.unwrap_or_default());
    }
}

#[test]
fn the_comparison_sees_requests_and_bodies() {
    let chunked =
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n\
                    GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(compare::ours(chunked).len(), 2);
    assert_eq!(compare::ours(chunked), compare::theirs(chunked));
    let repaired = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(
        (
            compare::ours(repaired).len(),
            compare::theirs(repaired).len()
        ),
        (0, 1)
    );
}
