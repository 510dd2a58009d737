//! What RFC 9113 and HTTP's semantics have a server do with requests that break their rules, and with odd ones that
//! keep them.

use super::raw::*;
use super::rules::{check, check_heads, joined};
use crate::proxy::tests::harness::*;

use Outcome::{Ended, GoAway, Reset, Status};

/// A whole request with this block.
pub(super) fn request(block: impl AsRef<[u8]>) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, block)
}

/// A GET with more fields.
fn with(fields: &[(&str, &str)]) -> Vec<u8> {
    request(joined(&[get_block(), block(fields)]))
}

#[test]
#[rustfmt::skip] // A row is a line.
fn fields_are_held_to_their_form() {
    let malformed = Reset(PROTOCOL_ERROR);
    check_heads(&[
        ("8.2.1 names are lower case", with(&[("Accept", "a")]), malformed),
        ("8.2.1 in a code too", request(joined(&[get_block(), vec![0, 0x81, 0xBB, 1, b'b']])), malformed),
        ("8.2.1 names are tokens", with(&[("a b", "a")]), malformed),
        ("8.2.1 names hold no colon", with(&[("a:b", "a")]), malformed),
        ("8.2.1 names are not empty", with(&[("", "a")]), malformed),
        ("8.2.1 values hold no CR", with(&[("a", "b\rc")]), malformed),
        ("8.2.1 nor in a code", request(joined(&[get_block(), vec![0, 1, b'a', 0x84, 0xFF, 0xFF, 0xFF, 0xF7]])), malformed),
        ("8.2.1 no LF", with(&[("a", "b\nc")]), malformed),
        ("8.2.1 no NUL", with(&[("a", "b\0c")]), malformed),
        ("8.2.1 nor in a code", request(joined(&[get_block(), vec![0, 1, b'a', 0x82, 0xFF, 0xC7]])), malformed),
        ("8.2.1 values do not start with a blank", with(&[("a", " b")]), malformed),
        ("8.2.1 nor end with one", with(&[("a", "b\t")]), malformed),
        ("8.2.1 values may be empty", with(&[("a", "")]), Status(200)),
        ("8.2.2 no Connection", with(&[("connection", "close")]), malformed),
        ("8.2.2 no Keep-Alive", with(&[("keep-alive", "5")]), malformed),
        ("8.2.2 no Proxy-Connection", with(&[("proxy-connection", "close")]), malformed),
        ("8.2.2 no Transfer-Encoding", with(&[("transfer-encoding", "chunked")]), malformed),
        ("8.2.2 no Upgrade", with(&[("upgrade", "h2c")]), malformed),
        ("8.2.2 TE is trailers or nothing", with(&[("te", "gzip")]), malformed),
        ("8.2.2 TE is nothing beside it", with(&[("te", "trailers, gzip")]), malformed),
        ("8.2.2 TE may be trailers", with(&[("te", "trailers")]), Status(200)),
        ("8.3 pseudo fields come first", request(joined(&[block(&[("a", "b")]), get_block()])), malformed),
        ("8.3 there is none but the known", with(&[(":test", "a")]), malformed),
        ("8.3 none of an answer", request(joined(&[block(&[(":status", "200")]), get_block()])), malformed),
    ]);
}

#[test]
#[rustfmt::skip] // A row is a line.
fn trailers_are_held_to_the_form_of_fields() {
    let malformed = Reset(PROTOCOL_ERROR);
    let fields = block(&[(":method", "POST"), (":scheme", "http"), (":authority", "x")]);
    let told = frame(HEADERS, END_HEADERS, 1, joined(&[fields, remembered(":path", "/a")]));
    check(&[
        ("8.2.1 no NUL", joined(&[post(1), frame(HEADERS, 5, 1, block(&[("a", "b\0")]))]), malformed),
        ("8.2.2 no Transfer-Encoding", joined(&[post(1), frame(HEADERS, 5, 1, block(&[("transfer-encoding", "chunked")]))]), malformed),
        ("8.1 no pseudo field", joined(&[post(1), frame(HEADERS, 5, 1, block(&[(":path", "/")]))]), malformed),
        ("8.1 nor among others there", joined(&[post(1), frame(HEADERS, 5, 1, block(&[("a", "b"), (":status", "200")]))]), malformed),
        ("8.1 nor from the static table", joined(&[post(1), frame(HEADERS, 5, 1, [0x82])]), malformed),
        ("8.1 nor from the dynamic one", joined(&[told, frame(HEADERS, 5, 1, [0xBE])]), malformed),
        ("9110 6.5.1 no length", joined(&[post(1), frame(HEADERS, 5, 1, block(&[("content-length", "0")]))]), Status(400)),
        ("9110 6.5.1 nor Host", joined(&[post(1), frame(HEADERS, 5, 1, block(&[("host", "x")]))]), Status(400)),
        ("8.1 they may have any other", joined(&[post(1), frame(HEADERS, 5, 1, block(&[("path", ":")]))]), Status(200)),
    ]);
}

