//! What a route does beside choosing pools.

use super::*;

/// The faults of route `shop` to `web` with these fields.
fn policy_faults(fields: Value) -> Vec<String> {
    let mut route = json!({"name": "shop", "to": [{"pool": "web"}]});
    let more = fields.as_object().unwrap().clone();
    route.as_object_mut().unwrap().extend(more);
    route_faults(&route)
}

#[test]
fn every_fault_of_a_redirect_or_rewrite_is_told_at_once() {
    let one =
        "must have one of `full`, `prefix`, and `regex` with `to`, such as {\"prefix\": \"/new\"}";
    let faults = policy_faults(json!({
        "match": {"path": {"exact": "/x"}},
        "redirect": {"status": 304, "scheme": "ftp", "host": "*.a", "port": 0, "path": {"prefix": "x"}},
        "rewrite": {"host": "a:b", "path": {"regex": "(", "to": "/a b"}, "query": ""},
    }));
    assert_eq!(
        faults,
        [
            "/redirect/status: must be 301, 302, 303, 307 or 308, not 304",
            "/redirect/scheme: must be one of `http`, `https`, not \"ftp\"",
            "/redirect/port: must be an integer from 1 to 65535, not 0",
            "/redirect/host: must be one host, without `*`, not \"*.a\"",
            "/redirect/path/prefix: replaces the prefix that the route matches by, and its `match` has none: use `full` or `regex`",
            "/redirect/path/prefix: must begin with `/`, not \"x\"",
            "/rewrite/query: unknown field `query`; known fields are `host`, `path`",
            "/rewrite/host: must have a port from 1 to 65535 behind the colon, not \"a:b\"",
            "/rewrite/path/regex: must be a regular expression: unclosed group",
            "/rewrite/path/to: must be a path's visible ASCII, without `?` and `#`, not \"/a b\"",
        ]
    );
    for (fields, fault) in [
        (
            json!({"redirect": {}}),
            "/redirect: must have one at least of `scheme`, `host`, `port` and `path`".to_owned(),
        ),
        (
            json!({"redirect": {"host": "a:80"}}),
            "/redirect/host: must be a host alone, without scheme, port or path, not \"a:80\""
                .to_owned(),
        ),
        (
            json!({"rewrite": {}}),
            "/rewrite: must have `host`, `path` or both".to_owned(),
        ),
        (
            json!({"rewrite": {"path": {"full": "/a", "to": "b"}}}),
            format!("/rewrite/path: {one}"),
        ),
        (
            json!({"rewrite": {"path": {}}}),
            format!("/rewrite/path: {one}"),
        ),
    ] {
        assert_eq!(policy_faults(fields), [fault]);
    }
}

#[test]
fn every_fault_of_header_edits_is_told_at_once() {
    let twice = "must be there once, over `remove`, `set` and `add`";
    let framing = "cannot be edited: it delimits the message or is for one hop only";
    let own = "cannot be edited: the proxy writes it itself";
    let faults = policy_faults(json!({"headers": {
        "request": {
            "remove": ["Host", "X-A", 1, "Content_Length"],
            "set": {"x-a": "1", "X-B": " x", "Transfer-Encoding": "chunked", "a b": "1"},
            "add": {"X-Forwarded-For": "1.2.3.4", "X-C": 1},
        },
        "response": {"set": [], "add": {"Via": "x", "x-forwarded-for": "fine", "X-D": "a\r\nb"}},
        "answer": {},
    }}));
    assert_eq!(
        faults,
        [
            "/headers/answer: unknown field `answer`; known fields are `request`, `response`".to_owned(),
            "/headers/request/remove/0: cannot be edited: `rewrite` has a `host`".to_owned(),
            "/headers/request/remove/2: must be the name of a header, not 1".to_owned(),
            format!("/headers/request/remove/3: {framing}"),
            format!("/headers/request/set/x-a: {twice}"),
            "/headers/request/set/X-B: must be visible ASCII without blanks around it, up to 4096 bytes, not \" x\"".to_owned(),
            format!("/headers/request/set/Transfer-Encoding: {framing}"),
            "/headers/request/set/a b: must be the name of a header, up to 256 bytes".to_owned(),
            format!("/headers/request/add/X-Forwarded-For: {own}"),
            "/headers/request/add/X-C: must be visible ASCII without blanks around it, up to 4096 bytes, not 1".to_owned(),
            "/headers/response/set: must be an object from names to values, not an array".to_owned(),
            format!("/headers/response/add/Via: {own}"),
            "/headers/response/add/X-D: must be visible ASCII without blanks around it, up to 4096 bytes, not \"a\\r\\nb\"".to_owned(),
        ]
    );
}

