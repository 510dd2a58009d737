//! What a route asks for besides host and path.

use super::*;
use crate::routing::explain;

fn conditional(name: &str, conditions: Value) -> Value {
    json!({"name": name, "match": conditions, "to": [{"pool": "web"}]})
}

fn asked(method: &str, target: &str, headers: &[(&str, &str)]) -> Question {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Question {
        method: method.to_owned(),
        headers: headers.iter().map(owned).collect(),
        ..question("shop.example", target)
    }
}

#[test]
fn method_comes_before_headers_and_those_before_query() {
    let snapshot = snapshot(&config(&[
        pool("web", &[]),
        conditional("all", json!({})),
        conditional(
            "two-params",
            json!({"query": [{"name": "a", "exact": "1"}, {"name": "b", "exact": "2"}]}),
        ),
        conditional("param", json!({"query": [{"name": "a", "exact": "1"}]})),
        conditional(
            "two-headers",
            json!({"headers": [
            {"name": "X-A", "exact": "1"}, {"name": "x-b", "present": true}]}),
        ),
        conditional(
            "header",
            json!({"headers": [{"name": "x-a", "exact": "1"}]}),
        ),
        conditional("post", json!({"methods": ["POST", "PUT"]})),
        conditional(
            "deep",
            json!({"path": {"prefix": "/deep"}, "headers": [{"name": "x-a", "exact": "1"}]}),
        ),
        conditional(
            "host",
            json!({"hosts": ["shop.example"], "query": [{"name": "host", "present": true}]}),
        ),
    ]));
    for (method, target, headers, route) in [
        ("GET", "/", &[][..], "all"),
        ("GET", "/?a=1", &[], "param"),
        ("GET", "/?b=2&a=1", &[], "two-params"),
        ("GET", "/?b=2&a=1", &[("x-a", "1")], "header"),
        ("GET", "/", &[("X-B", ""), ("X-A", "1")], "two-headers"),
        ("PUT", "/?a=1", &[("X-B", ""), ("X-A", "1")], "post"),
        ("put", "/", &[], "all"),
        ("GET", "/", &[("x-a", "2")], "all"),
        ("GET", "/", &[("x-a", "2"), ("x-a", "1")], "header"),
        // A longer path whose conditions fail leaves it to the shorter one, a host likewise.
        ("GET", "/deep/x", &[("x-a", "1")], "deep"),
        ("POST", "/deep/x", &[], "post"),
        ("GET", "/?host", &[("x-a", "1")], "host"),
    ] {
        let asked = asked(method, target, headers);
        assert_eq!(
            taken_by(&snapshot, &asked),
            route,
            "{method} {target} {headers:?}"
        );
    }
}

#[test]
fn a_regular_expression_comes_behind_an_exact_path_and_before_prefixes() {
    let snapshot = snapshot(&config(&[
        pool("web", &[]),
        route("prefix", &[], prefix("/users/7")),
        route("short", &[], json!({"regex": "/users/.*"})),
        route("long", &[], json!({"regex": "/users/[0-9]+"})),
        route("exact", &[], exact("/users/8")),
        conditional(
            "digits",
            json!({"headers": [{"name": "x-user", "regex": "[0-9]+"}]}),
        ),
    ]));
    for (target, user, route) in [
        ("/users/7", "", "long"),
        ("/users/8", "", "exact"),
        ("/users/7/x", "", "short"),
        ("/users/", "", "short"),
        ("/xusers/7", "", "-"),
        ("/users", "17", "digits"),
        ("/", "17x", "-"),
    ] {
        let asked = asked("GET", target, &[("x-user", user)]);
        assert_eq!(taken_by(&snapshot, &asked), route, "{target} {user}");
    }
    let text = explain(&snapshot, asked("GET", "/users/7", &[("x-user", "a")])).to_string();
    for sentence in [
        "route long: it takes any host and its expression matches the path; it comes before 2 other",
        "short: matches, but its regular expression is shorter",
        "prefix: matches, but its path is a prefix, and a regular expression comes first",
        "digits: the header x-user is \"a\", which does not match \"[0-9]+\"",
    ] {
        assert!(text.contains(sentence), "{text}");
    }
}

#[test]
fn a_condition_may_ask_for_absence() {
    let snapshot = snapshot(&config(&[
        pool("web", &[]),
        conditional(
            "anonymous",
            json!({"headers": [{"name": "authorization", "present": false}],
            "query": [{"name": "token", "present": false}]}),
        ),
    ]));
    for (target, headers, route) in [
        ("/", &[][..], "anonymous"),
        ("/?tokens=1", &[], "anonymous"),
        ("/", &[("Authorization", "Basic x")], "-"),
        ("/?token", &[], "-"),
    ] {
        assert_eq!(
            taken_by(&snapshot, &asked("GET", target, headers)),
            route,
            "{target}"
        );
    }
}

#[test]
fn an_explanation_names_every_condition_that_fails() {
    let publisher = publisher();
    let config = config(&[
        pool("web", &[(1, "ready")]),
        conditional("all", json!({})),
        conditional(
            "beta",
            json!({"methods": ["GET", "HEAD"], "headers": [
            {"name": "x-beta", "exact": "yes"}, {"name": "x-user", "present": true},
            {"name": "x-bot", "present": false}], "query": [{"name": "v", "exact": "2"}]}),
        ),
        conditional(
            "admin",
            json!({"path": {"prefix": "/admin"}, "methods": ["GET"]}),
        ),
        conditional(
            "posts",
            json!({"methods": ["POST"], "headers": [{"name": "x-beta", "exact": "no"}]}),
        ),
    ]);
    let snapshot = publisher.activate(compiled(&config, &publisher.registry, None).unwrap());
    let asked = asked("POST", "/x?v=1", &[("X-Beta", "no"), ("X-Bot", "1")]);
    let text = explain(&snapshot, asked).to_string();
    let (_, routes) = text.split_once("\n\n").unwrap();
    assert_eq!(routes, "\
route posts: it takes any host, the path is / or below it, the method is one it asks for and the header is as it asks; it comes before the other route that matches

pool web (round_robin), 100% of the route
  + a 127.0.0.1:8001  weight 1, 100%, 0 in flight; ready

also matched:
  all: matches, but it takes any method, and one that asks for this method comes first

did not match:
  beta: the method POST is not GET or HEAD; the header x-beta is \"no\", not \"yes\"; the header x-user is missing; the header x-bot is there; the query parameter v is \"1\", not \"2\"
  admin: the path /x is not /admin or below it; the method POST is not GET
");
}
