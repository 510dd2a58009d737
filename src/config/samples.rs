//! Random transactions for property tests: few names, so that they meet; mostly valid, so that they get somewhere.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::{Expected, Operation, ResourcePath, Revision, Transaction};

const POOLS: [&str; 4] = ["web", "api", "canary", "blue"];
const ROUTES: [&str; 3] = ["shop", "blog", "all"];
const POLICIES: [&str; 3] = ["staff", "limits", "nothing"];
const BACKENDS: [&str; 5] = ["b1", "b2", "b3", "x", "a"];

/// A backend, with this id where one is to be named.
fn backend(id: Option<&'static str>) -> impl Strategy<Value = Value> {
    (0u8..4, -1i64..4, select(&["ready", "drain", "maint"][..])).prop_map(
        move |(host, weight, state)| {
            // Now and then a weight below 0, which is a fault.
            let weight = if host == 0 { weight } else { weight.max(0) };
            let mut backend =
                json!({"address": format!("10.0.0.{host}:80"), "weight": weight, "state": state});
            if host == 3 {
                backend["backup"] = json!(1);
            }
            if let Some(id) = id {
                backend["id"] = json!(id);
            }
            backend
        },
    )
}

/// A pool without its name.
fn pool() -> impl Strategy<Value = Value> {
    let backends = subsequence(&BACKENDS[..], 0..=4).prop_shuffle();
    let backends = backends.prop_flat_map(|ids| {
        ids.into_iter()
            .map(|id| backend(Some(id)))
            .collect::<Vec<_>>()
    });
    let balance = select(&["round_robin", "least_connections", "ewma", "maglev"][..]);
    (
        backends,
        balance,
        option::of(1u32..5),
        option::of(select(&["2s", "1500ms", "24h"][..])),
        option::of(health()),
    )
        .prop_map(|(backends, balance, attempts, connect, health)| {
            let mut pool = json!({"backends": backends, "balance": balance});
            if balance == "maglev" && attempts.is_some() {
                pool["hash"] = json!({"header": "x-user"});
                pool["bounded_load"] = json!(true);
            }
            if let Some(attempts) = attempts {
                pool["retries"] = json!({ "attempts": attempts });
            }
            if let Some(connect) = connect {
                pool["timeouts"] = json!({ "connect": connect });
            }
            if attempts == Some(1) {
                pool["tls"] =
                    json!({"ca": "internal", "names": ["a.example"], "certificate": "mesh"});
            } else if attempts == Some(2) {
                pool["tls"] = json!({"insecure": true});
            }
            if let Some(health) = health {
                pool["health"] = health;
                pool["sticky"] = json!({"same_site": "strict", "max_age": "1h"});
                pool["slow_start"] = json!("30s");
                pool["protocol"] = json!("http2");
                pool["limits"] =
                    json!({"requests": 9, "requests_per_backend": 3, "queue_timeout": "2s"});
                pool["outlier"] =
                    json!({"ejection_time": "1m", "max_percent": 20, "panic_percent": 30});
            }
            pool
        })
}

/// Now and then both kinds of checks or a bad range, which are faults.
fn health() -> impl Strategy<Value = Value> {
    let status = option::of(select(&["204", "200-299", "299-200"][..]));
    let probe = (0u8..8, status, any::<bool>()).prop_map(|(kind, status, more)| {
        let mut http = json!({"path": "/healthz"});
        if let Some(status) = status {
            http["status"] = json!([status, 301]);
        }
        if more {
            http["host"] = json!("a.example");
            http["method"] = json!("OPTIONS");
            http["headers"] = json!({"X-Check": "1"});
            http["body"] = json!("ok");
        }
        match kind {
            0 => json!({"http": http, "tcp": {}}),
            1 => json!({"grpc": {"service": "shop.Cart"}}),
            2 => json!({"tcp": {}}),
            _ => json!({ "http": http }),
        }
    });
    (probe, option::of(1u32..4), option::of(0u32..=100)).prop_map(|(mut health, rise, panic)| {
        if let Some(rise) = rise {
            health["rise"] = json!(rise);
            health["interval"] = json!("250ms");
        }
        if let Some(panic) = panic {
            health["panic_percent"] = json!(panic);
        }
        health
    })
}

