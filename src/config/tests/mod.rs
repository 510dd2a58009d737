//! Transactions on configs: what they make, and what they are refused for.

mod properties;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

fn path(text: &str) -> ResourcePath {
    text.parse().expect(text)
}

/// Two pools, a route to both.
fn shop() -> Config {
    let config = json!({
        "pools": [
            {"name": "web", "backends": [
                {"id": "b1", "address": "10.0.0.1:80", "weight": 3},
                {"id": "b2", "address": "10.0.0.2:80"},
            ]},
            {"name": "canary"},
        ],
        "routes": [{"name": "shop", "to": [{"pool": "web", "weight": 95}, {"pool": "canary", "weight": 5}]}],
    });
    spec::parse_config(&config).expect("no fault")
}

fn apply(config: &Config, revision: u64, operations: Value) -> Result<Next, Rejection> {
    config.apply(
        Revision(revision),
        &Transaction::from_json(operations).expect("well formed"),
    )
}

fn faults(result: Result<Next, Rejection>) -> Vec<String> {
    match result {
        Err(Rejection::Invalid(faults)) => faults
            .0
            .iter()
            .map(|fault| format!("{}: {}", fault.pointer, fault.detail))
            .collect(),
        other => panic!("no faults: {other:?}"),
    }
}

#[test]
fn several_objects_change_as_one_revision() {
    let next = apply(
        &shop(),
        7,
        json!([
            {"op": "put", "path": "/pools/blue", "value": {"backends": [{"id": "x", "address": "[::1]:80"}]}},
            {"op": "patch", "path": "/routes/shop", "value": {"to": [{"pool": "blue"}]}},
            {"op": "delete", "path": "/pools/web"},
            {"op": "delete", "path": "/pools/canary"},
        ]),
    );
    let Next { config, effects } = next.expect("valid as a whole");
    assert_eq!(
        effects,
        [
            Effect::Created,
            Effect::Updated,
            Effect::Deleted,
            Effect::Deleted
        ]
    );
    assert_eq!(config.revision, Revision(7));
    let names: Vec<&str> = config.pools.keys().map(Name::as_str).collect();
    assert_eq!(names, ["blue"]);
    let route = config.routes.values().next().unwrap();
    assert_eq!((route.revision, route.created), (Revision(7), Revision(1)));
}

#[test]
fn what_is_not_touched_keeps_revision_and_allocation() {
    let old = shop();
    let weight = json!([{"op": "patch", "path": "/pools/web/backends/b2", "value": {"weight": 9}}]);
    let new = apply(&old, 7, weight.clone()).unwrap().config;
    assert_eq!(new.revision_of(&path("/config")), Some(Revision(7)));
    assert_eq!(new.revision_of(&path("/pools/web")), Some(Revision(7)));
    assert_eq!(
        new.revision_of(&path("/pools/web/backends/b1")),
        Some(Revision(1))
    );
    assert_eq!(
        new.revision_of(&path("/pools/web/backends/b2")),
        Some(Revision(7))
    );
    assert_eq!(new.revision_of(&path("/pools/web/backends/b3")), None);
    assert_eq!(new.revision_of(&path("/pools/canary")), Some(Revision(1)));
    assert!(new.routes.is_same(&old.routes));
    assert!(std::sync::Arc::ptr_eq(
        old.pools.get("canary").unwrap(),
        new.pools.get("canary").unwrap()
    ));

    let again = apply(&new, 8, weight).unwrap();
    assert_eq!(
        again,
        Next {
            config: new.clone(),
            effects: vec![Effect::Unchanged]
        },
        "equal content is no change"
    );
    let whole = json!([{"op": "put", "path": "/config", "value": new.to_json()}]);
    assert_eq!(
        apply(&new, 9, whole).unwrap().config,
        new,
        "what was read is accepted, and changes nothing"
    );
}

