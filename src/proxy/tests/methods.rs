//! OPTIONS, TRACE and Max-Forwards (RFC 9110, 7.6.2), the forms of a target, and what passes of TE and Trailer.

use super::harness::*;

fn forwarded(request: &str) -> String {
    let (backend, heads) = recording();
    let harness = Harness::to(&[backend.address]);
    assert_eq!(status(&harness.once(request).0), 200, "{request}");
    heads.recv().unwrap()
}

#[test]
fn max_forwards_counts_down_for_options_and_trace() {
    for (method, given, passed) in [
        ("OPTIONS", "5", "4"),
        ("OPTIONS", "1", "0"),
        ("TRACE", "10", "9"),
        ("OPTIONS", "99999999999999999999", "18446744073709551614"),
        ("OPTIONS", "x", "x"),
        ("GET", "5", "5"),
        ("GET", "0", "0"),
        ("POST", "0", "0"),
    ] {
        let head = forwarded(&format!(
            "{method} /a HTTP/1.1\r\nHost: x\r\nMax-Forwards: {given}\r\n\r\n"
        ));
        assert_eq!(
            field(&head, "max-forwards"),
            Some(passed),
            "{method} {given}"
        );
        assert_eq!(
            head.to_lowercase().matches("max-forwards").count(),
            1,
            "{head}"
        );
        assert!(
            head.starts_with(&format!("{method} /a HTTP/1.1\r\n")),
            "{head}"
        );
    }
}

#[test]
fn content_without_meaning_is_never_taken_for_another_request() {
    let (backend, heads) = recording();
    let harness = Harness::to(&[backend.address]);
    let of_two = "Content-Length: 2\r\n\r\nab";
    let empty = "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    for (method, more, kept, connections) in [
        ("POST", of_two, true, 1),
        ("GET", "Content-Length: 0\r\n\r\n", true, 1),
        ("GET", of_two, false, 1),
        ("DELETE", of_two, true, 2),
        ("OPTIONS", of_two, true, 3),
        ("HEAD", of_two, false, 4),
        ("GET", empty, false, 5),
        // What came before may lie there.
        ("GET", "\r\n", true, 6),
        ("GET", "\r\n", true, 6),
    ] {
        let mut client = harness.client();
        client.send(format!("{method} / HTTP/1.1\r\nHost: x\r\n{more}"));
        let head = client.head();
        assert_eq!(status(&head), 200, "{method}");
        heads.recv().unwrap();
        assert_eq!(backend.connections(), connections, "{method} {more}");
        let closes = field(&head, "connection") == Some("close");
        assert_eq!(closes, !kept, "{method} {more}: {head}");
        if closes {
            client.rest();
        }
    }
}

#[test]
fn at_zero_the_proxy_answers_itself_and_keeps_the_connection() {
    let (backend, heads) = recording();
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    for (method, target, expected) in [
        ("OPTIONS", "/", 200),
        ("OPTIONS", "*", 200),
        ("TRACE", "/", 405),
        ("OPTIONS", "/", 200),
    ] {
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\nCookie: secret\r\n\r\n"
        ));
        let (head, body) = client.response();
        assert_eq!(status(&head), expected, "{method}");
        assert!(field(&head, "allow").unwrap().contains("OPTIONS"), "{head}");
        assert_eq!(head.contains("error="), expected != 200, "{head}");
        assert!(!body.contains("secret"), "nothing is reflected");
    }
    assert!(heads.try_recv().is_err());
    assert_eq!(backend.connections(), 0);
}