#[test]
fn what_no_field_has_is_the_end_of_its_stream_alone() {
    let backend = Scripted::new(|peer, _| {
        while peer.try_until("\r\n\r\n").is_some() {
            peer.send(ok("hello"));
        }
    });
    let proxy = Harness::to(&[backend.address]);
    let mut raw = Raw::connect(&proxy);
    let asked = |stream, more: &[u8]| {
        let block = [&get_block(), more].concat();
        frame(HEADERS, END_STREAM | END_HEADERS, stream, block)
    };
    raw.send(asked(1, &remembered("X-Name", "a")));
    assert_eq!(raw.outcome(), Reset(PROTOCOL_ERROR));
    raw.send(asked(3, &[0xBE]));
    assert_eq!(raw.outcome(), Reset(PROTOCOL_ERROR), "by its place");
    raw.send(asked(5, &[0x0F, 0x2F, 1, b'b']));
    assert_eq!(raw.outcome(), Reset(PROTOCOL_ERROR), "its name alone");
    raw.send(asked(7, &[&remembered("x-a", "a")[..], &[0xBE]].concat()));
    assert_eq!(raw.outcome(), Status(200));
    assert_eq!(proxy.metrics.listener().refusals("http2_malformed"), 3);
}

#[test]
fn a_malformed_request_is_the_end_of_its_stream_alone_however_it_comes() {
    let (backend, heads) = recording();
    let proxy = Harness::to(&[backend.address]);
    let (method, scheme, path) = ((":method", "GET"), (":scheme", "http"), (":path", "/bad"));
    let bad = block(&[method, scheme, path, (":authority", "x")]);
    let field = |bytes: &[u8]| [&bad[..], bytes].concat();
    let coded = |value: &[u8]| field(&[&[0, 1, b'a', 0x80 | value.len() as u8], value].concat());
    for (rule, block) in [
        ("8.2.1 upper case", field(&block(&[("A", "b")]))),
        ("8.2.1 a name of nothing", field(&block(&[("", "b")]))),
        ("8.2.1 remembered too", field(&remembered("", "b"))),
        ("8.2.1 nothing at all", field(&block(&[("", "")]))),
        (
            "8.2.1 a byte of no name",
            field(&block(&[("a\u{e4}", "b")])),
        ),
        (
            "8.2.1 in a code",
            field(&[0, 0x83, 0xFF, 0xFE, 0x6F, 1, b'b']),
        ),
        ("8.2.1 CR in a code", coded(&[0xFF, 0xFF, 0xFF, 0xF7])),
        ("8.2.1 LF in a code", coded(&[0xFF, 0xFF, 0xFF, 0xF3])),
        ("8.2.1 NUL in a code", coded(&[0xFF, 0xC7])),
        ("8.2.1 CR", field(&block(&[("a", "b\rc: d")]))),
        ("8.2.1 blanks around", field(&block(&[("a", " b ")]))),
        (
            "8.2.2 of a connection",
            field(&block(&[("connection", "a")])),
        ),
        ("8.3 no known pseudo field", field(&block(&[(":a", "b")]))),
        (
            "8.3 behind others",
            field(&block(&[("a", "b"), (":protocol", "c")])),
        ),
        ("8.3 twice", field(&block(&[path]))),
        (
            "8.3.1 a path that is no UTF-8",
            [&bad[..], &literal(":path", [0xFF])].concat(),
        ),
        (
            "8.3.1 nor is a scheme",
            [&bad[..], &literal(":scheme", [b'h', 0xC0])].concat(),
        ),
        (
            "8.3.1 nor an authority",
            [&bad[..], &literal(":authority", [0x80])].concat(),
        ),
        (
            "8.3.1 nor a protocol",
            [&bad[..], &literal(":protocol", [0x80])].concat(),
        ),
        (
            "8.3.1 nor a method",
            [&bad[..], &literal(":method", [0x80])].concat(),
        ),
        ("8.3.2 of an answer", field(&block(&[(":status", "none")]))),
    ] {
        let middle = block.len() / 2;
        let whole = |stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &block);
        let pieces = |stream| {
            joined(&[
                frame(HEADERS, END_STREAM, stream, &block[..middle]),
                frame(CONTINUATION, 0, stream, &block[middle..block.len() - 1]),
                frame(CONTINUATION, END_HEADERS, stream, &block[block.len() - 1..]),
            ])
        };
        let trailers = |stream| joined(&[post(stream), whole(stream)]);
        let mut raw = Raw::connect(&proxy);
        raw.send(whole(1));
        assert_eq!(raw.outcome(), Reset(PROTOCOL_ERROR), "{rule}");
        raw.send(pieces(3));
        assert_eq!(raw.outcome(), Reset(PROTOCOL_ERROR), "{rule}, in frames");
        for byte in pieces(5) {
            raw.send([byte]);
        }
        assert_eq!(raw.outcome(), Reset(PROTOCOL_ERROR), "{rule}, in bytes");
        raw.send(trailers(7));
        assert_eq!(raw.outcome(), Reset(PROTOCOL_ERROR), "{rule}, as trailers");
        raw.send(get(9));
        assert_eq!(raw.outcome(), Status(200), "{rule}: the others go on");
    }
    assert!(heads.try_iter().all(|head| !head.contains("/bad")));
}

