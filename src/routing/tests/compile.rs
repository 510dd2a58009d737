//! What compiling shares, promises and leaves alone.

use super::*;
use crate::config::Pools;
use crate::routing::{CompileError, check, check_pools};

fn shop() -> Arc<Config> {
    config(&[
        pool("web", &[(5, "ready"), (1, "ready"), (1, "ready")]),
        pool("canary", &[(1, "ready")]),
        route("shop", &["shop.example"], prefix("/")),
        json!({"name": "beta", "match": {"hosts": ["beta.example"]}, "to": [{"pool": "canary"}]}),
    ])
}

#[test]
fn equal_revisions_have_equal_digests_on_every_node() {
    let (one, other) = (snapshot(&shop()), snapshot(&shop()));
    assert_eq!((one.revision, one.digest), (other.revision, other.digest));
    let changed = put(&shop(), &[pool("canary", &[(2, "ready")])]);
    assert_ne!(snapshot(&changed).digest, one.digest);
}

#[test]
fn a_change_rebuilds_only_what_it_touches() {
    let registry = Registry::scratch();
    let first = compiled(&shop(), &registry, None).unwrap();
    let changed = put(&shop(), &[pool("canary", &[(2, "ready")])]);
    // As after a restart: equal content in other allocations.
    let restored = put(&shop(), &[pool("canary", &[(2, "ready")])]);
    for changed in [changed, restored] {
        let second = compiled(&changed, &registry, Some(&first)).unwrap();
        let same_pool = |name| Arc::ptr_eq(first.pool(name).unwrap(), second.pool(name).unwrap());
        let same_route = |route: &str| {
            let route = name(route);
            Arc::ptr_eq(
                first.route_entry(&route).unwrap(),
                second.route_entry(&route).unwrap(),
            )
        };
        assert!(same_pool("web") && !same_pool("canary"));
        assert!(same_route("shop") && same_route("beta"));
        let beta = second.route_entry(&name("beta")).unwrap();
        assert!(
            Arc::ptr_eq(
                second.pool_of(beta).unwrap(),
                second.pool("canary").unwrap()
            ),
            "a route goes to its pool as it is now"
        );
    }
}

#[test]
fn the_table_is_kept_while_no_route_changes() {
    let registry = Registry::scratch();
    let before = shop();
    let first = compiled(&before, &registry, None).unwrap();
    let weights = put(
        &before,
        &[pool("web", &[(1, "ready"), (1, "ready"), (0, "ready")])],
    );
    let second = compiled(&weights, &registry, Some(&first)).unwrap();
    assert!(Arc::ptr_eq(&first.table, &second.table));
    let routes = put(&weights, &[route("more", &[], prefix("/"))]);
    let third = compiled(&routes, &registry, Some(&second)).unwrap();
    assert!(!Arc::ptr_eq(&second.table, &third.table));
    assert_eq!(found(&third, "x", "/"), "more");
}

#[test]
fn backends_are_the_same_over_revisions_until_their_address_changes() {
    let registry = Registry::scratch();
    let before = shop();
    let first = compiled(&before, &registry, None).unwrap();
    let request = first.pool("web").unwrap().members()[0].backend.begin();
    let mut moved = pool("web", &[(7, "drain"), (1, "ready")]);
    moved["backends"][1]["address"] = json!("127.0.0.1:9");
    let after = put(&before, &[moved]);
    let second = compiled(&after, &registry, Some(&first)).unwrap();
    let member =
        |snapshot: &Snapshot, i: usize| snapshot.pool("web").unwrap().members()[i].backend.clone();
    assert!(Arc::ptr_eq(&member(&first, 0), &member(&second, 0)));
    assert_eq!(member(&second, 0).in_flight(), 1);
    assert_ne!(member(&first, 1).key, member(&second, 1).key);
    drop(request);
    assert_eq!(member(&second, 0).in_flight(), 0);
}

