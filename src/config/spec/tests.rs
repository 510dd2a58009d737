//! Documents in, faults out: every one of them, each at its place.

use serde_json::{Value, json};

use super::*;

/// The faults of a pool, as `pointer: detail`.
fn pool_faults(value: &Value) -> Vec<String> {
    told(parse_pool(value, None))
}

fn route_faults(value: &Value) -> Vec<String> {
    told(parse_route(value, None))
}

fn told<T: std::fmt::Debug>(result: Result<T, Faults>) -> Vec<String> {
    let faults = result.expect_err("it has faults").0;
    faults
        .iter()
        .map(|fault| format!("{}: {}", fault.pointer, fault.detail))
        .collect()
}

#[test]
fn every_fault_of_a_pool_is_told_at_once() {
    let faults = pool_faults(&json!({
        "name": "web shop",
        "balence": "least_connections",
        "balance": "ewma",
        "sticky": {},
        "colour": "red",
        "backends": [
            {"id": "b1", "address": "10.0.0.7:8080", "weight": -1},
            {"id": "b1", "address": "10.0.0.8:8080"},
            {"id": "b2", "address": "app.example:80", "wieght": 3, "weight": 65536},
            {"id": "b3", "address": "10.0.0.9", "state": "down"},
            {"address": "10.0.0.10:0", "weight": 1.5},
            "10.0.0.11:80",
        ],
        "timeouts": {"connect": 2, "response_headers": "forever", "idle": "0s"},
        "retries": {"attempts": 0, "budget_percent": "20", "budget_min_per_second": null},
    }));
    let known = "known fields are `name`, `balance`, `backends`, `timeouts`, `retries`, `health`";
    let address = "an IP address and port, such as \"10.0.0.7:8080\" or \"[2001:db8::7]:8080\"";
    let duration = "must be a duration from 1ms to 24h in whole milliseconds, such as \"2s\", \"500ms\" or \"1m30s\"";
    assert_eq!(
        faults,
        [
            "/balence: unknown field `balence`; did you mean `balance`?".to_owned(),
            format!("/sticky: `sticky` is not supported yet; {known}"),
            format!("/colour: unknown field `colour`; {known}"),
            format!("/name: {}", crate::config::BadName),
            "/balance: `ewma` is not supported yet; supported are `round_robin`, `least_connections`".to_owned(),
            "/backends/0/weight: must be an integer from 0 to 65535, not -1".to_owned(),
            "/backends/1/id: must be unique in the pool; element 0 has it too".to_owned(),
            "/backends/2/wieght: unknown field `wieght`; did you mean `weight`?".to_owned(),
            format!(
                "/backends/2/address: must be {address}, not \"app.example:80\"; host names are not supported yet"
            ),
            "/backends/2/weight: must be an integer from 0 to 65535, not 65536".to_owned(),
            format!("/backends/3/address: must be {address}, not \"10.0.0.9\"; host names are not supported yet"),
            "/backends/3/state: must be one of `ready`, `drain`, `maint`, not \"down\"".to_owned(),
            "/backends/4/id: is missing: must be a name".to_owned(),
            "/backends/4/address: must have a port from 1 to 65535".to_owned(),
            "/backends/4/weight: must be an integer from 0 to 65535, not 1.5".to_owned(),
            "/backends/5: must be an object, not a string".to_owned(),
            format!("/timeouts/connect: {duration}, not 2"),
            format!("/timeouts/response_headers: {duration}, not \"forever\""),
            format!("/timeouts/idle: {duration}, not \"0s\""),
            "/retries/attempts: must be an integer from 1 to 10, not 0".to_owned(),
            "/retries/budget_percent: must be an integer from 0 to 100, not \"20\"".to_owned(),
            "/retries/budget_min_per_second: must be an integer from 0 to 1000000, not null".to_owned(),
        ]
    );
}