#[test]
fn each_form_of_a_target_goes_on_in_the_right_one() {
    for (request, expected) in [
        (
            "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: x\r\n",
        ),
        (
            "OPTIONS http://x HTTP/1.1\r\nHost: x\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: x\r\n",
        ),
        (
            "OPTIONS http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
            "OPTIONS / HTTP/1.1\r\nHost: x\r\n",
        ),
        (
            "GET http://x HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n",
        ),
        (
            "GET http://X:80/a?b HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a?b HTTP/1.1\r\nHost: x\r\n",
        ),
        (
            "GET http://x?b HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /?b HTTP/1.1\r\nHost: x\r\n",
        ),
        (
            "GET http://x/a HTTP/1.0\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: x\r\n",
        ),
        (
            "GET /a//b/../c;d HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a//c;d HTTP/1.1\r\nHost: x\r\n",
        ),
        (
            "GET /%2f%20/%00?%0d/../%61 HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /%2f%20/%00?%0d/../%61 HTTP/1.1\r\nHost: x\r\n",
        ),
    ] {
        let head = forwarded(request);
        assert!(head.starts_with(expected), "{request} as {head}");
    }
}

#[test]
fn a_client_of_http_1_0_without_host_gets_the_backends() {
    let (backend, heads) = recording();
    let harness = Harness::to(&[backend.address]);
    harness.once("GET / HTTP/1.0\r\n\r\n");
    let head = heads.recv().unwrap();
    let host = backend.address.to_string();
    assert_eq!(field(&head, "host"), Some(host.as_str()));
    assert_eq!(field(&head, "via"), Some("1.0 synod"));
    assert_eq!(field(&head, "x-forwarded-host"), None);
}

#[test]
fn te_goes_on_for_trailers_only() {
    for (given, passed) in [
        ("TE: trailers\r\nConnection: TE\r\n", Some("trailers")),
        (
            "TE: gzip;q=0.5, trailers\r\nConnection: te, close\r\n",
            Some("trailers"),
        ),
        ("TE: gzip\r\nConnection: TE\r\n", None),
        ("", None),
    ] {
        let head = forwarded(&format!("GET / HTTP/1.1\r\nHost: x\r\n{given}\r\n"));
        assert_eq!(field(&head, "te"), passed, "{given}");
        assert_eq!(field(&head, "connection"), passed.map(|_| "te"), "{given}");
    }
}

#[test]
fn trailer_is_announced_only_where_trailers_can_come() {
    let chunked = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 2\r\n\r\n";
    let backend = Scripted::always(chunked);
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n");
    let head = client.head();
    assert_eq!(field(&head, "trailer"), Some("X-Sum"));
    assert_eq!(client.rest(), "2\r\nhi\r\n0\r\nX-Sum: 2\r\n\r\n");
    let mut client = harness.client();
    client.send("GET / HTTP/1.0\r\nHost: x\r\n\r\n");
    let head = client.head();
    assert_eq!(field(&head, "trailer"), None);
    assert_eq!(client.rest(), "hi");
    let (backend, heads) = recording();
    let harness = Harness::to(&[backend.address]);
    harness.once("POST / HTTP/1.1\r\nHost: x\r\nTrailer: X-Sum\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(field(&heads.recv().unwrap(), "trailer"), None);
}

#[test]
fn a_bad_request_behind_a_good_one_ends_the_line_there() {
    let (backend, heads) = recording();
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    let good = "GET /good HTTP/1.1\r\nHost: x\r\n\r\n";
    client.send(format!(
        "{good}{good}GET /bad HTTP/1.1\r\nHost : x\r\n\r\n{good}"
    ));
    for expected in [200, 200, 400] {
        assert_eq!(status(&client.response().0), expected);
    }
    assert!(client.is_closed());
    assert_eq!(heads.try_iter().count(), 2);
}

/// As a server of gRPC does that returns what it was sent.
#[test]
fn trailers_of_an_answer_may_say_what_those_of_a_request_may_not() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n";
    let echoed = "X-Forwarded-For: 192.0.2.1\r\nAuthorization: x\r\n\r\n";
    let backend = Scripted::always(format!("{chunked}{echoed}"));
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n");
    let answer = client.rest();
    assert!(answer.ends_with(echoed), "{answer}");
}
