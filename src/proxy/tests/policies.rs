//! Policies that routes share, on the request path.

use serde_json::{Value, json};

use super::harness::*;

/// Two routes that share a policy, of which the second says a thing itself.
fn shared(backend: &Scripted, policy: &Value) -> Value {
    let mut config = web(&[backend.address], json!({}));
    let route = |name: &str, more: Value| {
        let mut route = json!({
            "name": name,
            "match": {"path": {"prefix": format!("/{name}")}},
            "to": [{"pool": "web"}],
            "policies": ["edge"],
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            route[field] = value.clone();
        }
        route
    };
    let own = json!({"headers": {"response": {"set": {"X-From": "route"}}}});
    config["routes"] = json!([route("a", json!({})), route("b", own)]);
    let mut policy = policy.clone();
    policy["name"] = json!("edge");
    config["policies"] = json!([policy]);
    config
}

#[test]
fn a_policy_holds_for_each_route_that_shares_it_until_the_route_says_otherwise() {
    let backend = Scripted::named("fine");
    let policy = json!({
        "headers": {"response": {"set": {"X-From": "policy", "X-More": "1"}}},
        "rate_limit": {"requests": 2, "per": "1h"},
        "max_body_bytes": 3,
    });
    let harness = Harness::new(options(), &shared(&backend, &policy));
    for (path, from, more) in [("/a", "policy", Some("1")), ("/b", "route", None)] {
        let posted = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nlong");
        assert_eq!(status(&harness.once(&posted).0), 413);
        for _ in 0..2 {
            let (head, body) = harness.get(path);
            assert_eq!((status(&head), &body[..]), (200, "fine"));
            assert_eq!(field(&head, "x-from"), Some(from));
            assert_eq!(field(&head, "x-more"), more, "a field is taken whole");
        }
        // Each route counts by itself.
        assert_eq!(status(&harness.get(path).0), 429);
    }
}

#[test]
fn a_change_of_a_policy_is_in_force_for_all_routes_that_share_it() {
    let backend = Scripted::named("fine");
    let harness = Harness::new(options(), &shared(&backend, &json!({})));
    let both = |expected: u16| {
        for path in ["/a", "/b"] {
            assert_eq!(status(&harness.get(path).0), expected, "{path}");
        }
    };
    both(200);
    harness.publish(&shared(
        &backend,
        &json!({"clients": {"deny": ["127.0.0.0/8"]}}),
    ));
    both(403);
    let abort = json!({"fault_injection": {"abort": {"status": 418}}});
    harness.publish(&shared(&backend, &abort));
    both(418);
    harness.publish(&shared(&backend, &json!({})));
    both(200);
}

#[test]
fn scripts_of_admitted_origins_may_read_whatever_answer_there_is() {
    let (backend, sesame) = (
        Scripted::named("fine"),
        "Authorization: Basic YW5uOm9wZW4gc2VzYW1l\r\n",
    );
    let no = Scripted::always("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    let mut config = web(&[backend.address], json!({}));
    for (name, address) in [
        ("gone", nobody()),
        ("no", no.address),
        ("yes", backend.address),
    ] {
        add_pool(&mut config, name, address);
    }
    let users = json!([{"name": "ann",
        "password_sha256": "41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb"}]);
    let route = |path: &str, pool: &str, more: Value| {
        let mut route = json!({"name": path, "match": {"path": {"prefix": format!("/{path}")}}, "to": [{"pool": pool}],
            "cors": {"origins": ["https://a.example"], "credentials": true, "expose": ["X-A"]}});
        for (field, value) in more.as_object().unwrap() {
            route[field] = value.clone();
        }
        route
    };
    config["routes"] = json!([
        route("open", "web", json!({})),
        route("basic", "web", json!({"basic_auth": {"users": users}})),
        route("asked", "web", json!({"forward_auth": {"pool": "yes"}})),
        route("refused", "web", json!({"forward_auth": {"pool": "no"}})),
        route("unasked", "web", json!({"forward_auth": {"pool": "gone"}})),
        route(
            "rated",
            "web",
            json!({"rate_limit": {"requests": 1, "per": "1h"}})
        ),
        route("gone", "gone", json!({})),
        route("large", "web", json!({"max_body_bytes": 1})),
        route(
            "elsewhere",
            "web",
            json!({"redirect": {"host": "b.example"}})
        ),
    ]);
    let harness = Harness::new(options(), &config);
    for (path, fields, expected) in [
        ("open", "", 200),
        ("basic", sesame, 200),
        ("basic", "", 401),
        ("asked", "", 200),
        ("refused", "", 403),
        ("unasked", "", 503),
        ("rated", "", 200),
        ("rated", "", 429),
        ("gone", "", 502),
        ("elsewhere", "", 302),
    ] {
        let request =
            format!("GET /{path} HTTP/1.1\r\nHost: x\r\n{fields}Origin: https://a.example\r\n\r\n");
        let (head, _) = harness.once(&request);
        assert_eq!(status(&head), expected, "{path}");
        for line in [
            "Access-Control-Allow-Origin: https://a.example\r\n",
            "Access-Control-Allow-Credentials: true\r\n",
            "Access-Control-Expose-Headers: X-A\r\n",
            "Vary: Origin\r\n",
        ] {
            assert_eq!(head.matches(line).count(), 1, "{path} {line} {head}");
        }
        let request = request.replace("a.example", "b.example");
        let (head, _) = harness.once(&request);
        assert!(!head.contains("Access-Control-"), "{path} {head}");
        assert_eq!(field(&head, "vary"), Some("Origin"), "{path}");
    }
    // A browser shows no credentials in a preflight, and asks before anything is counted.
    for path in [
        "open",
        "basic",
        "asked",
        "refused",
        "unasked",
        "rated",
        "gone",
        "large",
        "elsewhere",
    ] {
        for (origin, expected) in [("a", 204), ("b", 403)] {
            let (head, _) = harness.once(&format!(
                "OPTIONS /{path} HTTP/1.1\r\nHost: x\r\nOrigin: https://{origin}.example\r\n\
                 Access-Control-Request-Method: GET\r\n\r\n"
            ));
            assert_eq!(status(&head), expected, "{path} {origin}");
            let allowed = (expected == 204).then_some("GET, HEAD, POST");
            assert_eq!(
                field(&head, "access-control-allow-methods"),
                allowed,
                "{path}"
            );
        }
    }
}
