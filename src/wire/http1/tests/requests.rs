use super::*;
use crate::wire::body::BodyKind;
use crate::wire::head::{TargetForm, Version};
use Reason::*;

/// Start lines, each followed by `Host: a` and a blank line.
const START_LINES: &[(&[u8], Reason)] = &[
    (b" GET / HTTP/1.1", NoStartLine),
    (b"\tGET / HTTP/1.1", NoStartLine),
    (b"\r\n\r\nGET / HTTP/1.1", NoStartLine),
    (b"\r\n GET / HTTP/1.1", NoStartLine),
    (b"\nGET / HTTP/1.1", BareLf),
    (b"\rGET / HTTP/1.1", NoStartLine),
    (b"\0GET / HTTP/1.1", ControlByte),
    (b"\x16\x03\x01\x02\0\x01", ControlByte),
    (b"\xEF\xBB\xBFGET / HTTP/1.1", BadMethod),
    (b"GET", BadStartLine),
    (b"GET /", BadStartLine),
    (b"GET / ", BadStartLine),
    (b"GET  / HTTP/1.1", BadStartLine),
    (b"GET /  HTTP/1.1", BadStartLine),
    (b"GET / HTTP/1.1 ", BadStartLine),
    (b"GET /\tHTTP/1.1", BadStartLine),
    (b"GET\t/ HTTP/1.1", BadStartLine),
    (b"GET /a b HTTP/1.1", BadStartLine),
    (b"GET / HTTP/1.1 x", BadStartLine),
    (b"GET HTTP/1.1", BadStartLine),
    (b"G(T / HTTP/1.1", BadMethod),
    (b"GET: / HTTP/1.1", BadMethod),
    (b"G\xC9T / HTTP/1.1", BadMethod),
    (b"(GET) / HTTP/1.1", BadMethod),
    (b"G\0T / HTTP/1.1", ControlByte),
    (b"GET /\0 HTTP/1.1", ControlByte),
    (b"GET /\x7F HTTP/1.1", ControlByte),
    (b"GET /\x0B HTTP/1.1", ControlByte),
    (b"GET /\r HTTP/1.1", BareCr),
    (b"GET / HTTP/1.1\r", BareCr),
    (b"GET /\n HTTP/1.1", BareLf),
    (b"GET / HTTP/1.1\n", BareLf),
    (b"GET / HTTP/0.9", UnsupportedVersion),
    (b"GET / HTTP/1.2", UnsupportedVersion),
    (b"GET / HTTP/2.0", UnsupportedVersion),
    (b"GET / HTTP/3.0", UnsupportedVersion),
    (b"GET / HTTP/9.9", UnsupportedVersion),
    (b"PRI * HTTP/2.0", UnsupportedVersion),
    (b"GET / HTTP/2", BadVersion),
    (b"GET / http/1.1", BadVersion),
    (b"GET / HTTP/1.1.1", BadVersion),
    (b"GET / HTTP/1.10", BadVersion),
    (b"GET / HTTP/11", BadVersion),
    (b"GET / HTTP/01.1", BadVersion),
    (b"GET / HTTP/1,1", BadVersion),
    (b"GET / HTTP/ 1.1", BadStartLine),
    (b"GET / HTTP/+1.1", BadVersion),
    (b"GET / HTTP/x.y", BadVersion),
    (b"GET / HTTPS/1.1", BadVersion),
    (b"GET / ICY/1.1", BadVersion),
    (b"GET a HTTP/1.1", BadTarget),
    (b"GET * HTTP/1.1", BadTarget),
    (b"OPTIONS ** HTTP/1.1", BadTarget),
    (b"GET a:80 HTTP/1.1", BadTarget),
    (b"GET ?a HTTP/1.1", BadTarget),
    (b"GET ./ HTTP/1.1", BadTarget),
    (b"GET \\ HTTP/1.1", BadTarget),
    (b"GET ftp://a/ HTTP/1.1", BadTarget),
    (b"GET file:///etc/passwd HTTP/1.1", BadTarget),
    (b"GET http:/a HTTP/1.1", BadTarget),
    (b"GET http:a HTTP/1.1", BadTarget),
    (b"GET /#top HTTP/1.1", TargetByte),
    (b"GET http://a/#top HTTP/1.1", TargetByte),
    (b"GET /\xC3\xA9 HTTP/1.1", TargetByte),
    (b"GET /\xFF HTTP/1.1", TargetByte),
    (b"GET /<script> HTTP/1.1", TargetByte),
    (b"GET /a\"b HTTP/1.1", TargetByte),
    (b"GET /?q=\xC3\xA9 HTTP/1.1", TargetByte),
    (b"GET /?q=a#b HTTP/1.1", TargetByte),
    (b"GET http:// HTTP/1.1", BadHost),
    (b"GET http:///x HTTP/1.1", BadHost),
    (b"GET http://user@a/ HTTP/1.1", BadHost),
    (b"GET http://user:pw@a/ HTTP/1.1", BadHost),
    (b"GET http://a:b/ HTTP/1.1", BadHost),
    (b"GET http://a:99999/ HTTP/1.1", BadHost),
    (b"GET http://a%2eb/ HTTP/1.1", BadHost),
    (b"GET http://b/ HTTP/1.1", HostMismatch),
    (b"GET http://a.b/ HTTP/1.1", HostMismatch),
    (b"GET http://a:81/ HTTP/1.1", HostMismatch),
    (b"GET https://a:80/ HTTP/1.1", HostMismatch),
    (b"CONNECT a:443 HTTP/1.1", Connect),
    (b"CONNECT / HTTP/1.1", Connect),
    (b"CONNECT a:443 HTTP/1.0", Connect),
];