/// A route without its name.
fn route() -> impl Strategy<Value = Value> {
    let hosts = subsequence(&["a.example", "*.example", "[::1]"][..], 0..=3).prop_shuffle();
    let to = subsequence(&POOLS[..], 1..=3).prop_shuffle();
    let mirror = option::of(select(&POOLS[..]));
    // Mostly none: a transaction that names one which is not there comes to nothing.
    let shared = prop_oneof![
        3 => Just(Vec::new()),
        1 => subsequence(&POLICIES[..], 1..=2).prop_shuffle(),
    ];
    (hosts, to, any::<bool>(), conditions(), mirror, shared).prop_map(
        |(hosts, to, exact, conditions, mirror, shared)| {
            let path = if exact {
                json!({"exact": "/x"})
            } else {
                json!({"prefix": "/y/"})
            };
            let to: Vec<Value> = to
                .into_iter()
                .map(|pool| json!({"pool": pool, "weight": pool.len()}))
                .collect();
            let mut matches = json!({"hosts": hosts, "path": path});
            for (field, condition) in conditions {
                matches[field] = condition;
            }
            let mut route = json!({"match": matches, "to": to});
            if !shared.is_empty() {
                route["policies"] = json!(shared);
            }
            if let Some(pool) = mirror {
                route["forward_auth"] = json!({"pool": pool, "answer_headers": ["X-User"]});
                route["mirror"] = json!({ "pool": pool });
            }
            if exact {
                route["rate_limit"] = json!({"requests": 5, "by": {"header": "X-User"}});
                route["timeouts"] = json!({"try": "1s", "total": "1m"});
                route["retries"] = json!({"statuses": [503, 429]});
                route["fault_injection"] =
                    json!({"delay": {"percent": 5, "for": "1s"}, "abort": {"status": 500}});
                route["basic_auth"] =
                    json!({"users": [{"name": "ann", "password_sha256": "0a".repeat(32)}]});
                route["compress"] = json!({"codings": ["gzip"], "types": ["text/*"]});
                route["error_pages"] = json!([{"status": ["502-504"], "body": "sorry"}]);
                route["respond"] = json!({"status": 503, "body": "closed"});
                route["fence"] = json!({"lock": "deploy", "header": "x-token"});
            }
            route
        },
    )
}

/// A policy without its name.
fn policy() -> impl Strategy<Value = Value> {
    let mirror = option::of(select(&POOLS[..]));
    (mirror, option::of(1u32..9), any::<bool>()).prop_map(|(mirror, rate, auth)| {
        let mut policy = json!({});
        if let Some(pool) = mirror {
            policy["mirror"] = json!({ "pool": pool });
        }
        if let Some(requests) = rate {
            policy["rate_limit"] = json!({ "requests": requests });
            policy["timeouts"] = json!({"total": "1m"});
        }
        if auth {
            let hash = "0b".repeat(32);
            policy["basic_auth"] = json!({"users": [{"name": "ann", "password_sha256": hash}]});
        }
        policy
    })
}

/// What a route asks for besides host and path; now and then a small letter too many, which is a fault.
fn conditions() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let methods = subsequence(&["GET", "POST", "PURGE"][..], 0..=2);
    let key = select(vec![
        json!({"name": "x-beta", "exact": "1"}),
        json!({"name": "x-beta", "regex": "[0-9]+"}),
        json!({"name": "x-user", "present": true}),
    ]);
    (methods, option::of(key.clone()), option::of(key), 0u8..16).prop_map(
        |(methods, header, parameter, fault)| {
            let methods = if fault == 0 { vec!["get"] } else { methods };
            let lists = [
                ("methods", json!(methods)),
                ("headers", json!(header.as_slice())),
                ("query", json!(parameter.as_slice())),
            ];
            lists.into_iter().collect()
        },
    )
}

fn named(
    names: &'static [&'static str],
    spec: impl Strategy<Value = Value>,
) -> impl Strategy<Value = (String, Value)> {
    (select(names), spec).prop_map(|(name, mut spec)| {
        spec["name"] = json!(name);
        (name.to_owned(), spec)
    })
}