#[test]
fn only_ready_members_with_a_weight_are_picked_from() {
    let members = [
        (1, "ready"),
        (0, "ready"),
        (1, "drain"),
        (1, "maint"),
        (2, "ready"),
    ];
    let snapshot = snapshot(&config(&[pool("web", &members)]));
    let web = snapshot.pool("web").unwrap();
    let ids: Vec<&str> = web
        .balancer
        .members()
        .iter()
        .map(|member| member.backend.id.as_str())
        .collect();
    assert_eq!(ids, ["a", "e"]);
    assert_eq!(web.members().len(), 5);
}

#[test]
fn a_route_splits_its_requests_exactly_by_weight() {
    let split = |canary: u16, web: u16| {
        let to = json!([{"pool": "canary", "weight": canary}, {"pool": "web", "weight": web}]);
        config(&[
            pool("web", &[]),
            pool("canary", &[]),
            json!({"name": "shop", "to": to}),
        ])
    };
    let snapshot_of = |canary, web| snapshot(&split(canary, web));
    let picked = |snapshot: &Snapshot| {
        let route = snapshot.route(&question("x", "/").asked()).unwrap();
        let picks = (0..200).filter_map(|_| Some(snapshot.pool_of(route)?.name.to_string()));
        picks.filter(|pool| pool == "canary").count()
    };
    assert_eq!(picked(&snapshot_of(5, 95)), 10);
    assert_eq!(picked(&snapshot_of(1, 1)), 100);
    assert_eq!(picked(&snapshot_of(0, 1)), 0);
    let nowhere = snapshot_of(0, 0);
    let route = nowhere.route(&question("x", "/").asked()).unwrap();
    assert!(nowhere.pool_of(route).is_none());
}

#[test]
fn what_cannot_be_served_is_told_before_it_is_proposed() {
    let broken = Config {
        pools: Pools::default(),
        ..(*shop()).clone()
    };
    let error = CompileError::UnknownPool {
        route: name("beta"),
        pool: name("canary"),
    };
    assert_eq!(
        check(&broken, &Arc::new(Registry::scratch()), None),
        Err(error.clone())
    );
    // Neither does a route that is not looked at for its own sake.
    let live = snapshot(&shop());
    assert_eq!(
        check(&broken, &Arc::new(Registry::scratch()), Some(&live)),
        Err(error)
    );
    assert_eq!(check(&shop(), &Arc::new(Registry::scratch()), None), Ok(()));
}

#[test]
fn checking_leaves_the_registry_alone() {
    let publisher = publisher();
    let live = publisher.activate(compiled(&shop(), &publisher.registry, None).unwrap());
    let entries = publisher.registry.entries();
    let drained = put(
        &shop(),
        &[pool(
            "web",
            &[(1, "drain"), (0, "ready"), (1, "ready"), (1, "ready")],
        )],
    );
    check(&drained, &Arc::new(Registry::scratch()), Some(&live)).unwrap();
    assert_eq!(publisher.registry.entries(), entries);
    assert!(
        live.pool("web")
            .unwrap()
            .members()
            .iter()
            .all(|member| member.backend.admits())
    );
}

#[test]
fn where_only_pools_differ_only_these_are_built() {
    let registry = Arc::new(Registry::scratch());
    let before = shop();
    let drained = put(&before, &[pool("web", &[(1, "drain"), (0, "ready")])]);
    assert_eq!(check_pools(&before, &drained, &registry, 1), Some(Ok(())));
    assert_eq!(
        check_pools(&before, &drained, &registry, 0),
        None,
        "too many"
    );
    let unknown = json!({"name": "web", "backends": [], "tls": {"ca": "nobody"}});
    let unservable = put(&before, &[unknown]);
    assert!(matches!(
        check_pools(&before, &unservable, &registry, 1),
        Some(Err(CompileError::Tls { .. }))
    ));
    let less = Config {
        pools: Pools::default(),
        ..(*before).clone()
    };
    assert_eq!(
        check_pools(&before, &less, &registry, 9),
        None,
        "pools went"
    );
    let others = Config {
        routes: Default::default(),
        ..(*before).clone()
    };
    assert_eq!(
        check_pools(&before, &others, &registry, 9),
        None,
        "routes too"
    );
}
