use super::*;
use crate::wire::field::Known;
use crate::wire::fields::InvalidField;
use crate::wire::head::Version;

const FORWARD: Forward<'static> = Forward {
    client: "192.0.2.7",
    https: false,
    real_ip: "",
    certificate: "",
    trusted: false,
    host: "10.0.0.7:8080",
    request_id: "id-1",
    traceparent: "",
    upgrade: false,
    instead: Instead {
        target: None,
        authority: None,
    },
};

fn forwarded(bytes: &str, forward: &Forward<'_>) -> String {
    let (head, _) = request(bytes.as_bytes()).unwrap();
    encoded(&head, forward)
}

fn encoded(head: &RequestHead, forward: &Forward<'_>) -> String {
    let mut out = Vec::new();
    encode_request(head, forward, &mut out);
    request(&out).expect("what is sent on would be accepted here too");
    String::from_utf8(out).unwrap()
}

fn returned(method: &str, bytes: &str, back: Return) -> String {
    let (head, _) = response(method, bytes.as_bytes()).unwrap();
    let mut out = Vec::new();
    encode_response(&head, &back, &mut out);
    response(method, &out).expect("what is sent back would be accepted here too");
    String::from_utf8(out).unwrap()
}

const BACK: Return = Return {
    client: Version::Http11,
    close: false,
    upgrade: false,
};

#[test]
fn a_request_keeps_its_case_and_order() {
    let sent = forwarded(
        "gEt /a?b HTTP/1.1\r\naccept: */*\r\nHOST: Shop\r\nX-b:1\r\nCookie:  a=b \r\nx-B: 2\r\n\r\n",
        &FORWARD,
    );
    assert_eq!(
        sent,
        "gEt /a?b HTTP/1.1\r\naccept: */*\r\nHOST: Shop\r\nX-b:1\r\nCookie:  a=b \r\nx-B: 2\r\n\
         X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: Shop\r\nX-Request-Id: id-1\r\n\
         Via: 1.1 synod\r\n\r\n"
    );
}

#[test]
fn fields_for_one_hop_stay_here() {
    let sent = forwarded(
        "POST / HTTP/1.1\r\nConnection: close, X-Secret\r\nHost: a\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n\
         x-secret: 1\r\nTE: gzip, trailers\r\nTrailer: X\r\nTransfer-Encoding: Chunked\r\n\
         Upgrade: websocket\r\nHTTP2-Settings: x\r\nKeep_Alive: 7\r\nX-SECRET: 2\r\nLast: 1\r\n\r\n",
        &Forward {
            request_id: "",
            ..FORWARD
        },
    );
    assert_eq!(
        sent,
        "POST / HTTP/1.1\r\nHost: a\r\nTrailer: X\r\nLast: 1\r\nTransfer-Encoding: chunked\r\nConnection: te\r\n\
         TE: trailers\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n\
         Via: 1.1 synod\r\n\r\n"
    );
}

#[test]
fn connection_cannot_hide_what_is_for_the_backend() {
    for name in [
        "Host",
        "Content-Length",
        "Authorization",
        "Cookie",
        "X-Forwarded-For",
        "x-forwarded-port",
        "Forwarded",
        "Via",
        "X-Request-Id",
        "Cache-Control",
        "Content-Type",
    ] {
        let value = if name == "Content-Length" { "3" } else { "a" };
        let host = if name == "Host" { "" } else { "Host: a\r\n" };
        let sent = forwarded(
            &format!("POST / HTTP/1.1\r\nConnection: {name}\r\n{host}{name}: {value}\r\n\r\n"),
            &Forward {
                trusted: true,
                ..FORWARD
            },
        );
        assert!(sent.contains(&format!("\r\n{name}: {value}")), "{sent}");
    }
}

#[test]
fn only_a_trusted_client_speaks_of_those_before_it() {
    let bytes = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nForwarded: for=x\r\nX-Forwarded-Port: 1\r\n\
                 X-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\nX_Forwarded_For: x\r\nX-Forwarded-For: 2.2.2.2\r\n\
                 X-Request-Id: theirs\r\nVia: 1.0 them\r\n\r\n";
    let sent = forwarded(bytes, &FORWARD);
    assert_eq!(
        sent,
        "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: theirs\r\nVia: 1.0 them\r\nX-Forwarded-For: 192.0.2.7\r\n\
         X-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nVia: 1.1 synod\r\n\r\n"
    );
    let sent = forwarded(
        bytes,
        &Forward {
            trusted: true,
            https: true,
            ..FORWARD
        },
    );
    assert_eq!(
        sent,
        "GET / HTTP/1.1\r\nHost: a\r\nForwarded: for=x\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: b\r\nX-Request-Id: theirs\r\nVia: 1.0 them\r\n\
         X-Forwarded-For: 1.1.1.1, 2.2.2.2, 192.0.2.7\r\nVia: 1.1 synod\r\n\r\n"
    );
}

