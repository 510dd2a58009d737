//! References between resources, checked on the result of a transaction: a route names only pools that are there.

use super::fault::{Faults, Pointer};
use super::spec::nearest;
use super::{Name, Pools, Route, Routes, limits};

/// Notes every pool that `route`, written at `at`, names and that is not in `pools`.
pub(super) fn check_route(route: &Route, at: &str, pools: &Pools, faults: &mut Faults) {
    let (root, to) = (Pointer::Root(at), "to");
    for (i, target) in route.to.iter().enumerate() {
        if !pools.contains_key(&target.pool) {
            let place = root.field(to);
            faults.add(
                &place.index(i).field("pool"),
                no_such_pool(&target.pool, pools),
            );
        }
    }
}

fn no_such_pool(name: &Name, pools: &Pools) -> String {
    if pools.is_empty() {
        return format!("there is no pool `{name}`, nor any other");
    }
    let meant = nearest(name.as_str(), pools.keys().map(Name::as_str));
    let meant = meant.map_or(String::new(), |meant| format!(" did you mean `{meant}`?"));
    let mut listed: Vec<&str> = pools
        .keys()
        .take(limits::LISTED)
        .map(Name::as_str)
        .collect();
    if pools.len() > limits::LISTED {
        listed.push("...");
    }
    format!(
        "there is no pool `{name}`;{meant} pools are: {}",
        listed.join(", ")
    )
}

/// The routes that name `pool`, as paths, by name, at most [`limits::LISTED`].
pub(super) fn referring(pool: &Name, routes: &Routes) -> Vec<String> {
    routes
        .values()
        .filter(|route| route.spec.to.iter().any(|target| target.pool == *pool))
        .take(limits::LISTED)
        .map(|route| format!("/routes/{}", route.spec.name))
        .collect()
}