/// Fields, each behind `POST / HTTP/1.1` and `Host: a` and followed by a blank line.
const FIELDS: &[(&[u8], Reason)] = &[
    (b"Host: a", RepeatedHost),
    (b"host: b", RepeatedHost),
    (
        b"Content-Length: 1\r\nTransfer-Encoding: chunked",
        LengthAndCoding,
    ),
    (
        b"Transfer-Encoding: chunked\r\nContent-Length: 1",
        LengthAndCoding,
    ),
    (
        b"Transfer-Encoding: chunked\r\nContent-Length: 0",
        LengthAndCoding,
    ),
    (
        b"Transfer-Encoding: identity\r\nContent-Length: 1",
        LengthAndCoding,
    ),
    (b"Transfer-Encoding:\r\nContent-Length: 1", LengthAndCoding),
    (
        b"Transfer-Encoding: x\r\nContent-Length: x",
        LengthAndCoding,
    ),
    (b"Content-Length: 1\r\nContent-Length: 2", RepeatedLength),
    (b"Content-Length: 1\r\nContent-Length: 1", RepeatedLength),
    (b"Content-Length: 1\r\ncontent-length: 1", RepeatedLength),
    (b"Content-Length: 1, 1", RepeatedLength),
    (b"Content-Length: 1,2", RepeatedLength),
    (b"Content-Length: 1,", RepeatedLength),
    (b"Content-Length: ,1", RepeatedLength),
    (b"Content-Length:", BadLength),
    (b"Content-Length: ", BadLength),
    (b"Content-Length: +1", BadLength),
    (b"Content-Length: -1", BadLength),
    (b"Content-Length: -0", BadLength),
    (b"Content-Length: 1.0", BadLength),
    (b"Content-Length: 1e1", BadLength),
    (b"Content-Length: 0x1", BadLength),
    (b"Content-Length: 1 1", BadLength),
    (b"Content-Length: 1\t1", BadLength),
    (b"Content-Length: 1;", BadLength),
    (b"Content-Length: a", BadLength),
    (b"Content-Length: \"1\"", BadLength),
    (b"Content-Length: 1_0", BadLength),
    (b"Content-Length: \xD9\xA1", BadLength),
    (b"Content-Length: \xA01", BadLength),
    (b"Content-Length: 9223372036854775808", BadLength),
    (b"Content-Length: 18446744073709551616", BadLength),
    (b"Content-Length: 99999999999999999999999", BadLength),
    (b"Transfer-Encoding:", ChunkedNotFinal),
    (b"Transfer-Encoding: ,", ChunkedNotFinal),
    (b"Transfer-Encoding: chunked, chunked", ChunkedNotFinal),
    (
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ChunkedNotFinal,
    ),
    (b"Transfer-Encoding: chunked, gzip", ChunkedNotFinal),
    (
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        ChunkedNotFinal,
    ),
    (b"Transfer-Encoding: chunked,", ChunkedNotFinal),
    (b"Transfer-Encoding: , chunked", ChunkedNotFinal),
    (b"Transfer-Encoding: gzip", UnknownCoding),
    (b"Transfer-Encoding: gzip, chunked", UnknownCoding),
    (
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        UnknownCoding,
    ),
    (b"Transfer-Encoding: identity", UnknownCoding),
    (b"Transfer-Encoding: identity, chunked", UnknownCoding),
    (b"Transfer-Encoding: xchunked", UnknownCoding),
    (b"Transfer-Encoding: chunkedx", UnknownCoding),
    (b"Transfer-Encoding: x chunked", UnknownCoding),
    (b"Transfer-Encoding: \"chunked\"", UnknownCoding),
    (b"Transfer-Encoding: 'chunked'", UnknownCoding),
    (b"Transfer-Encoding: chunked;q=1", UnknownCoding),
    (b"Transfer-Encoding: chunked\xA0", UnknownCoding),
    (b"Transfer-Encoding: c\xFFhunked", UnknownCoding),
    (b"Transfer-Encoding: chunked\0", ControlByte),
    (b"Transfer-Encoding: \x0Bchunked", ControlByte),
    (b"Transfer-Encoding: chunked\x0C", ControlByte),
    (b"Transfer-Encoding:\x08chunked", ControlByte),
    (b"Transfer-Encoding : chunked", SpaceBeforeColon),
    (b"Transfer-Encoding\t: chunked", SpaceBeforeColon),
    (b"Transfer-Encoding:\r\n chunked", FoldedField),
    (b"Transfer-Encoding\r\n: chunked", BadFieldName),
    (b"Transfer-Encoding\x0B: chunked", ControlByte),
    (b"Transfer-Encoding: chunked\nContent-Length: 1", BareLf),
    (b"Transfer-Encoding: chunked\rContent-Length: 1", BareCr),
    (b"\0Transfer-Encoding: chunked", ControlByte),
    (b"\"Transfer-Encoding\": chunked", BadFieldName),
    (b"Transfer_Encoding: chunked", FalseFraming),
    (b"Transfer--Encoding: chunked", FalseFraming),
    (b"Content_Length: 5", FalseFraming),
    (b"ContentLength: 5", FalseFraming),
    (b"X: a\r\n b", FoldedField),
    (b"X: a\r\n\tb", FoldedField),
    (b"X: a\r\n ", FoldedField),
    (b" X: a", FoldedField),
    (b"X : a", SpaceBeforeColon),
    (b"X\t: a", SpaceBeforeColon),
    (b"X Y: a", BadFieldName),
    (b"X", BadFieldName),
    (b"X\r\nY: a", BadFieldName),
    (b": a", BadFieldName),
    (b":", BadFieldName),
    (b" : a", FoldedField),
    (b"X(Y): a", BadFieldName),
    (b"X,Y: a", BadFieldName),
    (b"X/Y: a", BadFieldName),
    (b"X@Y: a", BadFieldName),
    (b"X[1]: a", BadFieldName),
    (b"X{1}: a", BadFieldName),
    (b"X=Y: a", BadFieldName),
    (b"X\"Y: a", BadFieldName),
    (b"X\\Y: a", BadFieldName),
    (b"X\xC3\xA9: a", BadFieldName),
    (b"X\0: a", ControlByte),
    (b"X\x7F: a", ControlByte),
    (b"X: \0", ControlByte),
    (b"X: a\x01b", ControlByte),
    (b"X: a\x1Bb", ControlByte),
    (b"X: a\x7Fb", ControlByte),
    (b"X: a\x08", ControlByte),
    (b"X: a\x0Bb", ControlByte),
    (b"X: a\x0Cb", ControlByte),
    (b"X: a\rb", BareCr),
    (b"X: a\r", BareCr),
    (b"X: \ra", BareCr),
    (b"X\r: a", BareCr),
    (b"X: a\nY: b", BareLf),
    (b"X: a\n", BareLf),
    (b"X: a\n b", BareLf),
    (b"\nX: a", BareLf),
];