#[test]
fn every_fault_of_health_checks_is_told_at_once() {
    let faults = |health: Value| pool_faults(&json!({"name": "web", "health": health}));
    let duration = "must be a duration from 1ms to 24h in whole milliseconds, such as \"2s\", \"500ms\" or \"1m30s\"";
    let status = "must be a status from 100 to 599 or a range of them, such as \"200-299\"";
    assert_eq!(
        faults(json!({
            "http": {
                "path": "healthz", "host": "a b", "body": "", "method": "HEAD",
                "status": [99, "200-600", "300-200", "+20", null, 204],
            },
            "grpc": {},
            "interval": "99ms", "timeout": "61s", "rise": 0, "fall": 101, "panic_percent": 101,
        })),
        [
            "/health/grpc: `grpc` is not supported yet; known fields are `http`, `tcp`, `interval`, `timeout`, `rise`, `fall`, `panic_percent`".to_owned(),
            "/health/http/method: `method` is not supported yet; known fields are `path`, `host`, `status`, `body`".to_owned(),
            "/health/http/path: must begin with `/`, not \"healthz\"".to_owned(),
            "/health/http/host: must be a host as in the Host field, up to 253 bytes, not \"a b\"".to_owned(),
            "/health/http/body: must have 1 to 1024 bytes, not 0".to_owned(),
            format!("/health/http/status/0: {status}, not 99"),
            format!("/health/http/status/1: {status}, not \"200-600\""),
            format!("/health/http/status/2: {status}, not \"300-200\""),
            format!("/health/http/status/3: {status}, not \"+20\""),
            format!("/health/http/status/4: {status}, not null"),
            "/health/interval: must be 100ms at least".to_owned(),
            "/health/timeout: must be 1m at most".to_owned(),
            "/health/rise: must be an integer from 1 to 100, not 0".to_owned(),
            "/health/fall: must be an integer from 1 to 100, not 101".to_owned(),
            "/health/panic_percent: must be an integer from 0 to 100, not 101".to_owned(),
        ]
    );
    for (health, expected) in [
        (json!(null), "/health: must be an object, not null".to_owned()),
        (json!({}), "/health: must have `http` or `tcp`, such as {\"http\": {\"path\": \"/healthz\"}}".to_owned()),
        (json!({"http": {"path": "/"}, "tcp": {}}), "/health: must have `http` or `tcp`, not both".to_owned()),
        (json!({"http": {}}), "/health/http/path: is missing: must be a path, such as \"/healthz\"".to_owned()),
        (json!({"http": "/healthz"}), "/health/http: must be an object, not a string".to_owned()),
        (json!({"http": {"path": "/a b"}}), "/health/http/path: must be as on the wire, without spaces, `#` and what is not ASCII, not \"/a b\"".to_owned()),
        (json!({"http": {"path": "/", "status": []}}), "/health/http/status: must have 1 to 16 elements, not 0".to_owned()),
        (json!({"http": {"path": "/", "status": 2.5}}), format!("/health/http/status: {status}, not 2.5")),
        (json!({"tcp": {"port": 1}}), "/health/tcp/port: unknown field `port`; there are none".to_owned()),
        (json!({"tcp": true}), "/health/tcp: must be an object, not a boolean".to_owned()),
        (json!({"tcp": {}, "interval": 2}), format!("/health/interval: {duration}, not 2")),
    ] {
        assert_eq!(faults(health), [expected]);
    }
}

#[test]
fn health_checks_are_written_back_with_every_default() {
    let written = |health: Value| {
        let pool = parse_pool(&json!({"name": "web", "health": health}), None).unwrap();
        to_json(&pool)["health"].clone()
    };
    assert_eq!(
        written(json!({"http": {"path": "/healthz"}})),
        json!({
            "http": {"path": "/healthz", "status": ["200-399"]},
            "interval": "2s", "timeout": "1s", "rise": 2, "fall": 3, "panic_percent": 50,
        })
    );
    let all = json!({
        "http": {"path": "/ok?x=1", "host": "shop.example:80", "status": [204, "300-301"], "body": "fine"},
        "interval": "500ms", "timeout": "200ms", "rise": 1, "fall": 5, "panic_percent": 0,
    });
    assert_eq!(written(all.clone()), all);
    assert_eq!(written(json!({"tcp": {}}))["tcp"], json!({}));
    for (one, status) in [
        (json!("204"), json!([204])),
        (json!("200-299"), json!(["200-299"])),
    ] {
        let health = json!({"http": {"path": "/", "status": one}});
        assert_eq!(written(health)["http"]["status"], status);
    }
}

#[test]
fn every_fault_of_a_route_is_told_at_once() {
    let faults = route_faults(&json!({
        "match": {
            "host": ["a"],
            "hosts": ["shop.example", "SHOP.example", "a:80", 7],
            "path": {"exact": "a", "prefix": "/b?c", "regex": "x"},
            "method": "GET",
        },
        "to": [{"pool": "web"}, {"pool": "web", "weight": "5"}, {"weight": 1}, {"pool": "a/b"}],
    }));
    assert_eq!(
        faults,
        [
            "/name: is missing: must be a name".to_owned(),
            "/match/host: unknown field `host`; did you mean `hosts`?".to_owned(),
            "/match/method: `method` is not supported yet; known fields are `hosts`, `path`"
                .to_owned(),
            "/match/hosts/1: must be there once; `shop.example` comes before".to_owned(),
            "/match/hosts/2: must be a host alone, without scheme, port or path, not \"a:80\""
                .to_owned(),
            "/match/hosts/3: must be a host name, not 7".to_owned(),
            "/match/path/regex: `regex` is not supported yet; known fields are `exact`, `prefix`"
                .to_owned(),
            "/match/path/exact: must begin with `/`, not \"a\"".to_owned(),
            "/match/path/prefix: must be a path alone, without `?` or `#`, not \"/b?c\"".to_owned(),
            "/match/path: must have `exact` or `prefix`, not both".to_owned(),
            "/to/1/weight: must be an integer from 0 to 65535, not \"5\"".to_owned(),
            "/to/1/pool: must be there once; element 0 names it too".to_owned(),
            "/to/2/pool: is missing: must be a name".to_owned(),
            format!("/to/3/pool: {}", crate::config::BadName),
        ]
    );
}

