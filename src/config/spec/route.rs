//! Reads routes. Whether the pools and policies they name are there is checked on the whole config, not here.

use std::collections::BTreeMap;

use serde_json::Value;

use super::matches::read_match;
use super::object::{Object, shown};
use super::policy::read_own;
use crate::config::fault::{Faults, Pointer};
use crate::config::{Match, Name, Route, Target, limits};

const ROUTE: &[&str] = &[
    "name",
    "match",
    "to",
    "policies",
    "timeouts",
    "retries",
    "rate_limit",
    "fence",
    "redirect",
    "rewrite",
    "headers",
    "clients",
    "cors",
    "max_body_bytes",
    "fault_injection",
    "mirror",
    "error_pages",
    "basic_auth",
    "compress",
    "forward_auth",
    "respond",
];
const TARGET: &[&str] = &["pool", "weight"];

/// Reads a route as far as it can be read; `None` if it has no name.
pub(in crate::config) fn read_route(
    value: &Value,
    at: &Pointer<'_>,
    name: Option<&Name>,
    faults: &mut Faults,
) -> Option<Route> {
    let object = Object::read(value, at, ROUTE, faults)?;
    let name = object.own_name("name", name, faults);
    let matches = object.get("match").map_or_else(Match::default, |value| {
        read_match(value, &at.field("match"), faults)
    });
    let to = read_targets(&object, &at.field("to"), faults);
    let policies = read_policies(&object, &at.field("policies"), faults);
    let policy = read_own(&object, &matches.path, at, faults);
    Some(Route {
        name: name?,
        matches,
        to,
        policies,
        policy,
    })
}

fn read_targets(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Vec<Target> {
    let to = object.get("to");
    let nowhere = to.is_none_or(|to| to.as_array().is_some_and(Vec::is_empty));
    let elsewhere = ["redirect", "respond"];
    if nowhere && elsewhere.iter().all(|field| object.get(field).is_none()) {
        faults.add(
            at,
            "must name one pool at least, such as [{\"pool\": \"web\"}]; only with `redirect` or `respond` it needs none",
        );
    }
    let mut first_of: BTreeMap<Name, usize> = BTreeMap::new();
    let mut targets = Vec::new();
    for (i, value) in object
        .list("to", limits::TARGETS_PER_ROUTE, faults)
        .iter()
        .enumerate()
    {
        let place = at.index(i);
        let Some(object) = Object::read(value, &place, TARGET, faults) else {
            continue;
        };
        let pool = object.name("pool", faults);
        let weight = object.integer("weight", 0..=limits::WEIGHT.into(), 1, faults);
        let Some(pool) = pool else { continue };
        if let Some(first) = first_of.get(&pool) {
            faults.add(
                &place.field("pool"),
                format!("must be there once; element {} names it too", first),
            );
            continue;
        }
        first_of.insert(pool.clone(), i);
        targets.push(Target {
            pool,
            weight: weight.try_into().unwrap_or(limits::WEIGHT),
        });
    }
    targets
}

/// The names of the policies that the route shares, each once.
fn read_policies(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Vec<Name> {
    let mut policies: Vec<Name> = Vec::new();
    let list = object.list("policies", limits::POLICIES_PER_ROUTE, faults);
    for (i, value) in list.iter().enumerate() {
        match value.as_str().map(Name::new) {
            Some(Ok(name)) if policies.contains(&name) => {
                faults.add(&at.index(i), "must be there once");
            }
            Some(Ok(name)) => policies.push(name),
            Some(Err(bad)) => faults.add(&at.index(i), bad.to_string()),
            None => {
                let detail = format!("must be the name of a policy, not {}", shown(value));
                faults.add(&at.index(i), detail);
            }
        }
    }
    policies
}
