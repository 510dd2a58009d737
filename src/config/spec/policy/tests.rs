//! Policies in, faults out.

use serde_json::{Value, json};

use crate::config::spec::parse_route;

/// The faults of a route with these fields, as `pointer: detail`.
fn faults(fields: Value) -> Vec<String> {
    let mut route = json!({"name": "shop", "to": [{"pool": "web"}]});
    let more = fields.as_object().unwrap().clone();
    route.as_object_mut().unwrap().extend(more);
    let faults = parse_route(&route, None).expect_err("it has faults").0;
    let told = faults
        .iter()
        .map(|fault| format!("{}: {}", fault.pointer, fault.detail));
    told.collect()
}

#[test]
fn every_fault_of_a_fault_injection_is_told_at_once() {
    let told = faults(json!({"fault_injection": {
        "delay": {"percent": 101},
        "abort": {"percent": 0.5, "status": 200, "body": "x"},
        "reset": {},
    }}));
    assert_eq!(
        told,
        [
            "/fault_injection/reset: unknown field `reset`; known fields are `delay`, `abort`",
            "/fault_injection/delay/for: is missing: must be a duration from 1ms to 24h in whole milliseconds, such as \"2s\", \"500ms\" or \"1m30s\"",
            "/fault_injection/delay/percent: must be an integer from 0 to 100, not 101",
            "/fault_injection/abort/body: unknown field `body`; known fields are `percent`, `status`",
            "/fault_injection/abort/status: must be an integer from 400 to 599, not 200",
            "/fault_injection/abort/percent: must be an integer from 0 to 100, not 0.5",
        ]
    );
    assert_eq!(
        faults(json!({"fault_injection": {}})),
        ["/fault_injection: must have `delay`, `abort` or both"]
    );
}

#[test]
fn every_fault_of_a_mirror_is_told_at_once() {
    let told = faults(json!({"mirror": {"pool": "a b", "percent": -1, "to": 1}}));
    assert_eq!(
        told,
        [
            "/mirror/to: unknown field `to`; known fields are `pool`, `percent`".to_owned(),
            format!("/mirror/pool: {}", crate::config::BadName),
            "/mirror/percent: must be an integer from 0 to 100, not -1".to_owned(),
        ]
    );
}

#[test]
fn every_fault_of_error_pages_is_told_at_once() {
    let long = "x".repeat(16_385);
    let told = faults(json!({"error_pages": [
        {"status": "200-404", "body": long},
        {"status": 503, "content_type": "a\nb"},
        {"body": "", "file": "/etc/passwd"},
    ]}));
    assert_eq!(
        told,
        [
            "/error_pages/0/status: must be from 400 to 599",
            "/error_pages/0/body: must have at most 16384 bytes, not 16385",
            "/error_pages/1/content_type: must be a media type such as \"text/html; charset=utf-8\", not \"a\\nb\"",
            "/error_pages/1/body: is missing: must be a text",
            "/error_pages/2/file: unknown field `file`; known fields are `status`, `body`, `content_type`",
        ]
    );
}

#[test]
fn every_fault_of_an_answer_of_the_routes_own_is_told_at_once() {
    let told = faults(json!({"respond": {
        "status": 101, "body": 1, "content_type": "", "file": "x",
        "headers": {"Content-Length": "3", "content-type": "a/b", "Host": "h", "Proxy-Status": "x"},
    }}));
    let framing = "it delimits the message or is for one hop only";
    assert_eq!(
        told,
        [
            "/respond/file: unknown field `file`; known fields are `status`, `body`, `content_type`, `headers`"
                .to_owned(),
            "/respond/status: must be an integer from 200 to 599, not 101".to_owned(),
            "/respond/body: must be a text, not 1".to_owned(),
            "/respond/content_type: must be a media type such as \"text/plain; charset=utf-8\", not \"\"".to_owned(),
            format!("/respond/headers/Content-Length: cannot be in an answer: {framing}"),
            "/respond/headers/content-type: must be there once, whatever the case of its letters, and Content-Type as \
             `content_type`".to_owned(),
            "/respond/headers/Host: cannot be in an answer: it is a field of requests".to_owned(),
            "/respond/headers/Proxy-Status: cannot be in an answer: the proxy writes it itself".to_owned(),
        ]
    );
    for status in [204, 205, 304] {
        let told = faults(json!({"respond": {"status": status, "body": "x"}}));
        let why = format!("/respond/body: must be left out: an answer with {status} has none");
        assert_eq!(told, [why]);
    }
}

