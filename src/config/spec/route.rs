//! Reads routes. Whether the pools they name are there is checked on the whole config, not here.

use std::collections::BTreeMap;

use serde_json::Value;

use super::object::{Fields, Object, shown};
use crate::config::fault::{Faults, Pointer};
use crate::config::{HostPattern, Match, Name, PathMatch, Route, Target, limits};

const ROUTE: Fields = Fields {
    known: &["name", "match", "to"],
    planned: &[
        "policies", "timeouts", "retries", "redirect", "rewrite", "headers", "mirror", "cors",
        "fence",
    ],
};
const MATCH: Fields = Fields {
    known: &["hosts", "path"],
    planned: &["method", "methods", "headers", "query"],
};
const PATH: Fields = Fields {
    known: &["exact", "prefix"],
    planned: &["regex"],
};
const TARGET: Fields = Fields {
    known: &["pool", "weight"],
    planned: &[],
};

/// Reads a route as far as it can be read; `None` if it has no name.
pub(in crate::config) fn read_route(
    value: &Value,
    at: &Pointer<'_>,
    name: Option<&Name>,
    faults: &mut Faults,
) -> Option<Route> {
    let object = Object::read(value, at, &ROUTE, faults)?;
    let name = object.own_name("name", name, faults);
    let matches = object.get("match").map_or_else(Match::default, |value| {
        read_match(value, &at.field("match"), faults)
    });
    let to = read_targets(&object, &at.field("to"), faults);
    Some(Route {
        name: name?,
        matches,
        to,
    })
}

fn read_match(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Match {
    let Some(object) = Object::read(value, at, &MATCH, faults) else {
        return Match::default();
    };
    let hosts = read_hosts(&object, &at.field("hosts"), faults);
    let path = object.get("path").map_or_else(PathMatch::default, |value| {
        read_path(value, &at.field("path"), faults)
    });
    Match { hosts, path }
}

fn read_hosts(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Vec<HostPattern> {
    let mut hosts = Vec::new();
    for (i, value) in object
        .list("hosts", limits::HOSTS_PER_ROUTE, faults)
        .iter()
        .enumerate()
    {
        let Some(text) = value.as_str() else {
            faults.add(
                &at.index(i),
                format!("must be a host name, not {}", shown(value)),
            );
            continue;
        };
        match HostPattern::parse(text) {
            Ok(host) if hosts.contains(&host) => {
                faults.add(
                    &at.index(i),
                    format!("must be there once; `{host}` comes before"),
                );
            }
            Ok(host) => hosts.push(host),
            Err(expected) => faults.add(&at.index(i), format!("{expected}, not {}", shown(value))),
        }
    }
    hosts
}

fn read_path(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> PathMatch {
    let Some(object) = Object::read(value, at, &PATH, faults) else {
        return PathMatch::default();
    };
    let mut text = |field| {
        object.get(field)?;
        let text = object.text(field, "a path such as \"/api\"", faults)?;
        if let Some(wrong) = wrong_with_path(text) {
            faults.add(
                &at.field(field),
                format!("{wrong}, not {}", shown(&Value::from(text))),
            );
        }
        Some(text.to_owned())
    };
    let (exact, prefix) = (text("exact"), text("prefix"));
    match (object.get("exact"), object.get("prefix")) {
        (Some(_), Some(_)) => faults.add(at, "must have `exact` or `prefix`, not both"),
        (None, None) => faults.add(
            at,
            "must have `exact` or `prefix`, such as {\"prefix\": \"/\"}",
        ),
        _ => {}
    }
    exact
        .map(PathMatch::Exact)
        .or(prefix.map(PathMatch::Prefix))
        .unwrap_or_default()
}

fn wrong_with_path(text: &str) -> Option<&'static str> {
    if !text.starts_with('/') {
        Some("must begin with `/`")
    } else if text.len() > limits::PATH_BYTES {
        Some("must have at most 2048 bytes")
    } else if text.contains(['?', '#']) {
        Some("must be a path alone, without `?` or `#`")
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("must be visible ASCII, all else percent-encoded")
    } else {
        None
    }
}

fn read_targets(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Vec<Target> {
    if object
        .get("to")
        .is_none_or(|to| to.as_array().is_some_and(Vec::is_empty))
    {
        faults.add(
            at,
            "must name one pool at least, such as [{\"pool\": \"web\"}]",
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
        let Some(object) = Object::read(value, &place, &TARGET, faults) else {
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