#[test]
fn references_are_checked_on_the_end_result_both_ways() {
    let config = shop();
    let dangling = json!([
        {"op": "put", "path": "/routes/a", "value": {"to": [{"pool": "canery"}, {"pool": "web"}]}},
        {"op": "put", "path": "/routes/b", "value": {"to": [{"pool": "nowhere"}]}},
    ]);
    assert_eq!(
        faults(apply(&config, 2, dangling)),
        [
            "/0/value/to/0/pool: there is no pool `canery`; did you mean `canary`? pools are: canary, web",
            "/1/value/to/0/pool: there is no pool `nowhere`; pools are: canary, web",
        ]
    );
    let delete = Operation::delete(path("/pools/web"));
    assert_eq!(
        config.apply(Revision(2), &Transaction::of(delete.clone())),
        Err(Rejection::Referred {
            path: "/pools/web".to_owned(),
            by: vec!["/routes/shop".to_owned()]
        })
    );
    let both = Transaction {
        operations: vec![delete, Operation::delete(path("/routes/shop"))],
    };
    assert!(
        config.apply(Revision(2), &both).is_ok(),
        "the route goes with it"
    );
    let whole = json!([{"op": "put", "path": "/config", "value": {"routes": [{"name": "a", "to": [{"pool": "b"}]}]}}]);
    assert_eq!(
        faults(apply(&config, 2, whole)),
        ["/0/value/routes/0/to/0/pool: there is no pool `b`, nor any other"]
    );
    let asks = json!({"to": [{"pool": "web"}], "forward_auth": {"pool": "blue"}});
    let dangling = json!([{"op": "put", "path": "/routes/shop", "value": asks}]);
    assert_eq!(
        faults(apply(&config, 2, dangling)),
        ["/0/value/forward_auth/pool: there is no pool `blue`; pools are: canary, web"]
    );
    let copies = json!({"to": [{"pool": "web"}], "mirror": {"pool": "blue"}});
    let dangling = json!([{"op": "put", "path": "/routes/shop", "value": copies}]);
    assert_eq!(
        faults(apply(&config, 2, dangling)),
        ["/0/value/mirror/pool: there is no pool `blue`; pools are: canary, web"]
    );
    let copies = json!({"to": [{"pool": "web"}], "mirror": {"pool": "canary"}});
    let mirrored = json!([{"op": "put", "path": "/routes/shop", "value": copies}]);
    let mirrored = apply(&config, 2, mirrored).unwrap().config;
    let delete = Operation::delete(path("/pools/canary"));
    assert!(matches!(
        mirrored.apply(Revision(3), &Transaction::of(delete)),
        Err(Rejection::Referred { .. })
    ));
}

#[test]
fn policies_are_referred_to_and_refer_as_routes_do() {
    let config = shop();
    let dangling = json!([
        {"op": "put", "path": "/policies/staff", "value": {"forward_auth": {"pool": "auth"}}},
        {"op": "patch", "path": "/routes/shop", "value": {"policies": ["staf", "staff"]}},
    ]);
    assert_eq!(
        faults(apply(&config, 2, dangling)),
        [
            "/0/value/forward_auth/pool: there is no pool `auth`; pools are: canary, web",
            "/1/value/policies/0: there is no policy `staf`; did you mean `staff`? policies are: staff",
        ]
    );
    let shared = json!([
        {"op": "put", "path": "/pools/auth", "value": {}},
        {"op": "put", "path": "/policies/staff", "value": {"forward_auth": {"pool": "auth"}}},
        {"op": "patch", "path": "/routes/shop", "value": {"policies": ["staff"]}},
    ]);
    let config = apply(&config, 2, shared).unwrap().config;
    for (deleted, by) in [
        ("/pools/auth", "/policies/staff"),
        ("/policies/staff", "/routes/shop"),
    ] {
        let delete = Operation::delete(path(deleted));
        let refused = Rejection::Referred {
            path: deleted.to_owned(),
            by: vec![by.to_owned()],
        };
        let applied = config.apply(Revision(3), &Transaction::of(delete));
        assert_eq!(applied, Err(refused));
    }
    let all = ["/routes/shop", "/policies/staff", "/pools/auth"];
    let all = all.map(|it| Operation::delete(path(it)));
    let gone = Transaction {
        operations: all.to_vec(),
    };
    assert!(config.apply(Revision(3), &gone).is_ok());
}

#[test]
fn a_route_takes_of_its_policies_whole_what_it_does_not_say_itself() {
    let config = json!([{"op": "put", "path": "/config", "value": {
        "pools": [{"name": "web"}],
        "routes": [{
            "name": "shop", "to": [{"pool": "web"}], "policies": ["first", "second"],
            "timeouts": {"total": "1s"},
        }, {"name": "bare", "to": [{"pool": "web"}], "policies": ["empty"]}],
        "policies": [
            {"name": "first", "timeouts": {"try": "1ms"}, "rate_limit": {"requests": 1}},
            {"name": "second", "rate_limit": {"requests": 2}, "max_body_bytes": 9},
            {"name": "empty"},
        ],
    }}]);
    let config = apply(&Config::default(), 1, config).unwrap().config;
    let shop = &config.routes.get("shop").unwrap().spec;
    let policy = shop.policy_among(&config.policies).unwrap().unwrap();
    let timeouts = policy.timeouts.clone().unwrap();
    assert_eq!(
        (timeouts.one_try, timeouts.total),
        (None, Some(Duration::from_secs(1)))
    );
    assert_eq!(policy.rate_limit.as_ref().unwrap().requests, 1);
    assert_eq!(policy.max_body_bytes, Some(9));
    let bare = &config.routes.get("bare").unwrap().spec;
    assert_eq!(bare.policy_among(&config.policies), Ok(None));
}