/// Values of the only Host in HTTP/1.1.
const HOSTS: &[&[u8]] = &[
    b"",
    b" ",
    b"a b",
    b"a, b",
    b"a,b",
    b"a/b",
    b"a?b",
    b"a#b",
    b"a\\b",
    b"user@a",
    b"http://a",
    b"a:b",
    b"a:-1",
    b"a:+80",
    b"a:80:80",
    b"a:65536",
    b"a: 80",
    b":80",
    b".",
    b"..",
    b"[::1",
    b"::1",
    b"[::1]x",
    b"[::1]80",
    b"[g::]",
    b"[]",
    b"[127.0.0.1]",
    b"[fe80::1%25eth0]",
    b"a%00",
    b"a%2eb",
    b"a;b",
    b"a\"b",
    b"a'b",
    b"<a>",
    b"a\xE9",
    b"a|b",
    b"a{b}",
    b"*",
    b"*.a",
];

#[test]
fn each_bad_start_line_is_refused_for_its_reason() {
    for (line, reason) in START_LINES {
        refused(&[line, &b"\r\nHost: a\r\n\r\n"[..]].concat(), *reason);
    }
}

#[test]
fn each_bad_field_is_refused_for_its_reason() {
    for (field, reason) in FIELDS {
        refused(
            &[b"POST / HTTP/1.1\r\nHost: a\r\n", *field, b"\r\n\r\n"].concat(),
            *reason,
        );
    }
}

