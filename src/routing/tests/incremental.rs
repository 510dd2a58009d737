//! What is built step by step is what is built at once.

use proptest::prelude::*;

use super::table::{some_request, some_route};
use super::*;
use crate::config::Action;
use crate::routing::table::Table;

/// A put or a delete of one of a few routes and pools, so that they meet.
fn some_operation() -> impl Strategy<Value = Operation> {
    let path = |kind: &str, i: usize| {
        format!("/{kind}/{kind}{i}")
            .parse::<ResourcePath>()
            .unwrap()
    };
    let targets = prop::sample::subsequence(vec![0_usize, 1, 2], 1..=2);
    let shared = prop::option::of(0..2_usize);
    let put_route = (0..8_usize, some_route(), targets, shared).prop_map(
        move |(i, matches, targets, shared)| {
            let to: Vec<Value> = targets
                .iter()
                .map(|i| json!({"pool": format!("pools{i}")}))
                .collect();
            let policies: Vec<String> = shared.iter().map(|i| format!("policies{i}")).collect();
            let route = json!({"match": matches, "to": to, "policies": policies});
            Operation::put(path("routes", i), route)
        },
    );
    let put_policy = (0..2_usize, 0..3_usize, 1..4_u32).prop_map(move |(i, pool, percent)| {
        let mirror = json!({"pool": format!("pools{pool}"), "percent": percent});
        Operation::put(path("policies", i), json!({ "mirror": mirror }))
    });
    let put_pool = (0..3_usize, 0..4_u16).prop_map(move |(i, weight)| {
        let backend = json!({"id": "a", "address": "127.0.0.1:1", "weight": weight});
        Operation::put(path("pools", i), json!({"backends": [backend]}))
    });
    prop_oneof![
        6 => put_route,
        2 => put_pool,
        2 => put_policy,
        3 => (0..8_usize).prop_map(move |i| Operation::delete(path("routes", i))),
        1 => (0..3_usize).prop_map(move |i| Operation::delete(path("pools", i))),
    ]
}

/// Of all that a transaction asks for, what can be done.
fn apply_all(config: &Config, operations: &[Operation]) -> Config {
    let revision = Revision(config.revision.0 + 1);
    operations.iter().fold(config.clone(), |config, operation| {
        let next = config.apply(revision, &Transaction::of(operation.clone()));
        next.map_or(config, |next| next.config)
    })
}

/// The names of the pools that requests of a route go to.
fn pools(snapshot: &Snapshot, route: &Name) -> Vec<String> {
    let entry = snapshot.route_entry(route).unwrap();
    let picks = (0..4).map(|_| snapshot.pool_of(entry).unwrap());
    let mut names: Vec<String> = picks
        .map(|pool| {
            assert!(Arc::ptr_eq(
                pool,
                snapshot.pool(pool.name.as_str()).unwrap()
            ));
            pool.name.to_string()
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The pool that copies of its requests go to, and how many.
fn copies(snapshot: &Snapshot, route: &Name) -> Option<(Name, u32)> {
    let entry = snapshot.route_entry(route).unwrap();
    let (pool, percent) = snapshot.mirror_of(entry)?;
    Some((pool.name.clone(), percent))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_snapshot_built_step_by_step_is_the_one_built_at_once(
        transactions in prop::collection::vec(prop::collection::vec(some_operation(), 1..4), 1..20),
        requests in prop::collection::vec(some_request(), 20),
    ) {
        let registry = Registry::scratch();
        let (mut config, mut built) = (Config::default(), Snapshot::default());
        for operations in &transactions {
            config = apply_all(&config, operations);
            built = compiled(&config, &registry, Some(&built)).unwrap();
        }
        let at_once = snapshot(&config);
        prop_assert_eq!((built.revision, built.digest), (at_once.revision, at_once.digest));
        for request in &requests {
            prop_assert_eq!(taken_by(&built, request), taken_by(&at_once, request), "{:?}", request);
        }
        prop_assert!(built.pools.keys().eq(at_once.pools.keys()));
        prop_assert!(built.routes.keys().eq(at_once.routes.keys()));
        for route in built.routes.keys() {
            prop_assert_eq!(pools(&built, route), pools(&at_once, route));
            prop_assert_eq!(copies(&built, route), copies(&at_once, route));
        }
        prop_assert_eq!(built.numbered.len(), built.pools.len());

        let put = config.apply(Revision(u64::MAX), &Transaction::of(Operation {
            path: ResourcePath::Config,
            expected: None,
            action: Action::Put(json!({"pools": [], "routes": []})),
        }));
        let emptied = compiled(&put.unwrap().config, &registry, Some(&built)).unwrap();
        prop_assert_eq!(format!("{:?}", emptied.table), format!("{:?}", Table::default()));
    }
}

#[test]
fn a_tree_as_deep_as_paths_may_be_needs_no_deep_stack() {
    let deepest = 1_000;
    let path = |depth: usize| "/a".repeat(depth);
    let build = move || {
        let routes: Vec<Value> = (1..=deepest)
            .map(|depth| route(&format!("r{depth:04}"), &[], prefix(&path(depth))))
            .collect();
        let config = json!({"pools": [pool("web", &[])], "routes": routes});
        let put = Operation::put(ResourcePath::Config, config);
        let all = apply(&Config::default(), put);
        let full = snapshot(&all);
        assert_eq!(found(&full, "x", &path(deepest)), "r1000");
        assert_eq!(found(&full, "x", &format!("{}/b", path(7))), "r0007");
        let less = apply(&all, Operation::delete(ResourcePath::Route(name("r1000"))));
        let less = compiled(&less, &Registry::scratch(), Some(&full)).unwrap();
        assert_eq!(found(&less, "x", &path(deepest)), "r0999");
        drop(full);
        drop(less);
    };
    let small = std::thread::Builder::new().stack_size(256 << 10);
    small.spawn(build).unwrap().join().unwrap();
}