#[test]
fn shapes_that_are_no_resource_at_all_are_one_fault() {
    for (value, fault) in [
        (json!(null), ": must be an object, not null"),
        (json!([]), ": must be an object, not an array"),
        (json!("web"), ": must be an object, not a string"),
    ] {
        assert_eq!(pool_faults(&value), [fault]);
        assert_eq!(route_faults(&value), [fault]);
    }
    let places = |value| -> Vec<String> {
        parse_pool(&value, None)
            .expect_err("faults")
            .0
            .into_iter()
            .map(|fault| fault.pointer)
            .collect()
    };
    assert_eq!(
        places(json!({"name": "a", "backends": {}, "timeouts": [], "retries": 3})),
        ["/backends", "/timeouts", "/retries"]
    );
    assert_eq!(
        route_faults(&json!({"name": "a", "to": []})),
        ["/to: must name one pool at least, such as [{\"pool\": \"web\"}]"]
    );
    assert_eq!(
        route_faults(&json!({"name": "a", "match": {"path": {}}, "to": [{"pool": "p"}]})),
        ["/match/path: must have `exact` or `prefix`, such as {\"prefix\": \"/\"}"]
    );
}

#[test]
fn the_name_in_the_body_is_the_one_in_the_path() {
    let web = Name::new("web").unwrap();
    assert_eq!(
        parse_pool(&json!({}), Some(&web)),
        Ok(Pool::new(web.clone())),
        "it may be left out"
    );
    assert_eq!(
        parse_pool(&json!({"name": "web"}), Some(&web)),
        Ok(Pool::new(web.clone()))
    );
    assert_eq!(
        told(parse_pool(&json!({"name": "api"}), Some(&web))),
        ["/name: must be \"web\", as in the path, not \"api\""]
    );
    assert_eq!(
        told(parse_backend(
            &json!({"id": 1, "address": "[::1]:80"}),
            Some(&web)
        )),
        ["/id: must be \"web\", as in the path, not 1"]
    );
}

#[test]
fn what_is_written_back_shows_every_default() {
    let pool = parse_pool(
        &json!({"name": "web", "backends": [{"id": "b1", "address": "10.0.0.7:8080"}]}),
        None,
    );
    assert_eq!(
        to_json(&pool.unwrap()),
        json!({
            "name": "web",
            "balance": "round_robin",
            "backends": [{"id": "b1", "address": "10.0.0.7:8080", "weight": 1, "state": "ready"}],
            "timeouts": {"connect": "2s", "response_headers": "1m", "stream_idle": "5m", "idle": "1m"},
            "retries": {"attempts": 3, "budget_percent": 20, "budget_min_per_second": 10},
        })
    );
    let route = parse_route(&json!({"name": "shop", "to": [{"pool": "web"}]}), None);
    assert_eq!(
        to_json(&route.unwrap()),
        json!({
            "name": "shop",
            "match": {"hosts": [], "path": {"prefix": "/"}},
            "to": [{"pool": "web", "weight": 1}],
        })
    );
}

#[test]
fn every_fault_of_a_transaction_is_told_at_once() {
    assert_eq!(
        told(Transaction::from_json(json!({}))),
        [": must be an array of operations, not an object"]
    );
    let faults = told(Transaction::from_json(json!([
        {"op": "put", "path": "/pools/web"},
        {"op": "move", "path": "/pools/web/backends/b1/weight", "form": "x"},
        {"op": "delete", "path": "/config"},
        {"op": "delete", "path": "/routes/a", "value": 1, "revision": 1, "exists": true},
        {"op": "check", "path": "/routes/a", "revision": "12"},
        7,
    ])));
    assert_eq!(
        faults,
        [
            "/0/value: is missing: must be the spec to put, or the merge patch",
            "/1/form: unknown field `form`; known fields are `op`, `path`, `value`, `revision`, `exists`",
            "/1/op: must be `put`, `patch`, `delete` or `check`, not \"move\"",
            "/1/path: must be `/config`, `/pools/NAME`, `/pools/NAME/backends/ID` or `/routes/NAME`, with valid names",
            "/2/op: the config cannot be deleted: put {\"pools\": [], \"routes\": []}",
            "/3: must have `revision` or `exists`, not both",
            "/3/value: must be left out: only `put` and `patch` have a value",
            "/4/revision: must be a revision, an integer, not \"12\"",
            "/5: must be an object, not a number",
        ]
    );
}

#[test]
fn answers_do_not_grow_with_the_document() {
    let name = "/".repeat(100_000);
    let faults = pool_faults(&json!({ "name": "a", name: 1 }));
    assert!(faults[0].len() < 400, "{}", faults[0].len());

    let many: serde_json::Map<_, _> = (0..5_000)
        .map(|i| (format!("field{i}"), Value::Null))
        .collect();
    let faults = pool_faults(&Value::Object(many));
    assert_eq!(faults.len(), crate::config::limits::FAULTS + 1);
    assert_eq!(
        faults.last().unwrap(),
        ": has more faults than are told at once"
    );
}
