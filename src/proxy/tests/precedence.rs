//! Which of several routes a request takes, as the Kubernetes Gateway API words it, seen from outside.

use serde_json::{Value, json};

use super::harness::*;

/// A route that matches so and says its name in the answer.
fn route(name: &str, matches: Value) -> Value {
    json!({"name": name, "match": matches, "to": [{"pool": "web"}],
        "headers": {"response": {"set": {"X-Route": name}}}})
}

fn header(name: &str, wanted: &Value) -> Value {
    let mut key = wanted.clone();
    key["name"] = json!(name);
    key
}

/// Route by route in an order that none of the rules has; those of `/old` come with the first revision.
fn routes() -> Vec<Value> {
    let (one, present, absent) = (
        json!({"exact": "1"}),
        json!({"present": true}),
        json!({"present": false}),
    );
    let digits = json!({"regex": "[0-9]+"});
    let shop = |path: Value| json!({"hosts": ["shop.example"], "path": path});
    let below = |path: &str, more: Value| {
        let mut matches = more;
        matches["path"] = json!({ "prefix": path });
        matches
    };
    let keys =
        |names: &[&str]| -> Vec<Value> { names.iter().map(|name| header(name, &one)).collect() };
    vec![
        route("any", json!({})),
        route("any-deep", json!({"path": {"prefix": "/deep/er"}})),
        route("wild", json!({"hosts": ["*.example"]})),
        route("wild-eu", json!({"hosts": ["*.eu.example"]})),
        route("shop", shop(json!({"prefix": "/"}))),
        route("shop-a", shop(json!({"prefix": "/a"}))),
        route("shop-a-b", shop(json!({"prefix": "/a/b"}))),
        route("shop-long", shop(json!({"prefix": "/a/b/long/prefix"}))),
        route("shop-regex", shop(json!({"regex": "/a/b/long/.*[0-9]"}))),
        route("shop-exact", shop(json!({"exact": "/a/b/long/prefix/1"}))),
        route("r-all", below("/r", json!({}))),
        route(
            "r-queries",
            below("/r", json!({"query": keys(&["x", "y"])})),
        ),
        route("r-query", below("/r", json!({"query": keys(&["x"])}))),
        route(
            "r-headers",
            below("/r", json!({"headers": keys(&["a", "b"])})),
        ),
        route("r-header", below("/r", json!({"headers": keys(&["a"])}))),
        route("r-method", below("/r", json!({"methods": ["PUT"]}))),
        route("c-all", below("/c", json!({}))),
        route(
            "c-digits",
            below(
                "/c",
                json!({"headers": [header("v", &digits), header("w", &present)]}),
            ),
        ),
        route(
            "c-query",
            below(
                "/c",
                json!({"query": [header("v", &digits)], "headers": [header("v", &absent)]}),
            ),
        ),
        route(
            "c-absent",
            below(
                "/c",
                json!({"query": [header("v", &absent), header("w", &present)]}),
            ),
        ),
        route("name-b", below("/name", json!({}))),
        route("name-a", below("/name", json!({}))),
    ]
}

/// The request line's beginning, the host, more fields, and the route that takes it.
const TABLE: &[(&str, &str, &str, &str)] = &[
    // An exact host over a wildcard, a longer one over a shorter, any of them over none, whatever the path.
    ("GET /", "shop.example", "", "shop"),
    ("GET /", "SHOP.example:80", "", "shop"),
    ("GET /", "other.example", "", "wild"),
    ("GET /", "a.b.example", "", "wild"),
    ("GET /", "a.eu.example", "", "wild-eu"),
    ("GET /", "eu.example", "", "wild"),
    ("GET /", "example", "", "any"),
    ("GET /", "badexample", "", "any"),
    ("GET /deep/er", "other.org", "", "any-deep"),
    ("GET /deep/er", "other.example", "", "wild"),
    // An exact path over an expression, that over a prefix, the longest prefix over others, by segments.
    ("GET /a/b/long/prefix/1", "shop.example", "", "shop-exact"),
    ("GET /a/b/long/prefix/1?x", "shop.example", "", "shop-exact"),
    ("GET /a/b/long/prefix/2", "shop.example", "", "shop-regex"),
    ("GET /a/b/long/prefix/x", "shop.example", "", "shop-long"),
    ("GET /a/b/longer", "shop.example", "", "shop-a-b"),
    ("GET /a/bc", "shop.example", "", "shop-a"),
    ("GET /ab", "shop.example", "", "shop"),
    // A method over headers, more headers over fewer, those over parameters, more of these over fewer.
    ("PUT /r?x=1&y=1", "x", "a: 1\r\nb: 1\r\n", "r-method"),
    ("GET /r?x=1&y=1", "x", "a: 1\r\nb: 1\r\n", "r-headers"),
    ("GET /r?x=1&y=1", "x", "a: 1\r\nb: 2\r\n", "r-header"),
    ("GET /r?x=1&y=1", "x", "a: 2\r\n", "r-queries"),
    ("GET /r?y=2&x=1", "x", "", "r-query"),
    ("GET /r?x=2", "x", "", "r-all"),
    // What is asked of headers and parameters besides being equal.
    ("GET /c", "x", "v: 12\r\nw:\r\n", "c-digits"),
    ("GET /c", "x", "v: 12\r\n", "c-all"),
    ("GET /c", "x", "v: 12a\r\nw:\r\n", "c-all"),
    ("GET /c?v=12", "x", "", "c-query"),
    ("GET /c?v=a", "x", "", "c-all"),
    ("GET /c?v=12", "x", "v: a\r\n", "c-all"),
    ("GET /c?w", "x", "", "c-absent"),
    ("GET /c?w&v", "x", "", "c-all"),
    // Of equals the oldest, whatever was changed of it since; of those of one age the first by name.
    ("GET /old", "x", "", "old-z"),
    ("GET /name", "x", "", "name-a"),
];

#[test]
fn precedence_is_that_of_the_gateway_api() {
    let backend = Scripted::named("web");
    let old = |name: &str, to: u32| {
        let mut route = route(name, json!({"path": {"prefix": "/old"}}));
        route["to"][0]["weight"] = json!(to);
        route
    };
    let mut config = web(&[backend.address], json!({}));
    config["routes"] = json!([old("old-z", 1)]);
    let harness = Harness::new(options(), &config);
    config["routes"] = json!([old("old-a", 1), old("old-z", 1)]);
    harness.publish(&config);
    let mut routes = routes();
    routes.extend([old("old-a", 1), old("old-z", 2)]);
    config["routes"] = json!(routes);
    harness.publish(&config);
    let mut client = harness.client();
    for (line, host, fields, expected) in TABLE {
        client.send(format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
        let (head, _) = client.response();
        let taken = field(&head, "x-route");
        assert_eq!(taken, Some(*expected), "{line} {host} {fields}");
    }
}