#[test]
fn malformed_trailers_leave_the_backends_request_without_an_end() {
    let (sender, received) = std::sync::mpsc::channel();
    let backend = Scripted::new(move |peer, _| {
        peer.head();
        sender.send(peer.until("milk\r\n")).unwrap();
        sender.send(peer.rest()).unwrap();
    });
    let proxy = Harness::to(&[backend.address]);
    let mut raw = Raw::connect(&proxy);
    let trailers = frame(HEADERS, END_STREAM | END_HEADERS, 1, block(&[("a", " b")]));
    raw.send(joined(&[post(1), frame(DATA, 0, 1, "milk")]));
    assert_eq!(heard(&received), "4\r\nmilk\r\n");
    raw.send(trailers);
    assert_eq!(raw.outcome(), Reset(PROTOCOL_ERROR));
    assert_eq!(heard(&received), "");
}

/// A request of these pseudo-header fields and others.
fn of(fields: &[(&str, &str)]) -> Vec<u8> {
    request(block(fields))
}

#[test]
#[rustfmt::skip] // A row is a line.
fn requests_say_what_they_must_and_once() {
    let malformed = Reset(PROTOCOL_ERROR);
    let (method, scheme, path, authority) = (
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "x"),
    );
    check_heads(&[
        ("8.3.1 no method", of(&[scheme, path, authority]), malformed),
        ("8.3.1 no scheme", of(&[method, path, authority]), malformed),
        ("8.3.1 an empty scheme", of(&[method, (":scheme", ""), path, authority]), malformed),
        ("8.3.1 beside Host too", of(&[method, (":scheme", ""), path, ("host", "x")]), malformed),
        ("8.3.1 a scheme that is none of HTTP", of(&[method, (":scheme", "ftp"), path, authority]), malformed),
        ("8.3.1 beside Host too", of(&[method, (":scheme", "ftp"), path, ("host", "x")]), malformed),
        ("8.3.1 a scheme with more behind it", of(&[method, (":scheme", "http://y/a?"), path, authority]), malformed),
        ("8.3.1 the other scheme of HTTP", of(&[method, (":scheme", "https"), path, authority]), Status(200)),
        ("8.3.1 an empty method", of(&[(":method", ""), scheme, path, authority]), malformed),
        ("8.3.1 a method with a request behind it", of(&[(":method", "GET / HTTP/1.1\r\nhost: x\r\n\r\nGET"), scheme, path, authority]), malformed),
        ("8.3.1 an empty authority", of(&[method, scheme, path, (":authority", "")]), malformed),
        ("8.3.1 no path", of(&[method, scheme, authority]), malformed),
        ("8.3.1 no path and no authority", of(&[method, scheme, ("host", "x")]), malformed),
        ("8.3.1 an empty path", of(&[method, scheme, (":path", ""), authority]), malformed),
        ("8.3.1 two methods", of(&[method, method, scheme, path, authority]), malformed),
        ("8.3.1 two schemes", of(&[method, scheme, scheme, path, authority]), malformed),
        ("8.3.1 two paths", of(&[method, scheme, path, path, authority]), malformed),
        ("8.3.1 two authorities", of(&[method, scheme, path, authority, authority]), malformed),
        ("8.3.1 a path begins with a slash", of(&[method, scheme, (":path", "a"), authority]), malformed),
        ("8.3.1 no URI is a path", of(&[method, scheme, (":path", "http://y/"), authority]), malformed),
        ("8.3.1 no fragment is of a path", of(&[method, scheme, (":path", "/a#b"), authority]), malformed),
        ("8.3.1 nor behind a query", of(&[method, scheme, (":path", "/a?b#"), authority]), malformed),
        ("8.3.1 nor in a code", request(joined(&[block(&[method, scheme, authority]), vec![0x04, 0x83, 0x63, 0xFE, 0xBF]])), malformed),
        ("8.3.1 * is for OPTIONS", of(&[method, scheme, (":path", "*"), authority]), malformed),
        ("8.3.1 OPTIONS may ask for *", of(&[(":method", "OPTIONS"), scheme, (":path", "*"), authority]), Status(200)),
        ("8.3.1 no user in an authority", of(&[method, scheme, path, (":authority", "u@x")]), Status(400)),
        ("8.3.1 an authority is one", of(&[method, scheme, path, (":authority", "a b")]), malformed),
        ("8.3.1 ports are numbers", of(&[method, scheme, path, (":authority", "x:y")]), Status(400)),
        ("8.3.1 Host may stand for it", of(&[method, scheme, path, ("host", "x")]), Status(200)),
        ("8.3.1 but one of both there is", of(&[method, scheme, path]), Status(400)),
        ("8.3.1 Host is the authority", of(&[method, scheme, path, authority, ("host", "x")]), Status(200)),
        ("8.3.1 and no other", of(&[method, scheme, path, authority, ("host", "y")]), Status(400)),
        ("9110 7.2 an empty Host", of(&[method, scheme, path, ("host", "")]), Status(400)),
        ("9110 7.2 nor beside an authority", of(&[method, scheme, path, authority, ("host", "")]), Status(400)),
        ("9110 7.2 Host comes once, if it says the same", of(&[method, scheme, path, ("host", "x"), ("host", "x")]), Status(400)),
        ("9110 7.2 beside an authority too", of(&[method, scheme, path, authority, ("host", "x"), ("host", "x")]), Status(400)),
        ("9110 7.2 a user in it", of(&[method, scheme, path, ("host", "u@x")]), Status(400)),
        ("9110 7.2 Host comes once", of(&[method, scheme, path, ("host", "x"), ("host", "y")]), Status(400)),
        ("8.5 CONNECT has no path", of(&[(":method", "CONNECT"), scheme, path, authority]), malformed),
        ("8.5 CONNECT is refused", of(&[(":method", "CONNECT"), authority]), Status(405)),
        ("RFC 8441 :protocol is for CONNECT", of(&[method, scheme, path, authority, (":protocol", "websocket")]), malformed),
        ("9110 9.1 methods are tokens", of(&[(":method", "G T"), scheme, path, authority]), malformed),
        ("9110 5.1 a target has no blank", of(&[method, scheme, (":path", "/a b"), authority]), malformed),
        ("9110 5.1 nor a line", of(&[method, scheme, (":path", "/ HTTP/1.1\r\na: b"), authority]), malformed),
        ("9110 5.1 nor NUL", of(&[method, scheme, (":path", "/\0"), authority]), malformed),
        ("9110 5.1 it is ASCII", of(&[method, scheme, (":path", "/\u{e4}"), authority]), malformed),
        ("9110 10.1.1 there is one expectation", with(&[("expect", "200-ok")]), Status(417)),
        ("8.2.3 cookies come in crumbs", with(&[("cookie", "a=1"), ("cookie", "b=2")]), Status(200)),
    ]);
}