#[test]
fn every_target_goes_on_in_origin_form() {
    for (line, sent) in [
        ("GET http://a/x?y", "GET /x?y HTTP/1.1\r\n"),
        ("GET http://a", "GET / HTTP/1.1\r\n"),
        ("GET http://a?y", "GET /?y HTTP/1.1\r\n"),
        ("OPTIONS http://a", "OPTIONS * HTTP/1.1\r\n"),
        ("OPTIONS http://a?y", "OPTIONS /?y HTTP/1.1\r\n"),
        ("OPTIONS http://a/", "OPTIONS / HTTP/1.1\r\n"),
        ("OPTIONS *", "OPTIONS * HTTP/1.1\r\n"),
    ] {
        let whole = forwarded(&format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"), &FORWARD);
        assert!(whole.starts_with(sent), "{whole}");
    }
}

#[test]
fn a_request_of_http_1_0_becomes_one_of_1_1() {
    let sent = forwarded(
        "GET /x HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n",
        &FORWARD,
    );
    assert!(
        sent.starts_with("GET /x HTTP/1.1\r\nHost: 10.0.0.7:8080\r\nX-Forwarded-For"),
        "{sent}"
    );
    assert!(
        sent.ends_with("Via: 1.0 synod\r\n\r\n") && !sent.contains("Forwarded-Host"),
        "{sent}"
    );
    let sent = forwarded("GET http://b:81/x HTTP/1.0\r\n\r\n", &FORWARD);
    assert!(
        sent.starts_with("GET /x HTTP/1.1\r\nHost: b:81\r\n"),
        "{sent}"
    );
}

#[test]
fn an_upgrade_is_passed_on_when_the_proxy_means_to() {
    let bytes = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    assert!(
        !forwarded(bytes, &FORWARD)
            .to_lowercase()
            .contains("upgrade")
    );
    let sent = forwarded(
        bytes,
        &Forward {
            upgrade: true,
            ..FORWARD
        },
    );
    assert!(
        sent.contains("\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n"),
        "{sent}"
    );

    let bytes = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: y\r\n\r\n";
    let sent = returned(
        "GET",
        bytes,
        Return {
            upgrade: true,
            ..BACK
        },
    );
    assert_eq!(
        sent,
        "HTTP/1.1 101 Switching Protocols\r\nX: y\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
}

#[test]
fn rules_skip_and_append() {
    let (mut head, _) =
        request(b"GET / HTTP/1.1\r\nA: 1\r\nHost: a\r\nCookie: x\r\nA: 2\r\n\r\n").unwrap();
    let fields = head.fields_mut();
    fields.skip(Known::Cookie);
    fields.skip_named("a");
    fields.append("X-New", b"value").unwrap();
    assert_eq!(fields.append("X\r\nY", b""), Err(InvalidField));
    assert_eq!(fields.append("", b""), Err(InvalidField));
    assert_eq!(fields.append("X", b"a\r\nY: b"), Err(InvalidField));
    let sent = encoded(&head, &FORWARD);
    assert!(
        sent.starts_with("GET / HTTP/1.1\r\nHost: a\r\nX-New: value\r\nX-Forwarded-For"),
        "{sent}"
    );
    assert_eq!(encoded(&head, &FORWARD), sent, "a retry sends the same");
}

#[test]
fn a_response_keeps_its_case_and_order() {
    let bytes = "HTTP/1.1 200 Fine\r\nserver: x\r\nConnection: keep-alive, X-Hop\r\nContent-LENGTH:5\r\nX-Hop: 1\r\n\
                 Keep-Alive: 5\r\nSet-Cookie: a\r\nset-cookie: b\r\nUpgrade: h2\r\n\r\n";
    assert_eq!(
        returned("GET", bytes, BACK),
        "HTTP/1.1 200 Fine\r\nserver: x\r\nContent-LENGTH:5\r\nSet-Cookie: a\r\nset-cookie: b\r\nVia: 1.1 synod\r\n\r\n"
    );
}

#[test]
fn a_response_says_how_it_ends_to_each_client() {
    let old = Return {
        client: Version::Http10,
        ..BACK
    };
    let (length, chunked) = (
        "Content-Length: 1\r\n",
        "Trailer: X\r\nTransfer-Encoding: chunked\r\n",
    );
    for (method, status, fields, back, expected) in [
        (
            "GET",
            "200 OK",
            length,
            BACK,
            "Content-Length: 1\r\nVia: 1.1 synod\r\n",
        ),
        (
            "GET",
            "200 OK",
            length,
            Return {
                close: true,
                ..BACK
            },
            "Content-Length: 1\r\nVia: 1.1 synod\r\nConnection: close\r\n",
        ),
        (
            "GET",
            "200 OK",
            length,
            old,
            "Content-Length: 1\r\nVia: 1.1 synod\r\nConnection: keep-alive\r\n",
        ),
        (
            "GET",
            "200 OK",
            chunked,
            BACK,
            "Trailer: X\r\nTransfer-Encoding: chunked\r\nVia: 1.1 synod\r\n",
        ),
        (
            "GET",
            "200 OK",
            chunked,
            old,
            "Via: 1.1 synod\r\nConnection: close\r\n",
        ),
        (
            "GET",
            "200 OK",
            "",
            BACK,
            "Transfer-Encoding: chunked\r\nVia: 1.1 synod\r\n",
        ),
        (
            "GET",
            "200 OK",
            "",
            old,
            "Via: 1.1 synod\r\nConnection: close\r\n",
        ),
        (
            "HEAD",
            "200 OK",
            length,
            BACK,
            "Content-Length: 1\r\nVia: 1.1 synod\r\n",
        ),
        ("HEAD", "200 OK", chunked, BACK, "Via: 1.1 synod\r\n"),
        (
            "GET",
            "304 Not Modified",
            length,
            BACK,
            "Content-Length: 1\r\nVia: 1.1 synod\r\n",
        ),
        ("GET", "204 No Content", length, BACK, "Via: 1.1 synod\r\n"),
        ("GET", "103 Early Hints", "Link: x\r\n", BACK, "Link: x\r\n"),
        (
            "GET",
            "100 Continue",
            length,
            Return {
                close: true,
                ..BACK
            },
            "",
        ),
    ] {
        let sent = returned(method, &format!("HTTP/1.1 {status}\r\n{fields}\r\n"), back);
        assert_eq!(
            sent,
            format!("HTTP/1.1 {status}\r\n{expected}\r\n"),
            "{method}"
        );
    }
}

#[test]
fn an_answer_without_body_has_no_length() {
    let answer = Answer {
        status: 204,
        error: None,
        details: None,
        date: "now",
        fields: &[],
        body: b"ignored",
        head_only: false,
        content_type: "text/plain; charset=utf-8",
        client: Version::Http10,
        close: false,
    };
    let mut out = Vec::new();
    encode_answer(&answer, &mut out);
    assert_eq!(
        out,
        b"HTTP/1.1 204 No Content\r\nDate: now\r\nProxy-Status: synod\r\nConnection: keep-alive\r\n\r\n"
    );
    out.clear();
    encode_answer(
        &Answer {
            status: 404,
            head_only: true,
            close: true,
            ..answer
        },
        &mut out,
    );
    assert!(out.ends_with(b"Content-Length: 7\r\nConnection: close\r\n\r\n"));
}

#[test]
fn another_target_and_host_are_sent_in_place_of_those_received() {
    let instead = Instead {
        target: Some("/new?x=1"),
        authority: Some("inner:81"),
    };
    let forward = Forward { instead, ..FORWARD };
    for request in [
        "GET /old?x=1 HTTP/1.1\r\nHost: shop.example\r\nX-A: 1\r\n\r\n",
        "GET http://shop.example/old HTTP/1.1\r\nhost: shop.example\r\nX-A: 1\r\n\r\n",
        "GET /old HTTP/1.0\r\nX-A: 1\r\n\r\n",
    ] {
        let sent = forwarded(request, &forward);
        assert!(
            sent.starts_with("GET /new?x=1 HTTP/1.1\r\nHost: inner:81\r\nX-A: 1\r\n"),
            "{sent}"
        );
        assert_eq!(sent.matches("inner").count(), 1, "{sent}");
        let told = sent.contains("X-Forwarded-Host: shop.example\r\n");
        assert_eq!(told, request.contains("shop.example"), "{sent}");
    }
}

#[test]
fn edits_of_fields_can_be_taken_back() {
    let bytes = b"GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a: 2\r\nX-B: 3\r\n\r\n";
    let (mut head, _) = request(bytes).unwrap();
    head.fields_mut().append("X-Own", b"1").unwrap();
    let before = encoded(&head, &FORWARD);
    head.fields_mut().begin_edits();
    head.fields_mut().remove("x-A");
    head.fields_mut().append("X-C", b"4").unwrap();
    let edited = encoded(&head, &FORWARD);
    assert!(
        edited.contains("Host: x\r\nX-B: 3\r\nX-Own: 1\r\nX-C: 4\r\n"),
        "{edited}"
    );
    head.fields_mut().undo_edits();
    assert_eq!(encoded(&head, &FORWARD), before);
}
