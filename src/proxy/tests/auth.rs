//! Names and passwords, and a service that is asked.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use super::harness::*;
use crate::telemetry::metrics::BackendError;

/// SHA-256 of `open sesame`.
const SESAME: &str = "41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb";

#[test]
fn only_who_shows_a_name_and_its_password_gets_to_the_backend() {
    let (backend, heads) = recording();
    let mut config = web(&[backend.address], json!({}));
    config["routes"][0]["basic_auth"] = json!({"realm": "cave", "users": [
        {"name": "bob", "password_sha256": "00".repeat(32)},
        {"name": "ann", "password_sha256": SESAME},
    ]});
    let harness = Harness::new(options(), &config);
    for (fields, expected) in [
        ("", 401),
        // ann:open sesame
        ("Authorization: Basic YW5uOm9wZW4gc2VzYW1l\r\n", 200),
        ("authorization: bASIC  YW5uOm9wZW4gc2VzYW1l\r\n", 200),
        // bob:open sesame, ann:open, ann
        ("Authorization: Basic Ym9iOm9wZW4gc2VzYW1l\r\n", 401),
        ("Authorization: Basic YW5uOm9wZW4=\r\n", 401),
        ("Authorization: Basic YW5u\r\n", 401),
        ("Authorization: Basic !\r\n", 401),
        ("Authorization: Bearer YW5uOm9wZW4gc2VzYW1l\r\n", 401),
        // Who reads the other one sees somebody else.
        (
            "Authorization: Basic YW5uOm9wZW4gc2VzYW1l\r\nAuthorization: Basic Ym9iOm9wZW4gc2VzYW1l\r\n",
            401,
        ),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let (head, _) = harness.once(&request);
        assert_eq!(status(&head), expected, "{fields}");
        let challenge = (expected == 401).then_some("Basic realm=\"cave\", charset=\"UTF-8\"");
        assert_eq!(field(&head, "www-authenticate"), challenge);
        assert_eq!(heads.try_recv().is_ok(), expected == 200, "{fields}");
    }
    let long = "A".repeat(4_000);
    let (head, _) = harness.once(&format!(
        "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {long}\r\n\r\n"
    ));
    assert_eq!(status(&head), 401);
}

/// Pool `web` of this backend, pool `auth` of those, and a route that asks one of them.
fn asks(web_at: SocketAddr, auth: &[SocketAddr]) -> Value {
    let mut config = web(&[web_at], json!({}));
    let mut pool = web(auth, json!({"name": "auth"}))["pools"][0].take();
    pool["outlier"] = json!({"max_percent": 0});
    config["pools"].as_array_mut().unwrap().push(pool);
    config["routes"][0]["forward_auth"] = json!({"pool": "auth", "path": "/verify?x=1", "answer_headers": ["X-User", "X-Groups"], "timeout": "1s"});
    config
}

/// A backend that tells what it reads, and a route to it that asks this one.
fn asking(auth: SocketAddr) -> (Scripted, Receiver<String>, Harness) {
    let (backend, heads) = recording();
    let harness = Harness::new(options(), &asks(backend.address, &[auth]));
    (backend, heads, harness)
}

#[test]
fn a_request_goes_on_as_whom_the_service_says() {
    let (tell, questions) = channel();
    let service = Scripted::new(move |peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            tell.send(head).unwrap();
            peer.send(
                "HTTP/1.1 200 OK\r\nX-User: ann\r\nX-Other: 1\r\nContent-Length: 2\r\n\r\nok",
            );
        }
    });
    let (_backend, heads, harness) = asking(service.address);
    let mut client = harness.client();
    for _ in 0..2 {
        client.send(
            "POST /shop?id=7 HTTP/1.1\r\nHost: x\r\nCookie: s=1\r\nX-User: root\r\nx_user: root\r\nX-Groups: all\r\n\
             X-Forwarded-Uri: /other\r\nRange: bytes=0-1\r\nContent-Length: 2\r\n\r\nhi",
        );
        assert_eq!(status(&client.response().0), 200);
        let question = questions.recv().unwrap();
        assert!(
            question.starts_with("GET /verify?x=1 HTTP/1.1\r\n"),
            "{question}"
        );
        for (name, value) in [
            ("host", Some(service.address.to_string())),
            ("cookie", Some("s=1".to_owned())),
            ("x-forwarded-method", Some("POST".to_owned())),
            ("x-forwarded-uri", Some("/shop?id=7".to_owned())),
            ("x-forwarded-host", Some("x".to_owned())),
            ("x-forwarded-for", Some("127.0.0.1".to_owned())),
            ("content-length", None),
            ("range", None),
        ] {
            assert_eq!(field(&question, name), value.as_deref(), "{question}");
        }
        let request = heads.recv().unwrap();
        assert_eq!(field(&request, "x-user"), Some("ann"));
        assert!(
            !request.contains("root") && !request.contains("X-Groups"),
            "{request}"
        );
        assert_eq!(field(&request, "x-other"), None);
    }
    assert_eq!(service.connections(), 1);
}