#[test]
fn each_bad_first_field_is_refused_too() {
    for (field, reason) in FIELDS.iter().filter(|(_, reason)| *reason != RepeatedHost) {
        refused(
            &[b"POST / HTTP/1.1\r\n", *field, b"\r\nHost: a\r\n\r\n"].concat(),
            *reason,
        );
    }
}

#[test]
fn each_bad_host_is_refused() {
    for host in HOSTS {
        refused(
            &[b"GET / HTTP/1.1\r\nHost: ", *host, b"\r\n\r\n"].concat(),
            BadHost,
        );
        refused(
            &[b"GET / HTTP/1.0\r\nHost: ", *host, b"\r\n\r\n"].concat(),
            BadHost,
        );
    }
}

fn refused(bytes: &[u8], reason: Reason) {
    let shown = String::from_utf8_lossy(bytes);
    match request(bytes) {
        Err(refusal) => {
            assert_eq!(refusal.reason(), reason, "{shown:?}");
            assert_eq!(refusal.status(), reason.status(), "{shown:?}");
            assert_eq!(refusal.proxy_status(), "http_request_error");
        }
        Ok((head, _)) => panic!("{shown:?} was accepted: {head:?}"),
    }
}

#[test]
fn refusals_call_for_the_status_of_their_kind() {
    for (reason, status) in [
        (LengthAndCoding, 400),
        (Connect, 405),
        (TargetTooLong, 414),
        (HeadTooLarge, 431),
        (TooManyFields, 431),
        (UnknownCoding, 501),
        (UnsupportedVersion, 505),
    ] {
        assert_eq!(reason.status(), status, "{reason}");
    }
}