#[test]
fn every_fault_of_basic_auth_is_told_at_once_and_no_secret_with_it() {
    let hash = "the SHA-256 of the password, 64 hexadecimal digits";
    let told = faults(json!({"basic_auth": {
        "realm": "a\"b",
        "users": [
            {"name": "a:b", "password_sha256": "secret"},
            {"name": "ann", "password": "secret"},
            {"name": "bob", "password_sha256": "0A".repeat(32)},
            {"name": "bob", "password_sha256": "0A".repeat(32)},
        ],
    }}));
    assert_eq!(
        told,
        [
            "/basic_auth/realm: must be ASCII without quotes and backslashes, up to 256 bytes, not \"a\\\"b\"".to_owned(),
            "/basic_auth/users/0/name: must be a name without colons, up to 256 bytes, not \"a:b\"".to_owned(),
            format!("/basic_auth/users/0/password_sha256: must be {hash}; in answers it is redacted"),
            "/basic_auth/users/1/password: unknown field `password`; known fields are `name`, `password_sha256`".to_owned(),
            format!("/basic_auth/users/1/password_sha256: is missing: must be {hash}"),
            "/basic_auth/users/3/name: must be there once".to_owned(),
        ]
    );
    assert_eq!(
        faults(json!({"basic_auth": {}})),
        ["/basic_auth/users: must name one user at least"]
    );
}

#[test]
fn every_fault_of_compression_is_told_at_once() {
    let told = faults(json!({"compress": {
        "codings": ["gzip", "deflate", "gzip"], "types": ["text", "text/*", "*/*", "a/b;c=d"], "min_bytes": -1, "level": 9,
    }}));
    let media = "must be a media type such as \"application/json\" or \"text/*\"";
    assert_eq!(
        told,
        [
            "/compress/level: unknown field `level`; known fields are `codings`, `types`, `min_bytes`".to_owned(),
            "/compress/codings: must have at most 2 elements, not 3".to_owned(),
            "/compress/codings/1: must be `br` or `gzip`, not \"deflate\"".to_owned(),
            format!("/compress/types/0: {media}, not \"text\""),
            format!("/compress/types/2: {media}, not \"*/*\""),
            format!("/compress/types/3: {media}, not \"a/b;c=d\""),
            "/compress/min_bytes: must be an integer from 0 to 1073741824, not -1".to_owned(),
        ]
    );
    assert_eq!(
        faults(json!({"compress": {"codings": ["br", "br"], "types": []}})),
        [
            "/compress/codings/1: must be there once",
            "/compress/types: must name one media type at least; leave it out for the usual ones",
        ]
    );
}

#[test]
fn every_fault_of_forward_auth_is_told_at_once() {
    let cannot = "cannot be taken over";
    let own = "the proxy writes it itself";
    let told = faults(json!({"forward_auth": {
        "path": "verify", "timeout": 5, "url": "http://auth/",
        "answer_headers": ["X-User", "Content-Length", 1, "host", "Via", "X-Forwarded-For", "x_request_id", "Traceparent", "x-user"],
    }}));
    assert_eq!(
        told,
        [
            "/forward_auth/url: unknown field `url`; known fields are `pool`, `path`, `answer_headers`, `timeout`".to_owned(),
            "/forward_auth/pool: is missing: must be a name".to_owned(),
            "/forward_auth/path: must begin with `/`, not \"verify\"".to_owned(),
            format!("/forward_auth/answer_headers/1: {cannot}: it delimits the message or is for one hop only"),
            "/forward_auth/answer_headers/2: must be the name of a header, not 1".to_owned(),
            format!("/forward_auth/answer_headers/3: {cannot}: `rewrite` has a `host`"),
            format!("/forward_auth/answer_headers/4: {cannot}: {own}"),
            format!("/forward_auth/answer_headers/5: {cannot}: {own}"),
            format!("/forward_auth/answer_headers/6: {cannot}: {own}"),
            format!("/forward_auth/answer_headers/7: {cannot}: {own}"),
            "/forward_auth/answer_headers/8: must be there once, whatever the case of its letters".to_owned(),
            "/forward_auth/timeout: must be a duration from 1ms to 24h in whole milliseconds, such as \"2s\", \"500ms\" or \"1m30s\", not 5".to_owned(),
        ]
    );
}