#[test]
fn a_list_sees_the_secrets_that_earlier_operations_wrote() {
    let auth = |hash: &str| json!({"users": [{"name": "ann", "password_sha256": hash}]});
    let (old, new) = ("0a".repeat(32), "0b".repeat(32));
    let both = |hash: &str| {
        let route = json!({"name": "shop", "to": [{"pool": "web"}], "basic_auth": auth(hash)});
        let policy = json!({"name": "staff", "basic_auth": auth(hash)});
        json!({"pools": [{"name": "web"}], "routes": [route], "policies": [policy]})
    };
    let put = |hash: &str| json!([{"op": "put", "path": "/config", "value": both(hash)}]);
    let config = apply(&Config::default(), 1, put(&old)).unwrap().config;
    let again = json!([
        {"op": "patch", "path": "/policies/staff", "value": {"basic_auth": auth(&new)}},
        {"op": "patch", "path": "/routes/shop", "value": {"basic_auth": auth(&new)}},
        {"op": "put", "path": "/config", "value": both("(redacted)")},
    ]);
    let next = apply(&config, 2, again).unwrap().config;
    assert!(next.same_content(&apply(&config, 2, put(&new)).unwrap().config));
}

#[test]
fn what_is_read_again_and_again_is_too_much_work() {
    let big: serde_json::Map<String, Value> = (0..32)
        .map(|i| (format!("x-{i}"), json!("v".repeat(4_000))))
        .collect();
    let headers = json!({"request": {"set": big}});
    let put = json!([{"op": "put", "path": "/policies/big", "value": {"headers": headers}}]);
    let config = apply(&Config::default(), 1, put).unwrap().config;
    let patch = Operation::patch(path("/policies/big"), json!({"max_body_bytes": 1}));
    let patches = |count| Transaction {
        operations: vec![patch.clone(); count],
    };
    assert!(config.apply(Revision(2), &patches(10)).is_ok());
    let refused = config.apply(Revision(2), &patches(1_000));
    assert!(matches!(refused, Err(Rejection::Invalid(_))), "{refused:?}");
}

#[test]
fn a_fault_in_a_spec_does_not_hide_faults_of_references() {
    let file = json!({
        "pools": [
            {"name": "web", "backends": [{"id": "b", "address": "1.2.3.4:5", "weight": -1}]},
            {"name": "web"},
        ],
        "routes": [{"name": "a", "to": [{"pool": "web"}]}, {"name": "b", "to": [{"pool": "wab"}]}, 7],
        "rules": [],
    });
    let faults = spec::parse_config(&file).expect_err("faults");
    let told: Vec<&str> = faults
        .0
        .iter()
        .map(|fault| fault.pointer.as_str())
        .collect();
    assert_eq!(
        told,
        [
            "/rules",
            "/pools/0/backends/0/weight",
            "/pools/1/name",
            "/routes/2",
            "/routes/1/to/0/pool"
        ]
    );
}