#[test]
fn rules_of_http_1_0_are_its_own() {
    refused(
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        CodingInHttp10,
    );
    refused(
        b"POST / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n",
        CodingInHttp10,
    );
    refused(b"GET / HTTP/1.1\r\n\r\n", NoHost);
    refused(b"GET http://a/ HTTP/1.1\r\n\r\n", NoHost);
    let (head, _) = request(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(
        (head.version(), head.host(), head.keep_alive()),
        (Version::Http10, "", false)
    );
    let (head, _) =
        request(b"GET http://A.b:81/ HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").unwrap();
    assert_eq!(
        (head.host(), head.authority(), head.keep_alive()),
        ("a.b", "A.b:81", true)
    );
}

#[test]
fn limits_hold_to_the_byte() {
    let with_target = |len: usize| {
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(len - 1)).into_bytes()
    };
    assert!(request(&with_target(MAX_TARGET)).is_ok());
    refused(&with_target(MAX_TARGET + 1), TargetTooLong);
    refused(&with_target(2 * MAX_TARGET), TargetTooLong);
    refused(&[b'a'; 10_000], TargetTooLong);

    let with_method =
        |len: usize| format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(len)).into_bytes();
    assert!(request(&with_method(MAX_METHOD)).is_ok());
    refused(&with_method(MAX_METHOD + 1), MethodTooLong);

    let with_fields = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "A: b\r\n".repeat(count - 1)
        )
    };
    assert!(request(with_fields(MAX_FIELDS).as_bytes()).is_ok());
    refused(with_fields(MAX_FIELDS + 1).as_bytes(), TooManyFields);

    let head = "GET / HTTP/1.1\r\nHost: a\r\nA: \r\n\r\n";
    let with_size =
        |len: usize| head.replace("A: ", &format!("A: {}", "a".repeat(len - head.len())));
    assert_eq!(request(with_size(MAX_HEAD).as_bytes()).unwrap().1, MAX_HEAD);
    refused(with_size(MAX_HEAD + 1).as_bytes(), HeadTooLarge);

    let options = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: {}\r\n\r\n",
            "a,".repeat(count)
        )
    };
    assert!(request(options(MAX_FIELDS).as_bytes()).is_ok());
    refused(options(MAX_FIELDS + 1).as_bytes(), TooManyOptions);
}