fn path(text: &str) -> ResourcePath {
    text.parse().expect("sample paths are well formed")
}

/// One operation.
fn operation() -> impl Strategy<Value = Operation> {
    let pool_put = named(&POOLS, pool())
        .prop_map(|(name, spec)| Operation::put(path(&format!("/pools/{name}")), spec));
    let route_put = named(&ROUTES, route())
        .prop_map(|(name, spec)| Operation::put(path(&format!("/routes/{name}")), spec));
    let pool_path = select(&POOLS[..]).prop_map(|name| path(&format!("/pools/{name}")));
    let backend_path = (select(&POOLS[..]), select(&BACKENDS[..]))
        .prop_map(|(pool, id)| path(&format!("/pools/{pool}/backends/{id}")));
    let policy_put = named(&POLICIES, policy())
        .prop_map(|(name, spec)| Operation::put(path(&format!("/policies/{name}")), spec));
    let route_path = select(&ROUTES[..]).prop_map(|name| path(&format!("/routes/{name}")));
    let policy_path = select(&POLICIES[..]).prop_map(|name| path(&format!("/policies/{name}")));
    let whole = (
        vec(named(&POOLS, pool()), 0..4),
        vec(named(&ROUTES, route()), 0..2),
        vec(named(&POLICIES, policy()), 0..3),
    )
        .prop_map(|(pools, routes, policies)| {
            let specs = |list: Vec<(String, Value)>| {
                list.into_iter().map(|(_, spec)| spec).collect::<Vec<_>>()
            };
            Operation::put(
                ResourcePath::Config,
                json!({"pools": specs(pools), "routes": specs(routes), "policies": specs(policies)}),
            )
        });
    let weight = (backend_path.clone(), 0u32..9)
        .prop_map(|(path, weight)| Operation::patch(path, json!({"weight": weight})));
    prop_oneof![
        4 => pool_put,
        3 => route_put,
        2 => policy_put,
        3 => (backend_path.clone(), backend(None)).prop_map(|(path, spec)| Operation::put(path, spec)),
        3 => weight,
        2 => (pool_path.clone(), pool()).prop_map(|(path, patch)| Operation::patch(path, patch)),
        1 => (pool_path.clone(), named(&POOLS, pool())).prop_map(|(_, (name, patch))| {
            Operation::patch(ResourcePath::Config, json!({"pools": {name: patch}}))
        }),
        1 => whole,
        2 => prop_oneof![pool_path, backend_path, route_path, policy_path].prop_map(Operation::delete),
    ]
}

/// A transaction of one to three operations, now and then expecting something.
pub(crate) fn transaction() -> impl Strategy<Value = Transaction> {
    let expected = prop_oneof![
        8 => Just(None),
        1 => (0u64..20).prop_map(|revision| Some(Expected::Revision(Revision(revision)))),
        1 => Just(Some(Expected::Present)),
        1 => Just(Some(Expected::Absent)),
    ];
    vec((operation(), expected), 1..=3).prop_map(|list| Transaction {
        operations: list
            .into_iter()
            .map(|(operation, expected)| Operation {
                expected,
                ..operation
            })
            .collect(),
    })
}

/// Any JSON, with the words of specs in it, so that readers get past the first field.
pub(crate) fn json_value() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        select(
            &[
                "name",
                "balance",
                "backends",
                "id",
                "address",
                "weight",
                "state",
                "timeouts",
                "connect",
                "retries",
                "attempts",
                "health",
                "outlier",
                "max_percent",
                "protocol",
                "slow_start",
                "backup",
                "limits",
                "requests",
                "rate_limit",
                "http",
                "tcp",
                "status",
                "200-299",
                "match",
                "hosts",
                "path",
                "exact",
                "prefix",
                "methods",
                "headers",
                "query",
                "present",
                "regex",
                "GET",
                "to",
                "pool",
                "pools",
                "routes",
                "policies",
                "op",
                "value",
                "revision",
                "exists",
                "put",
                "patch",
                "delete",
                "check",
                "/config",
                "/pools/web",
                "/routes/shop",
                "web",
                "ready",
                "10.0.0.1:80",
                "2s",
                "/",
            ][..]
        )
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((word.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}
