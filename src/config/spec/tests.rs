//! Documents in, faults out: every one of them, each at its place.

use serde_json::{Value, json};

use super::*;

mod policy;
mod pool;
mod route;

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
        [
            "/to: must name one pool at least, such as [{\"pool\": \"web\"}]; only with `redirect` or `respond` it needs none"
        ]
    );
    assert_eq!(
        route_faults(&json!({"name": "a", "match": {"path": {}}, "to": [{"pool": "p"}]})),
        [
            "/match/path: must have one of `exact`, `prefix` and `regex`, such as {\"prefix\": \"/\"}"
        ]
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
            "timeouts": {"connect": "2s", "response_headers": "1m", "stream_idle": "5m", "idle": "1m",
                "tunnel_idle": "1h"},
            "retries": {"attempts": 3, "budget_percent": 20, "budget_min_per_second": 10},
            "outlier": {"consecutive_failures": 5, "failure_percent": 50, "min_requests": 20, "interval": "10s",
                "ejection_time": "30s", "max_ejection_time": "5m", "max_percent": 10},
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
            "/1/path: must be `/config`, `/pools/NAME`, `/pools/NAME/backends/ID`, `/routes/NAME` or `/policies/NAME`, with valid names",
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
    assert!(faults[0].len() < 600, "{}", faults[0].len());

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