#[test]
fn unusual_but_clear_requests_are_accepted() {
    for (bytes, target, body) in [
        (
            &b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            "/",
            BodyKind::None,
        ),
        (
            b"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n",
            "/pot",
            BodyKind::None,
        ),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", "/", BodyKind::None),
        (
            b"!#$%&'*+-.^_`|~ / HTTP/1.1\r\nHost: a\r\n\r\n",
            "/",
            BodyKind::None,
        ),
        (
            b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "*",
            BodyKind::None,
        ),
        (
            b"GET //a HTTP/1.1\r\nHost: a\r\n\r\n",
            "//a",
            BodyKind::None,
        ),
        (
            b"GET /a|b{}[]^\\`? HTTP/1.1\r\nHost: a\r\n\r\n",
            "/a|b{}[]^\\`?",
            BodyKind::None,
        ),
        (
            b"GET HTTP://A:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP://A:80/",
            BodyKind::None,
        ),
        (
            b"GET https://a:443 HTTP/1.1\r\nHost: a:\r\n\r\n",
            "https://a:443",
            BodyKind::None,
        ),
        (
            b"GET / HTTP/1.1\r\nHost:a\t \r\nX:\r\nY: \xFF\t\x80\r\n\r\n",
            "/",
            BodyKind::None,
        ),
        (
            b"GET / HTTP/1.1\r\nhOST: [2001:DB8::1]:8080\r\n\r\n",
            "/",
            BodyKind::None,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a_b\r\nContent-Length: 007\r\n\r\n",
            "/",
            BodyKind::Length(7),
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "/",
            BodyKind::None,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a.\r\nContent-Length:9223372036854775807\r\n\r\n",
            "/",
            BodyKind::Length(i64::MAX as u64),
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding:\tChunKed \r\n\r\n",
            "/",
            BodyKind::Chunked,
        ),
        (b"GET / HTTP/1.0\r\n\r\n", "/", BodyKind::None),
    ] {
        let (head, len) =
            request(bytes).unwrap_or_else(|refusal| panic!("{refusal}: {}", bytes.escape_ascii()));
        assert_eq!(
            (head.target(), head.body(), len),
            (target, body, bytes.len()),
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn a_target_is_taken_apart() {
    for (line, form, host, path, query) in [
        (
            "GET /a/b?c=d?e",
            TargetForm::Origin,
            "host",
            "/a/b",
            Some("c=d?e"),
        ),
        ("GET /?", TargetForm::Origin, "host", "/", Some("")),
        ("GET http://HOST", TargetForm::Absolute, "host", "/", None),
        (
            "GET http://host?q=/",
            TargetForm::Absolute,
            "host",
            "/",
            Some("q=/"),
        ),
        (
            "GET http://host/x?y",
            TargetForm::Absolute,
            "host",
            "/x",
            Some("y"),
        ),
        ("OPTIONS *", TargetForm::Asterisk, "host", "*", None),
    ] {
        let named = if form == TargetForm::Absolute {
            "Host:80"
        } else {
            "Host.:8080"
        };
        let (head, _) =
            request(format!("{line} HTTP/1.1\r\nHost: {named}\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(
            (head.form(), head.host(), head.path(), head.query()),
            (form, host, path, query),
            "{line}"
        );
    }
}

#[test]
fn what_the_client_asks_of_the_connection_is_told() {
    let with = |fields: &str| {
        request(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").as_bytes())
            .unwrap()
            .0
    };
    assert!(with("Connection: keep-alive").keep_alive());
    assert!(with("X: y").keep_alive());
    assert!(!with("Connection: x, Close").keep_alive());
    assert!(!with("Connection: x\r\nConnection: close").keep_alive());
    assert!(with("Expect: 100-Continue").expects_continue());
    refused(
        b"GET / HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\n\r\n",
        Reason::UnknownExpectation,
    );
    assert_eq!(
        with("Connection: Upgrade\r\nUpgrade: websocket").upgrade(),
        Some("websocket")
    );
    assert_eq!(with("Upgrade: websocket").upgrade(), None);
    assert_eq!(with("Connection: upgrade\r\nUpgrade:").upgrade(), None);
    assert_eq!(
        with("Connection: upgrade, http2-settings\r\nUpgrade: h2c").upgrade(),
        None
    );
    assert_eq!(
        with("Connection: upgrade\r\nUpgrade: websocket, H2C").upgrade(),
        None
    );
}

#[test]
fn a_head_used_again_names_the_host_of_its_own_request() {
    let mut head = RequestHead::new();
    let mut next = |text: &[u8]| {
        let parsed = parse_request(text, &mut Scan::default(), &mut head);
        parsed.map(|_| (head.host().to_owned(), head.authority().to_owned()))
    };
    let named = |host: &str, authority: &str| Ok((host.to_owned(), authority.to_owned()));
    for _ in 0..2 {
        assert_eq!(
            next(b"GET / HTTP/1.1\r\nHost: A.:80\r\n\r\n"),
            named("a", "A.:80")
        );
    }
    assert_eq!(next(b"GET / HTTP/1.0\r\n\r\n"), named("", ""));
    assert!(next(b"GET / HTTP/1.1\r\nHost:\r\n\r\n").is_err());
    assert_eq!(
        next(b"GET http://b/ HTTP/1.1\r\nHost: b\r\n\r\n"),
        named("b", "b")
    );
    assert_eq!(next(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n"), named("b", "b"));
    assert!(next(b"GET http://c/ HTTP/1.1\r\nHost: b\r\n\r\n").is_err());
    assert!(next(b"GET / HTTP/1.1\r\nHost: b\r\nHost: b\r\n\r\n").is_err());
    assert_eq!(next(b"GET / HTTP/1.1\r\nHost: B\r\n\r\n"), named("b", "B"));
}