#[test]
#[rustfmt::skip] // A row is a line.
fn bodies_have_the_length_they_declare() {
    let declared = |length: &str| {
        let fields = joined(&[pseudo("POST"), block(&[("content-length", length)])]);
        frame(HEADERS, END_HEADERS, 1, fields)
    };
    let data = |ended: u8, text: &str| frame(DATA, ended, 1, text);
    let malformed = Reset(PROTOCOL_ERROR);
    check_heads(&[
        ("8.1.1 it fits", joined(&[declared("4"), data(0, "mi"), data(1, "lk")]), Status(200)),
        ("8.1.1 none, but some declared", with(&[("content-length", "1")]), malformed),
        ("8.1.1 none, as declared", with(&[("content-length", "0")]), Status(200)),
        ("8.6 a length is a number", joined(&[declared("+4"), data(1, "milk")]), malformed),
        ("8.6 and nothing else", with(&[("content-length", "0,0")]), malformed),
        ("8.6 not even nothing", with(&[("content-length", "")]), Status(400)),
        ("8.6 there is one, if they say the same", with(&[("content-length", "0"), ("content-length", "0")]), Status(400)),
        ("8.6 there is one", with(&[("content-length", "0"), ("content-length", "1")]), malformed),
        ("padding is no body", joined(&[declared("1"), frame(DATA, END_STREAM | PADDED, 1, [2, b'x', 0, 0])]), Status(200)),
    ]);
    check(&[
        ("8.1.1 too little", joined(&[declared("5"), data(1, "milk")]), malformed),
        ("8.1.1 too much", joined(&[declared("3"), data(1, "milk")]), malformed),
        ("8.1.1 too little before trailers", joined(&[declared("5"), data(0, "milk"), frame(HEADERS, 5, 1, block(&[("a", "b")]))]), malformed),
        ("8.1.1 a body of none that has one", joined(&[declared("0"), data(1, "milk")]), malformed),
        ("an empty end", joined(&[post(1), data(1, "")]), Status(200)),
    ]);
}

