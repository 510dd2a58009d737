//! References between resources, checked on the result of a transaction: routes and policies name only what is there.

use std::collections::BTreeSet;

use super::fault::{Faults, Pointer};
use super::spec::nearest;
use super::{
    Config, Name, Policies, Policy, Pools, Rejection, ResourcePath, Resources, Route, SharedPolicy,
    limits,
};

/// Notes every pool and policy that `route`, written at `at`, names and that is not there.
pub(super) fn check_route(
    route: &Route,
    at: &str,
    pools: &Pools,
    policies: &Policies,
    faults: &mut Faults,
) {
    let root = Pointer::Root(at);
    let to = root.field("to");
    for (i, target) in route.to.iter().enumerate() {
        check(
            "pool",
            &target.pool,
            pools,
            &to.index(i).field("pool"),
            faults,
        );
    }
    let list = root.field("policies");
    for (i, policy) in route.policies.iter().enumerate() {
        check("policy", policy, policies, &list.index(i), faults);
    }
    if let Some(policy) = &route.policy {
        check_policy(policy, at, pools, faults);
    }
}

/// Notes every pool that a policy, written at `at`, names and that is not there.
pub(super) fn check_policy(policy: &Policy, at: &str, pools: &Pools, faults: &mut Faults) {
    let root = Pointer::Root(at);
    for (field, pool) in policy.pools() {
        let place = root.field(field);
        check("pool", pool, pools, &place.field("pool"), faults);
    }
}

fn check<T>(kind: &str, name: &Name, there: &Resources<T>, at: &Pointer<'_>, faults: &mut Faults) {
    if !there.contains_key(name) {
        faults.add(at, missing(kind, name, there));
    }
}

fn missing<T>(kind: &str, name: &Name, there: &Resources<T>) -> String {
    if there.is_empty() {
        return format!("there is no {kind} `{name}`, nor any other");
    }
    let meant = nearest(name.as_str(), there.keys().map(Name::as_str));
    let meant = meant.map_or(String::new(), |meant| format!(" did you mean `{meant}`?"));
    let mut listed: Vec<&str> = there
        .keys()
        .take(limits::LISTED)
        .map(Name::as_str)
        .collect();
    if there.len() > limits::LISTED {
        listed.push("...");
    }
    let kinds = if kind == "pool" { "pools" } else { "policies" };
    let listed = listed.join(", ");
    format!("there is no {kind} `{name}`;{meant} {kinds} are: {listed}")
}

/// Refuses the first of the removed pools, or else policies, by name, that `next` still refers to. Looks at every route
/// and policy, once however many were removed, and at none if none were.
pub(super) fn check_removed(
    pools: &BTreeSet<Name>,
    policies: &BTreeSet<Name>,
    next: &Config,
) -> Result<(), Rejection> {
    let routes = || next.routes.values().map(|route| &route.spec);
    let shared = || next.policies.values().map(|policy| &policy.spec);
    let named = routes()
        .flat_map(Route::pools)
        .chain(shared().flat_map(pools_of));
    if let Some(pool) = first(named, pools) {
        let routes = routes().filter(|route| route.pools().any(|named| named == pool));
        let routes = routes.map(|route| ResourcePath::Route(route.name.clone()));
        let shared = shared().filter(|it| pools_of(it).any(|named| named == pool));
        let shared = shared.map(|policy| ResourcePath::Policy(policy.name.clone()));
        let path = ResourcePath::Pool(pool.clone());
        return Err(referred(path, routes.chain(shared)));
    }
    let named = routes().flat_map(|route| &route.policies);
    if let Some(policy) = first(named, policies) {
        let routes = routes().filter(|route| route.policies.contains(policy));
        let routes = routes.map(|route| ResourcePath::Route(route.name.clone()));
        return Err(referred(ResourcePath::Policy(policy.clone()), routes));
    }
    Ok(())
}

fn pools_of(policy: &SharedPolicy) -> impl Iterator<Item = &Name> {
    policy.policy.pools().map(|(_, pool)| pool)
}

/// The first of those removed that is named.
fn first<'a>(named: impl Iterator<Item = &'a Name>, removed: &BTreeSet<Name>) -> Option<&'a Name> {
    match removed.is_empty() {
        true => None,
        false => named.filter(|name| removed.contains(*name)).min(),
    }
}

/// By at most [`limits::LISTED`].
fn referred(path: ResourcePath, by: impl Iterator<Item = ResourcePath>) -> Rejection {
    let by = by.take(limits::LISTED).map(|by| by.to_string());
    Rejection::Referred {
        path: path.to_string(),
        by: by.collect(),
    }
}