#[test]
fn expectations_name_what_was_found_instead() {
    let config = shop();
    let stale = |path: &str, expected, actual| {
        Err(Rejection::Stale {
            path: path.to_owned(),
            expected,
            actual,
        })
    };
    let (there, one, two) = (Expected::Present, Revision(1), Revision(2));
    for (operation, expected) in [
        (
            json!({"op": "check", "path": "/pools/web", "revision": 1}),
            Ok(Effect::Checked),
        ),
        (
            json!({"op": "check", "path": "/config", "revision": 1}),
            Ok(Effect::Checked),
        ),
        (
            json!({"op": "check", "path": "/routes/x", "exists": false}),
            Ok(Effect::Checked),
        ),
        (
            json!({"op": "check", "path": "/routes/x"}),
            Err(Rejection::NotFound("/routes/x".to_owned())),
        ),
        (
            json!({"op": "put", "path": "/pools/web", "value": {}, "revision": 2}),
            stale("/pools/web", Expected::Revision(two), Some(one)),
        ),
        (
            json!({"op": "put", "path": "/pools/web", "value": {"weight": 1}, "exists": false}),
            stale("/pools/web", Expected::Absent, Some(one)),
        ),
        (
            json!({"op": "put", "path": "/pools/x", "value": {}, "exists": true}),
            stale("/pools/x", there, None),
        ),
        (
            json!({"op": "delete", "path": "/pools/web/backends/b9", "revision": 1}),
            stale("/pools/web/backends/b9", Expected::Revision(one), None),
        ),
        (
            json!({"op": "put", "path": "/pools/x/backends/b", "value": {}}),
            Err(Rejection::NotFound("/pools/x".to_owned())),
        ),
        (
            json!({"op": "patch", "path": "/pools/x", "value": {}}),
            Err(Rejection::NotFound("/pools/x".to_owned())),
        ),
    ] {
        let result = apply(&config, 5, json!([operation.clone()])).map(|next| next.effects[0]);
        assert_eq!(result, expected, "{operation}");
    }
}

#[test]
fn a_transaction_is_all_or_nothing_and_later_operations_see_earlier_ones() {
    let config = shop();
    let next = apply(
        &config,
        5,
        json!([
            {"op": "put", "path": "/pools/x", "value": {}, "exists": false},
            {"op": "put", "path": "/pools/x/backends/b", "value": {"address": "1.1.1.1:1"}},
            {"op": "patch", "path": "/pools/x/backends/b", "value": {"state": "drain"}},
            {"op": "delete", "path": "/pools/web/backends/b1", "revision": 1},
            {"op": "check", "path": "/pools/x"},
            {"op": "put", "path": "/pools/x", "value": {}, "exists": false},
        ]),
    );
    let stale = Rejection::Stale {
        path: "/pools/x".into(),
        expected: Expected::Absent,
        actual: Some(Revision(5)),
    };
    assert_eq!(next, Err(stale));
}

#[test]
fn a_transaction_that_would_keep_every_node_busy_is_refused() {
    let backends: Vec<Value> = (0..limits::BACKENDS_PER_POOL)
        .map(|i| json!({"id": format!("b{i}"), "address": "10.0.0.1:80"}))
        .collect();
    let big = json!([{"op": "put", "path": "/pools/big", "value": {"backends": backends}}]);
    let config = apply(&shop(), 2, big).unwrap().config;
    let affordable = |path: &str, patch| {
        let mut draft = draft::Draft::new(&config, Revision(3));
        let path: ResourcePath = path.parse().unwrap();
        (0..limits::OPERATIONS)
            .take_while(|_| draft.spend(&path, patch).is_some())
            .count()
    };
    assert_eq!(affordable("/pools/big", true), 100);
    assert_eq!(affordable("/config", true), 99);
    assert_eq!(affordable("/pools/big/backends/b7", true), 10_000);
    assert_eq!(affordable("/pools/web", true), limits::OPERATIONS);
}

#[test]
fn a_resource_missing_for_an_earlier_fault_is_told_by_that_fault() {
    let operations = json!([
        {"op": "put", "path": "/pools/web/backends/b9", "value": {"address": "nowhere"}},
        {"op": "patch", "path": "/pools/web/backends/b9", "value": {"weight": 2}},
    ]);
    let faults = faults(apply(&shop(), 2, operations));
    assert!(
        faults.len() == 1 && faults[0].starts_with("/0/value/address: must be"),
        "{faults:?}"
    );
}

