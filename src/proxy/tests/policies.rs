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
