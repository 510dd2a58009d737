//! References between resources, checked on the result of a transaction: a route names only pools that are there.

use std::collections::BTreeSet;

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
    let aside = [
        ("mirror", route.mirror().map(|mirror| &mirror.pool)),
        ("forward_auth", route.forward_auth().map(|auth| &auth.pool)),
    ];
    for (field, pool) in aside {
        if let Some(pool) = pool.filter(|pool| !pools.contains_key(*pool)) {
            let place = root.field(field);
            faults.add(&place.field("pool"), no_such_pool(pool, pools));
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

/// The first of `removed` pools that a route names, and the routes that do, as paths, by name, at most
/// [`limits::LISTED`]. Looks at every route, once however many pools there are, and at none if there are none.
pub(super) fn referred(removed: BTreeSet<Name>, routes: &Routes) -> Option<(Name, Vec<String>)> {
    if removed.is_empty() {
        return None;
    }
    let named = routes.values().flat_map(|route| route.spec.pools());
    let first = named.filter(|pool| removed.contains(*pool)).min()?;
    let by = routes
        .values()
        .filter(|route| route.spec.pools().any(|pool| pool == first));
    let by = by.map(|route| format!("/routes/{}", route.spec.name));
    Some((first.clone(), by.take(limits::LISTED).collect()))
}