#[test]
fn what_the_service_answers_instead_goes_to_the_client() {
    for (answer, expected, body) in [
        (
            "HTTP/1.1 302 Found\r\nLocation: /login\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n",
            302,
            "",
        ),
        (
            "HTTP/1.1 403 No\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno",
            403,
            "no",
        ),
        (
            "HTTP/1.1 401 Who\r\nWWW-Authenticate: Bearer\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nwho\r\n0\r\n\r\n",
            401,
            "who",
        ),
    ] {
        let service = Scripted::always(answer);
        let (backend, _heads, harness) = asking(service.address);
        let (head, told) = harness.get("/");
        assert_eq!((status(&head), told.as_str()), (expected, body));
        for name in ["location", "set-cookie", "content-type", "www-authenticate"] {
            assert_eq!(field(&head, name), field(answer, name), "{head}");
        }
        assert_eq!(backend.connections(), 0);
    }
}

#[test]
fn a_service_that_cannot_be_asked_lets_nobody_pass() {
    let silent = Scripted::new(|peer, _| drop(peer.rest()));
    let broken = Scripted::always("no HTTP\r\n\r\n");
    let length = 70_000;
    let long = "x".repeat(length);
    let endless = Scripted::always(format!(
        "HTTP/1.1 403 No\r\nContent-Length: {length}\r\n\r\n{long}"
    ));
    for service in [nobody(), silent.address, broken.address, endless.address] {
        let (backend, _heads, harness) = asking(service);
        let (head, _) = harness.get("/");
        assert_eq!(status(&head), 503);
        let why = "synod; error=destination_unavailable; details=\"forward_auth\"";
        assert_eq!(field(&head, "proxy-status"), Some(why));
        assert_eq!(backend.connections(), 0);
    }
}

#[test]
fn a_reused_connection_to_the_service_that_is_dead_is_nobodys_failure() {
    let service = forgetful(1);
    let (_backend, _heads, harness) = asking(service.address);
    let mut client = harness.client();
    for _ in 0..10 {
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(status(&client.response().0), 200);
    }
    harness.settle();
    let metrics = harness.metrics.backend("auth", "b1");
    assert_eq!(metrics.errors(BackendError::Reset), 0);
}

#[test]
fn a_question_that_one_backend_cannot_be_asked_goes_to_another() {
    let good = Scripted::named("");
    let silent = Scripted::new(|peer, _| {
        peer.head();
    });
    for bad in [nobody(), silent.address] {
        let backend = Scripted::named("web");
        let config = asks(backend.address, &[bad, good.address, bad]);
        let harness = Harness::new(options(), &config);
        // No more than the budget pays for at once.
        for _ in 0..5 {
            assert_eq!(status(&harness.get("/").0), 200);
        }
        for (attempts, percent) in [(1, 20), (3, 0)] {
            let mut config = asks(backend.address, &[bad, good.address]);
            config["pools"][1]["retries"] = json!({"attempts": attempts, "budget_percent": percent,
                "budget_min_per_second": if percent == 0 { 0 } else { 10 }});
            harness.publish(&config);
            let mut statuses = [(); 4].map(|()| status(&harness.get("/").0));
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 200, 503, 503], "{attempts} {percent}");
        }
    }
}

#[test]
fn a_question_waits_for_a_place_behind_those_that_wait_already() {
    let (go, told) = channel::<()>();
    let told = Mutex::new(told);
    let service = Scripted::new(move |peer, _| {
        while peer.try_until("\r\n\r\n").is_some() {
            if told.lock().unwrap().recv().is_err() || !peer.try_send(ok("")) {
                return;
            }
        }
    });
    let backend = Scripted::named("web");
    let mut config = asks(backend.address, &[service.address]);
    config["pools"][1]["limits"] =
        json!({"requests_per_backend": 1, "queue": 2, "queue_timeout": "10s"});
    config["routes"][0]["forward_auth"]["timeout"] = json!("10s");
    let harness = Harness::new(options(), &config);
    let mut clients: Vec<Peer> = Vec::new();
    for waiting in [0, 1, 2] {
        let mut client = harness.client();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        clients.push(client);
        wait_until(|| {
            harness
                .figures()
                .contains(&format!("synod_pool_waiting{{pool=\"auth\"}} {waiting}"))
        });
        service.wait_for_connections(1);
    }
    // The queue is full.
    assert_eq!(status(&harness.get("/").0), 503);
    for mut client in clients {
        go.send(()).unwrap();
        assert_eq!(status(&client.response().0), 200);
    }
    assert_eq!(service.connections(), 1);
}