#[test]
fn a_patch_of_the_config_takes_lists_or_names() {
    let config = shop();
    let patched = |value: Value| {
        let patch = Transaction::of(Operation::patch(ResourcePath::Config, value));
        config
            .apply(Revision(2), &patch)
            .map(|next| next.config)
            .map_err(Rejection::of_single)
    };
    let by_name = patched(json!({
        "pools": {"web": {"balance": "least_connections"}, "new": {}, "gone": null},
        "routes": {"shop": {"match": {"hosts": ["shop.example"]}}},
    }));
    let by_name = by_name.unwrap();
    assert_eq!(
        by_name.pools.get("web").unwrap().spec.balance,
        Balance::LeastConnections
    );
    assert_eq!(by_name.pools.get("web").unwrap().spec.backends.len(), 2);
    assert!(by_name.pools.contains_key("new"));
    assert_eq!(by_name.routes.get("shop").unwrap().spec.to.len(), 2);

    let by_list = patched(json!({"routes": [{"name": "only", "to": [{"pool": "web"}]}]})).unwrap();
    assert!(by_list.pools.is_same(&config.pools));
    assert_eq!(
        by_list.routes.keys().map(Name::as_str).collect::<Vec<_>>(),
        ["only"]
    );

    assert_eq!(patched(json!({})), Ok(config.clone()));
    assert_eq!(
        patched(json!({"pools": {"web": null}})),
        Err(Rejection::Referred {
            path: "/pools/web".to_owned(),
            by: vec!["/routes/shop".to_owned()]
        })
    );
    let Err(Rejection::Invalid(faults)) = patched(json!({
        "pools": {"a b": {}, "web": {"name": "api", "backends": {"b1": null}}},
        "routes": 3,
    })) else {
        panic!("faults")
    };
    let pointers: Vec<_> = faults
        .0
        .iter()
        .map(|fault| fault.pointer.as_str())
        .collect();
    assert_eq!(
        pointers,
        [
            "/pools/a b",
            "/pools/web/name",
            "/pools/web/backends",
            "/routes"
        ]
    );
}

#[test]
fn digests_tell_contents_and_revisions_apart() {
    let config = shop();
    let change = |revision, weight| {
        let weight =
            json!([{"op": "patch", "path": "/pools/web/backends/b2", "value": {"weight": weight}}]);
        apply(&config, revision, weight).unwrap().config
    };
    assert_eq!(change(2, 9).digest(), change(2, 9).digest());
    assert_ne!(change(2, 9).digest(), change(2, 8).digest());
    assert_ne!(change(2, 9).digest(), change(3, 9).digest());
    assert_ne!(change(2, 9).digest(), config.digest());
}

#[test]
fn a_diff_leads_back_to_the_order_of_backends_that_went() {
    let backends = json!([
        {"id": "x", "address": "10.0.0.0:80", "weight": 0},
        {"id": "b3", "address": "10.0.0.0:80", "weight": 0},
    ]);
    let put = |backends: Value| json!([{"op": "put", "path": "/pools/web", "value": {"backends": backends}}]);
    let before = apply(&Config::default(), 1, put(backends)).unwrap().config;
    let after = apply(&before, 2, put(json!([]))).unwrap().config;
    let mut undo = Undo::new(&after);
    diff(&before, &after)
        .into_iter()
        .for_each(|change| undo.take_back(change));
    assert!(undo.finish(before.revision).same_content(&before));
}

/// Checkpoints keep it, and nodes of different builds compare theirs: what a config had before a field was thought of
/// may not change with it.
#[test]
fn a_digest_outlives_the_build_that_made_it() {
    let whole = json!([{"op": "put", "path": "/config", "value": {
        "pools": [{
            "name": "web", "balance": "ewma", "slow_start": "30s", "protocol": "http2",
            "backends": [{"id": "a", "address": "10.0.0.1:80", "weight": 3, "backup": 1}],
            "health": {"http": {"path": "/ok", "host": "a.example", "body": "ok", "status": [204]}},
            "outlier": {"max_percent": 20}, "limits": {"requests": 9}, "sticky": {"max_age": "1h"},
        }],
        "routes": [{
            "name": "shop", "to": [{"pool": "web"}],
            "match": {"hosts": ["*.example"], "path": {"prefix": "/y"}, "methods": ["GET"]},
            "timeouts": {"try": "1s", "total": "1m"}, "retries": {"statuses": [503]},
            "rate_limit": {"requests": 5, "by": {"header": "X-User"}},
            "fence": {"lock": "deploy"}, "clients": {"allow": ["10.0.0.0/8"]},
            "basic_auth": {"users": [{"name": "ann", "password_sha256": "0a".repeat(32)}]},
            "forward_auth": {"pool": "web"}, "rewrite": {"host": "b.example"},
            "cors": {"origins": ["*"]}, "max_body_bytes": 9, "compress": {},
            "headers": {"request": {"set": {"A": "b"}}},
            "fault_injection": {"abort": {"status": 500}},
            "mirror": {"pool": "web"}, "error_pages": [{"status": "502-504", "body": "sorry"}],
        }, {"name": "old", "match": {"path": {"exact": "/"}}, "redirect": {"host": "a.example"}}],
    }}]);
    let config = apply(&Config::default(), 7, whole).unwrap().config;
    assert_eq!(config.digest(), 11_912_099_224_613_478_598);
}
