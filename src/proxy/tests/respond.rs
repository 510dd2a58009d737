//! Routes that answer by themselves.

use serde_json::{Value, json};

use super::harness::*;

/// A route that responds, wherever it goes else.
fn responding(backend: &Scripted, respond: Value, more: Value) -> Value {
    let mut config = web(&[backend.address], json!({}));
    let route = &mut config["routes"][0];
    route["respond"] = respond;
    for (field, value) in more.as_object().into_iter().flatten() {
        route[field] = value.clone();
    }
    config
}

#[test]
fn a_route_answers_by_itself_and_asks_no_backend() {
    let backend = Scripted::named("not asked");
    let robots = json!({
        "body": "User-agent: *\nDisallow: /\n",
        "headers": {"Cache-Control": "max-age=60"},
    });
    let harness = Harness::new(options(), &responding(&backend, robots, json!({})));
    let mut client = harness.client();
    for _ in 0..2 {
        client.send("GET /robots.txt HTTP/1.1\r\nHost: x\r\n\r\n");
        let (head, body) = client.response();
        assert_eq!(status(&head), 200);
        assert_eq!(body, "User-agent: *\nDisallow: /\n");
        for (name, value) in [
            ("content-type", "text/plain; charset=utf-8"),
            ("cache-control", "max-age=60"),
            ("proxy-status", "synod; details=\"respond\""),
        ] {
            assert_eq!(field(&head, name), Some(value), "{head}");
        }
    }
    let mut client = harness.client();
    client.send("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(field(&client.head(), "content-length"), Some("26"));
    assert_eq!(client.rest(), "");
    assert_eq!(backend.connections(), 0);
}

#[test]
fn an_answer_of_the_routes_own_has_the_status_and_the_type_that_it_says() {
    let backend = Scripted::named("not asked");
    let harness = Harness::new(options(), &web(&[backend.address], json!({})));
    for (respond, expected, content_type, error) in [
        (json!({}), (200, ""), None, false),
        (json!({"status": 204}), (204, ""), None, false),
        (
            json!({"status": 302, "headers": {"Location": "/new"}}),
            (302, ""),
            None,
            false,
        ),
        (
            json!({"status": 503, "body": "<p>Back at noon", "content_type": "text/html"}),
            (503, "<p>Back at noon"),
            Some("text/html"),
            true,
        ),
    ] {
        let pages = json!({"error_pages": [{"body": "sorry"}]});
        harness.publish(&responding(&backend, respond.clone(), pages));
        let (head, body) = harness.get("/");
        assert_eq!((status(&head), &body[..]), expected, "{respond}");
        assert_eq!(field(&head, "content-type"), content_type, "{respond}");
        assert_eq!(field(&head, "location").is_some(), expected.0 == 302);
        let why = field(&head, "proxy-status").unwrap();
        assert_eq!(
            why.contains("error=proxy_internal_response"),
            error,
            "{why}"
        );
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn what_guards_a_route_guards_its_own_answer() {
    let backend = Scripted::named("not asked");
    let no = Scripted::always("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
    let harness_of = |more: Value| {
        let mut config = responding(&backend, json!({"body": "secret"}), more);
        add_pool(&mut config, "auth", no.address);
        Harness::new(options(), &config)
    };
    let user = json!({"name": "ann", "password_sha256": "0a".repeat(32)});
    for (guard, expected) in [
        (json!({"clients": {"deny": ["127.0.0.0/8"]}}), 403),
        (json!({"basic_auth": {"users": [user]}}), 401),
        (json!({"forward_auth": {"pool": "auth"}}), 401),
        (json!({"fence": {"lock": "deploy"}}), 428),
        (json!({"fault_injection": {"abort": {"status": 418}}}), 418),
    ] {
        let (head, body) = harness_of(guard.clone()).get("/");
        assert_eq!(status(&head), expected, "{guard}");
        assert!(!body.contains("secret"), "{guard}");
    }
    let limited = harness_of(json!({"rate_limit": {"requests": 1, "per": "1h"}}));
    assert_eq!(limited.get("/").1, "secret");
    assert_eq!(status(&limited.get("/").0), 429);
}

#[test]
fn what_a_route_does_to_fields_of_answers_holds_for_those_in_a_backends_place() {
    let backend = Scripted::named("not asked");
    let edits = json!({"headers": {"response": {
        "remove": ["X-Gone"],
        "set": {"Strict-Transport-Security": "max-age=9", "content-type": "text/x"},
        "add": {"X-More": "1", "Proxy-Status": "other"},
    }}});
    let respond = json!({"body": "hi", "headers": {"x-gone": "1", "X-More": "0"}});
    let mut config = responding(&backend, respond, edits);
    let harness = Harness::new(options(), &config);
    let fields = || -> Vec<String> {
        let head = harness.get("/").0;
        let lines = head.lines().skip(1).map(str::to_owned);
        lines
            .filter(|line| !line.starts_with("Date:") && !line.is_empty())
            .collect()
    };
    assert_eq!(
        fields(),
        [
            "Proxy-Status: synod; details=\"respond\"",
            "X-More: 0",
            "Strict-Transport-Security: max-age=9",
            "content-type: text/x",
            "X-More: 1",
            "Content-Length: 2",
        ]
    );
    // A redirect stands there too, and a refusal does not.
    config["routes"][0]["redirect"] = json!({"host": "other"});
    harness.publish(&config);
    assert!(fields().contains(&"Strict-Transport-Security: max-age=9".to_owned()));
    config["routes"][0]["clients"] = json!({"deny": ["127.0.0.0/8"]});
    harness.publish(&config);
    assert!(!fields().contains(&"Strict-Transport-Security: max-age=9".to_owned()));
}

#[test]
fn the_connection_is_kept_where_the_body_came_whole() {
    let backend = Scripted::named("not asked");
    let respond = json!({"status": 410, "body": "gone"});
    let harness = Harness::new(options(), &responding(&backend, respond, json!({})));
    let mut client = harness.client();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.response().1, "gone");
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\nabc");
    let head = client.head();
    assert_eq!(field(&head, "connection"), Some("close"));
}

#[test]
fn which_methods_there_are_is_told_once() {
    let backend = Scripted::named("not asked");
    let respond = json!({"status": 405, "headers": {"Allow": "GET"}});
    let harness = Harness::new(options(), &responding(&backend, respond, json!({})));
    let (head, _) = harness.get("/");
    assert_eq!(head.matches("Allow: ").count(), 1, "{head}");
    assert_eq!(field(&head, "allow"), Some("GET"));
}