#[test]
fn a_pool_that_hashes_a_header_goes_by_what_the_service_says_of_it() {
    let (service, backends) = (
        Scripted::always("HTTP/1.1 200 OK\r\nX-User: ann\r\nContent-Length: 0\r\n\r\n"),
        [(); 8].map(|()| Scripted::named("web")),
    );
    let mut config = asks(backends[0].address, &[service.address]);
    let addresses = backends.each_ref().map(|backend| backend.address);
    let hashes = json!({"balance": "maglev", "hash": {"header": "x-user"}});
    config["pools"][0] = web(&addresses, hashes)["pools"][0].take();
    let harness = Harness::new(options(), &config);
    for claimed in 0..40 {
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\nX-User: {claimed}\r\n\r\n");
        assert_eq!(status(&harness.once(&request).0), 200);
    }
    let reached = backends.iter().filter(|backend| backend.connections() > 0);
    assert_eq!(reached.count(), 1);
}

#[test]
fn the_service_is_asked_about_the_request_as_it_came_and_what_it_says_goes_before_the_routes_edits()
{
    let (service, questions) = recording();
    let answer = "HTTP/1.1 200 OK\r\nX-User: ann\r\nContent-Length: 0\r\n\r\n";
    for service in [service, Scripted::always(answer)] {
        let (backend, heads) = recording();
        let mut config = asks(backend.address, &[service.address]);
        config["routes"][0]["headers"] = json!({"request": {
            "remove": ["Authorization"], "set": {"X-Env": "live", "X-User": "nobody"}, "add": {"X-Groups": "none"}}});
        let harness = Harness::new(options(), &config);
        harness.once("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nX-Env: mine\r\nX-User: me\r\n\r\n");
        if let Ok(question) = questions.try_recv() {
            assert_eq!(field(&question, "authorization"), Some("Bearer a"));
            assert_eq!(field(&question, "x-env"), Some("mine"));
            assert_eq!(field(&question, "x-user"), Some("me"));
            continue;
        }
        let request = heads.recv().unwrap();
        assert_eq!(field(&request, "authorization"), None);
        assert_eq!(field(&request, "x-env"), Some("live"));
        assert_eq!(field(&request, "x-user"), Some("ann"));
        assert_eq!(request.matches("X-User: ").count(), 1, "{request}");
    }
}

#[test]
fn of_the_services_refusal_all_passes_but_what_the_proxy_says_itself() {
    let own = "Proxy-Status: auth; error=http_request_denied\r\nSynod-Revision: 77\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
               Via: 1.1 auth\r\nAccess-Control-Allow-Origin: *\r\nConnection: x-hop\r\nX-Hop: 1\r\n";
    let passed = "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nWWW-Authenticate: Basic realm=\"a\"\r\n\
                  WWW-Authenticate: Bearer\r\nLocation: /login\r\nRetry-After: 7\r\nAllow: GET\r\nVary: Cookie\r\nX-Any: 1\r\n";
    for told in [302, 401, 405, 429, 503] {
        let service = Scripted::always(format!(
            "HTTP/1.1 {told} No\r\n{own}{passed}Content-Length: 0\r\n\r\n"
        ));
        let backend = Scripted::named("web");
        let mut options = options();
        options.listeners[0].revision_header = true;
        let mut config = asks(backend.address, &[service.address]);
        config["routes"][0]["cors"] = json!({"origins": ["https://a.example"]});
        let harness = Harness::new(options, &config);
        let (head, _) = harness.get("/");
        assert_eq!(status(&head), told);
        for line in passed.split_inclusive("\r\n") {
            assert_eq!(head.matches(line).count(), 1, "{line} {head}");
        }
        for line in own.split_inclusive("\r\n") {
            assert!(!head.contains(line), "{line} {head}");
        }
        for name in [
            "Proxy-Status: synod",
            "Synod-Revision: 1\r\n",
            "Date: ",
            "Allow: ",
            "Retry-After: ",
        ] {
            assert_eq!(head.matches(name).count(), 1, "{name} {head}");
        }
    }
}

#[test]
fn the_service_is_not_asked_about_a_request_beyond_the_rate() {
    let (service, questions) = recording();
    let (backend, heads) = recording();
    let mut config = asks(backend.address, &[service.address]);
    config["routes"][0]["rate_limit"] = json!({"requests": 1, "per": "1h"});
    let harness = Harness::new(options(), &config);
    assert_eq!(status(&harness.get("/").0), 200);
    assert_eq!(status(&harness.get("/").0), 429);
    assert_eq!(questions.try_iter().count(), 1);
    assert_eq!(heads.try_iter().count(), 1);
}