#[test]
fn policies_are_written_back_as_they_are_read() {
    let written = json!({
        "name": "shop",
        "match": {"hosts": [], "path": {"prefix": "/a"}},
        "to": [],
        "redirect": {"status": 308, "scheme": "https", "host": "b.example", "port": 8443, "path": {"prefix": "/b"}},
        "respond": {"status": 410, "body": "gone", "content_type": "text/plain", "headers": {"X-E": "1"}},
        "rewrite": {"host": "b.example:80", "path": {"regex": "^/a", "to": "/b"}},
        "clients": {"allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"]},
        "cors": {"origins": ["https://a.example", "http://*.example:81"], "methods": ["GET", "HEAD", "POST"],
            "headers": [], "expose": ["X-A"], "credentials": true, "max_age": "5s"},
        "max_body_bytes": 0,
        "mirror": {"pool": "web", "percent": 7},
        "forward_auth": {"pool": "auth", "path": "/verify", "answer_headers": ["X-User"], "timeout": "1s"},
        "compress": {"codings": ["gzip"], "types": ["text/*", "application/json"], "min_bytes": 0},
        "basic_auth": {"realm": "staff", "users": [{"name": "ann", "password_sha256": "0a".repeat(32)}]},
        "error_pages": [{"status": [502, "503-504"], "body": "sorry", "content_type": "text/plain"}],
        "fault_injection": {"delay": {"percent": 5, "for": "2s"}, "abort": {"percent": 100, "status": 503}},
        "headers": {
            "request": {"remove": ["X-A"], "set": {"X-B": "1"}, "add": {"X-C": ""}},
            "response": {"add": {"X-D": "1"}},
        },
    });
    assert_eq!(to_json(&parse_route(&written, None).unwrap()), written);
    let plain = json!({"name": "shop", "to": [{"pool": "web"}], "headers": {"request": {}}});
    assert_eq!(parse_route(&plain, None).unwrap().policy, None);
}

#[test]
fn every_fault_of_clients_cors_and_body_limit_is_told_at_once() {
    let network = crate::config::BadNetwork;
    let origin =
        "must be an origin such as \"https://shop.example\" or \"https://*.example\", or \"*\"";
    let faults = policy_faults(json!({
        "clients": {"allow": ["10.0.0.0/33", 1], "forbid": []},
        "cors": {"origins": ["shop.example", "https://a.example/", "https://a:443", "ftp://a", "*"],
            "methods": ["get"], "headers": ["a b"], "credentials": true, "max_age": 5},
        "max_body_bytes": -1,
    }));
    assert_eq!(
        faults,
        [
            "/clients/forbid: unknown field `forbid`; known fields are `allow`, `deny`".to_owned(),
            format!("/clients/allow/0: {network}, not \"10.0.0.0/33\""),
            format!("/clients/allow/1: {network}, not 1"),
            format!("/cors/origins/0: {origin}, not \"shop.example\""),
            format!("/cors/origins/1: {origin}, not \"https://a.example/\""),
            format!("/cors/origins/2: {origin}, not \"https://a:443\""),
            format!("/cors/origins/3: {origin}, not \"ftp://a\""),
            "/cors/methods/0: must be a method such as \"PUT\", in capital letters as it is sent, not \"get\"".to_owned(),
            "/cors/headers/0: must be the name of a header, up to 256 bytes, not \"a b\"".to_owned(),
            "/cors/origins: must be named one by one where there are credentials: `*` would let any site act as its visitor".to_owned(),
            "/cors/max_age: must be a duration from 1ms to 24h in whole milliseconds, such as \"2s\", \"500ms\" or \"1m30s\", not 5".to_owned(),
            "/max_body_bytes: must be an integer from 0 to 9223372036854775807, not -1".to_owned(),
        ]
    );
    for (fields, fault) in [
        (
            json!({"clients": {}}),
            "/clients: must have `allow`, `deny` or both",
        ),
        (
            json!({"clients": {"allow": []}}),
            "/clients/allow: must name one network at least; leave it out to allow everybody",
        ),
        (
            json!({"cors": {}}),
            "/cors/origins: must name one origin at least",
        ),
    ] {
        assert_eq!(policy_faults(fields), [fault]);
    }
}