#[test]
#[rustfmt::skip] // A row is a line.
fn limits_are_answered_or_end_the_connection() {
    let many: Vec<_> = (0..101).map(|n| (format!("x{n}"), "y")).collect();
    let many: Vec<_> = many
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    let long = "x".repeat(9_000);
    let large = literal("x", vec![b'y'; 12_000]);
    let oversized = joined(&[
        frame(HEADERS, END_STREAM, 1, get_block()),
        frame(CONTINUATION, 0, 1, &large),
        frame(CONTINUATION, 0, 1, &large),
        frame(CONTINUATION, 0, 1, &large),
        frame(CONTINUATION, 0, 1, &large),
        frame(CONTINUATION, 0, 1, &large),
        frame(CONTINUATION, END_HEADERS, 1, &large),
    ]);
    let endless = joined(&[
        frame(HEADERS, 1, 1, get_block()),
        frame(CONTINUATION, 0, 1, [0x82]).repeat(2_000),
    ]);
    check_heads(&[
        ("a hundred fields", with(&many), Status(431)),
        ("8 KiB of target", of(&[(":method", "GET"), (":scheme", "http"), (":path", &format!("/{long}")), (":authority", "x")]), Status(414)),
        ("64 KiB of fields", oversized, Status(431)),
        ("CONTINUATION without end", endless, Ended),
        ("pings", frame(PING, 0, 0, [0; 8]).repeat(1_100), GoAway(ENHANCE_YOUR_CALM)),
        ("settings", frame(SETTINGS, 0, 0, []).repeat(1_100), GoAway(ENHANCE_YOUR_CALM)),
        ("acknowledgements of none", frame(SETTINGS, 1, 0, []).repeat(1_100), Ended),
        ("frames of no known kind", frame(0xFA, 0, 0, [0; 9]).repeat(1_100), GoAway(ENHANCE_YOUR_CALM)),
        ("priorities", frame(PRIORITY, 0, 3, [0, 0, 0, 0, 1]).repeat(1_100), GoAway(ENHANCE_YOUR_CALM)),
        ("window updates", frame(WINDOW_UPDATE, 0, 0, [0, 0, 0, 1]).repeat(1_100), GoAway(ENHANCE_YOUR_CALM)),
    ]);
    check(&[
        ("empty data", joined(&[post(1), frame(DATA, 0, 1, []).repeat(1_100)]), GoAway(ENHANCE_YOUR_CALM)),
    ]);
}
