//! What is not passed on, and how the client is told.

use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use serde_json::json;

use super::harness::*;
use super::limits::{asked, gated};
use crate::tls::Keyring;

/// The start of a request line that is fine.
const G: &str = "GET / HTTP/1.1\r\nHost: x\r\n";

#[test]
fn nothing_of_a_malformed_request_reaches_a_backend() {
    let (backend, heads) = recording();
    let harness = Harness::to(&[backend.address]);
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(9_000));
    let many_fields = format!("{G}{}\r\n", "A: b\r\n".repeat(101));
    let large_head = format!(
        "{G}{}\r\n",
        format!("A: {}\r\n", "b".repeat(1_000)).repeat(70)
    );
    let table: &[(&str, u16)] = &[
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: x\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (&format!("{G}A : b\r\n\r\n"), 400),
        (&format!("{G} folded\r\n\r\n"), 400),
        (&format!("{G}A: \0\r\n\r\n"), 400),
        (
            &format!("{G}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            &format!("{G}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
            400,
        ),
        (&format!("{G}Content-Length: +1\r\n\r\nx"), 400),
        (&format!("{G}Transfer-Encoding: gzip\r\n\r\n"), 501),
        (&format!("{G}Transfer-Encoding: chunked\r\n\r\nzz\r\n"), 400),
        (
            &format!("{G}Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"),
            400,
        ),
        ("GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", 405),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        ("\x16\x03\x01\x02\x00", 400),
        (&long_target, 414),
        (&many_fields, 431),
        (&large_head, 431),
    ];
    for (request, expected) in table {
        let mut client = harness.client();
        client.send(request);
        let shown = &request[..request.len().min(60)];
        let (head, body) = client.response();
        assert_eq!(status(&head), *expected, "{shown:?}");
        assert!(
            field(&head, "proxy-status")
                .unwrap()
                .starts_with("synod; error=http_request_error"),
            "{head}"
        );
        assert_eq!(field(&head, "connection"), Some("close"), "{shown:?}");
        assert!(field(&head, "date").is_some() && !body.is_empty());
        assert!(client.is_closed(), "{shown:?}");
    }
    assert_eq!(heads.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(backend.connections(), 0);
    harness.settle();
    assert_eq!(
        harness.metrics.listener().refusals("http_request_error"),
        table.len() as u64
    );
}

#[test]
fn a_refusal_is_seen_by_a_client_that_is_still_sending() {
    let harness = Harness::to(&[nobody()]);
    let mut client = harness.client();
    client.send(format!("{G}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"));
    // More than the sockets take, so the proxy has to read it away before it closes.
    assert!(client.try_send(vec![b'x'; 16 * 1024 * 1024]));
    assert_eq!(status(&client.response().0), 400);
    assert!(client.is_closed());
}

/// Reading on for ever would be a gift to whoever sends on for ever, and waiting to whoever says nothing.
#[test]
fn a_refused_client_is_read_on_for_a_while() {
    let harness = Harness::to(&[nobody()]);
    for sends in [false, true] {
        let mut client = harness.client();
        client.send(format!("{G}Content-Length: x\r\n\r\n"));
        while sends && client.try_send([b'x'; 65_536]) {}
        client.rest();
        wait_until(|| harness.metrics.listener().open() == 0);
    }
}

#[test]
fn nothing_behind_a_refused_request_is_read_as_one() {
    let (backend, heads) = recording();
    let harness = Harness::to(&[backend.address]);
    let mut client = harness.client();
    client.send(format!("{G}Content-Length: x\r\n\r\n{G}\r\n"));
    assert!(client.rest().starts_with("HTTP/1.1 400 "));
    assert_eq!(heads.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn before_any_config_nothing_is_denied() {
    let harness = Harness::without_config(options(), Arc::new(Keyring::empty()));
    let mut client = harness.client();
    let mut asked = || {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        status(&client.response().0)
    };
    assert_eq!(asked(), 503, "it may be there");
    harness.publish(&json!({}));
    assert_eq!(asked(), 404, "it is known not to be");
}

#[test]
fn no_route_is_404_and_no_backend_is_503_and_both_keep_the_connection() {
    let config = json!({
        "pools": [{"name": "empty", "backends": []}, {"name": "off", "backends": [
            {"id": "a", "address": nobody().to_string(), "weight": 0},
            {"id": "b", "address": nobody().to_string(), "state": "drain"}]}],
        "routes": [
            {"name": "empty", "match": {"path": {"prefix": "/empty"}}, "to": [{"pool": "empty"}]},
            {"name": "off", "match": {"path": {"prefix": "/off"}}, "to": [{"pool": "off"}]}]});
    let harness = Harness::new(options(), &config);
    let mut client = harness.client();
    for (path, expected, error) in [
        ("/", 404, "destination_not_found"),
        ("/empty", 503, "destination_unavailable"),
        ("/off", 503, "destination_unavailable"),
    ] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let (head, body) = client.response();
        assert_eq!(status(&head), expected);
        assert_eq!(
            field(&head, "proxy-status"),
            Some(format!("synod; error={error}").as_str())
        );
        assert!(!body.is_empty());
    }
    client.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(status(&client.head()), 404);
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(
        status(&client.response().0),
        404,
        "a body that came with the head is passed over"
    );
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
    let (head, _) = client.response();
    assert_eq!(
        (status(&head), field(&head, "connection")),
        (404, Some("close"))
    );
    assert!(client.is_closed());
}

fn impatient() -> crate::proxy::ProxyOptions {
    let mut options = options();
    options.timeouts.client_headers = Duration::from_millis(200);
    options.timeouts.keep_alive = Duration::from_millis(400);
    options
}

#[test]
fn a_slow_head_is_408_and_silence_is_just_closed() {
    let backend = Scripted::named("x");
    let harness = Harness::new(impatient(), &web(&[backend.address], json!({})));
    let mut silent = harness.client();
    let mut slow = harness.client();
    slow.send("GET / HT");
    let (head, _) = slow.response();
    assert_eq!(status(&head), 408);
    assert!(slow.is_closed());
    assert!(silent.is_closed());
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let backend = Scripted::named("x");
    let harness = Harness::new(impatient(), &web(&[backend.address], json!({})));
    let mut client = harness.client();
    let idle_since = Instant::now();
    client.send(format!("{G}\r\n"));
    client.response();
    assert!(client.is_closed());
    assert!(
        idle_since.elapsed() >= Duration::from_millis(200),
        "{:?}",
        idle_since.elapsed()
    );
    harness.settle();
    assert_eq!(harness.metrics.listener().open(), 0);
}

#[test]
fn a_body_that_stops_coming_is_408() {
    let backend = Scripted::new(|peer, _| {
        peer.head();
        peer.rest();
    });
    let harness = Harness::with_pool(
        &[backend.address],
        json!({"timeouts": {"stream_idle": "300ms"}}),
    );
    let (head, _) = harness.once("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
    assert_eq!(status(&head), 408);
}

#[test]
fn a_route_says_in_its_own_words_what_failed() {
    let mut config = web(&[nobody()], serde_json::json!({}));
    config["routes"][0]["error_pages"] = serde_json::json!([
        {"status": 404, "body": "nothing"},
        {"status": ["500-599"], "body": "<h1>sorry</h1>"},
    ]);
    let harness = Harness::new(options(), &config);
    let (head, body) = harness.get("/");
    assert_eq!((status(&head), body.as_str()), (502, "<h1>sorry</h1>"));
    assert_eq!(
        field(&head, "content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(field(&head, "proxy-status").is_some());
    let (head, _) = {
        let mut client = harness.client();
        client.send("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        (client.head(), client.rest())
    };
    assert_eq!(field(&head, "content-length"), Some("14"));
    // A backend's answer is passed on as it is.
    let backend = Scripted::always("HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno");
    config["pools"][0]["backends"][0]["address"] = backend.address.to_string().into();
    harness.publish(&config);
    assert_eq!(harness.get("/").1, "no");
}

#[test]
fn a_route_says_so_of_what_is_refused_before_its_policy_is_asked() {
    let gated = gated();
    let mut config = web(&[gated.backend.address], json!({}));
    config["routes"][0]["error_pages"] = json!([{"body": "sorry"}]);
    let limits = crate::proxy::NodeLimits {
        requests: Some(1),
        ..crate::proxy::NodeLimits::default()
    };
    let options = crate::proxy::ProxyOptions {
        limits,
        ..options()
    };
    let harness = Harness::new(options, &config);
    let mut first = asked(&harness);
    gated.wait_for_request();
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 503),
        ("GET /.. HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (
            "TRACE / HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n",
            405,
        ),
    ] {
        let (head, body) = harness.once(request);
        assert_eq!((status(&head), &body[..]), (expected, "sorry"), "{request}");
    }
    gated.go.send(()).unwrap();
    assert_eq!(first.response().1, "done");
}

#[test]
fn every_answer_of_the_proxys_own_says_why_in_one_header_and_in_the_access_log() {
    let directory = tempfile::tempdir().unwrap();
    let (options, log) = logging_to(&directory);
    let backend = Scripted::named("fine");
    let login =
        Scripted::always("HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n");
    let no = Scripted::always("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    let mut config = web(&[backend.address], json!({}));
    for (name, address) in [
        ("gone", nobody()),
        ("login", login.address),
        ("no", no.address),
    ] {
        add_pool(&mut config, name, address);
    }
    let users = json!([{"name": "ann", "password_sha256": "00".repeat(32)}]);
    let policies = [
        ("elsewhere", json!({"redirect": {"host": "b.example"}})),
        ("cors", json!({"cors": {"origins": ["https://a.example"]}})),
        ("clients", json!({"clients": {"deny": ["127.0.0.0/8"]}})),
        ("basic", json!({"basic_auth": {"users": users}})),
        ("login", json!({"forward_auth": {"pool": "login"}})),
        ("no", json!({"forward_auth": {"pool": "no"}})),
        ("unasked", json!({"forward_auth": {"pool": "gone"}})),
        ("large", json!({"max_body_bytes": 1})),
        ("rated", json!({"rate_limit": {"requests": 1, "per": "1h"}})),
        (
            "abort",
            json!({"fault_injection": {"abort": {"status": 418}}}),
        ),
        ("gone", json!({"to": [{"pool": "gone"}]})),
    ];
    let routes = policies.map(|(path, more)| {
        let mut route = json!({"name": path, "match": {"path": {"prefix": format!("/{path}")}}, "to": [{"pool": "web"}]});
        for (field, value) in more.as_object().unwrap() {
            route[field] = value.clone();
        }
        route
    });
    config["routes"] = json!(routes);
    let harness = Harness::new(options, &config);
    let table = [
        ("GET /elsewhere", "", 302, "redirect", Some("redirect")),
        (
            "OPTIONS /cors",
            "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n",
            204,
            "preflight",
            Some("preflight"),
        ),
        (
            "OPTIONS /cors",
            "Origin: https://b.example\r\nAccess-Control-Request-Method: GET\r\n",
            403,
            "http_request_denied",
            Some("cors"),
        ),
        (
            "OPTIONS /",
            "Max-Forwards: 0\r\n",
            200,
            "max_forwards",
            Some("max_forwards"),
        ),
        (
            "TRACE /",
            "Max-Forwards: 0\r\n",
            405,
            "http_request_denied",
            Some("trace"),
        ),
        (
            "GET /clients",
            "",
            403,
            "http_request_denied",
            Some("clients"),
        ),
        (
            "GET /basic",
            "",
            401,
            "http_request_denied",
            Some("basic_auth"),
        ),
        (
            "GET /login",
            "",
            302,
            "http_request_denied",
            Some("forward_auth"),
        ),
        (
            "GET /no",
            "",
            403,
            "http_request_denied",
            Some("forward_auth"),
        ),
        (
            "GET /unasked",
            "",
            503,
            "destination_unavailable",
            Some("forward_auth"),
        ),
        (
            "PUT /large",
            "Content-Length: 2\r\n",
            413,
            "http_request_error",
            Some("body_too_large"),
        ),
        (
            "GET /abort",
            "",
            418,
            "proxy_internal_response",
            Some("fault_injection"),
        ),
        ("GET /gone", "", 502, "connection_refused", None),
        ("GET /none", "", 404, "destination_not_found", None),
        ("GET /rated", "", 200, "complete", None),
        ("GET /rated", "", 429, "http_request_denied", Some("rate")),
        (
            "GET /",
            "X Y: 1\r\n",
            400,
            "http_request_error",
            Some("bad_field_name"),
        ),
        (
            "GET /",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            400,
            "http_request_error",
            Some("length_and_coding"),
        ),
    ];
    for (line, fields, expected, reason, detail) in table {
        let (head, _) = harness.once(&format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        assert_eq!(status(&head), expected, "{line}");
        let error = (expected >= 400).then(|| format!("; error={reason}"));
        let details = detail.map(|detail| format!("; details=\"{detail}\""));
        let why = format!(
            "synod{}{}",
            error.unwrap_or_default(),
            details.unwrap_or_default()
        );
        let told = (reason != "complete").then_some(why.as_str());
        assert_eq!(field(&head, "proxy-status"), told, "{line}");
        assert!(head.matches("Proxy-Status: ").count() <= 1, "{head}");
    }
    harness.drain();
    let logged = lines(&log);
    assert_eq!(logged.len(), table.len());
    for (line, (request, _, status, reason, detail)) in logged.iter().zip(table) {
        assert_eq!(
            (&line["status"], &line["reason"], &line["detail"]),
            (&json!(status), &json!(reason), &json!(detail)),
            "{request}"
        );
    }
}
