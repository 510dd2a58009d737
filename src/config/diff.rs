//! What lies between two configs, as the smallest list of changes that people read and history keeps. It is enough
//! to get from either to the other; `undo` goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::spec::to_json;
use super::{Backend, Config, Name, Pool, Resources, Route};

/// One value that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What: a whole resource that came or went, `/pools/web`; a backend, `/pools/web/backends/b1`; a field of a
    /// resource, `/pools/web/balance`; or, where it is not told by the rest, the order of the ids of a pool's
    /// backends, `/pools/web/backends`.
    pub path: String,
    /// Its value before; `None` (JSON `null`): it was not there.
    pub before: Option<Value>,
    /// Its value after; `None` (JSON `null`): it is gone.
    pub after: Option<Value>,
}

/// What lies between `old` and `new`, pools before routes, by name. Revisions do not count.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    if !Arc::ptr_eq(&old.pools, &new.pools) {
        resources("/pools", &old.pools, &new.pools, pool, &mut changes);
    }
    if !Arc::ptr_eq(&old.routes, &new.routes) {
        resources("/routes", &old.routes, &new.routes, route, &mut changes);
    }
    changes
}

fn resources<T: Serialize>(
    root: &str,
    old: &Resources<T>,
    new: &Resources<T>,
    fields: impl Fn(&str, &T, &T, &mut Vec<Change>),
    changes: &mut Vec<Change>,
) {
    let names: BTreeSet<&Name> = old.keys().chain(new.keys()).collect();
    for name in names {
        match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) if Arc::ptr_eq(old, new) => {}
            (Some(old), Some(new)) => {
                fields(&format!("{root}/{name}"), &old.spec, &new.spec, changes)
            }
            (old, new) => changes.push(Change {
                path: format!("{root}/{name}"),
                before: old.map(|old| to_json(&old.spec)),
                after: new.map(|new| to_json(&new.spec)),
            }),
        }
    }
}

fn pool(path: &str, old: &Pool, new: &Pool, changes: &mut Vec<Change>) {
    let Pool {
        name: _,
        balance,
        backends: from,
        timeouts,
        retries,
        health,
    } = old;
    field(path, "balance", balance, &new.balance, changes);
    backends(path, from, &new.backends, changes);
    field(path, "timeouts", timeouts, &new.timeouts, changes);
    field(path, "retries", retries, &new.retries, changes);
    optional(path, "health", health, &new.health, changes);
}

fn route(path: &str, old: &Route, new: &Route, changes: &mut Vec<Change>) {
    let Route {
        name: _,
        matches,
        to,
    } = old;
    field(path, "match", matches, &new.matches, changes);
    field(path, "to", to, &new.to, changes);
}

fn field<T: PartialEq + Serialize>(
    path: &str,
    name: &str,
    old: &T,
    new: &T,
    changes: &mut Vec<Change>,
) {
    if old != new {
        let (before, after) = (Some(to_json(old)), Some(to_json(new)));
        changes.push(Change {
            path: format!("{path}/{name}"),
            before,
            after,
        });
    }
}

/// A field that may be left out.
fn optional<T: PartialEq + Serialize>(
    path: &str,
    name: &str,
    old: &Option<T>,
    new: &Option<T>,
    changes: &mut Vec<Change>,
) {
    if old != new {
        changes.push(Change {
            path: format!("{path}/{name}"),
            before: old.as_ref().map(to_json),
            after: new.as_ref().map(to_json),
        });
    }
}

fn backends(path: &str, old: &[Backend], new: &[Backend], changes: &mut Vec<Change>) {
    if same_ids(old, new) {
        for (old, new) in old.iter().zip(new).filter(|(old, new)| old != new) {
            let path = format!("{path}/backends/{}", new.id);
            changes.push(Change {
                path,
                before: Some(to_json(old)),
                after: Some(to_json(new)),
            });
        }
        return;
    }
    let by_id = |list: &'_ [Backend]| -> BTreeMap<Name, usize> {
        list.iter()
            .enumerate()
            .map(|(i, backend)| (backend.id.clone(), i))
            .collect()
    };
    let (old_places, new_places) = (by_id(old), by_id(new));
    let ids: BTreeSet<&Name> = old_places.keys().chain(new_places.keys()).collect();
    for id in ids {
        let before = old_places.get(id).map(|i| &old[*i]);
        let after = new_places.get(id).map(|i| &new[*i]);
        if before != after {
            let path = format!("{path}/backends/{id}");
            changes.push(Change {
                path,
                before: before.map(to_json),
                after: after.map(to_json),
            });
        }
    }
    if !follows(old, &old_places, new, &new_places) || !follows(new, &new_places, old, &old_places)
    {
        let ids = |list: &[Backend]| {
            Some(
                list.iter()
                    .map(|backend| Value::from(backend.id.as_str()))
                    .collect(),
            )
        };
        changes.push(Change {
            path: format!("{path}/backends"),
            before: ids(old),
            after: ids(new),
        });
    }
}

/// Whether both have the same ids in the same order, as after a change of weights or states.
pub(super) fn same_ids(old: &[Backend], new: &[Backend]) -> bool {
    let ids = |list| <[Backend]>::iter(list).map(|backend| &backend.id);
    ids(old).eq(ids(new))
}

/// Whether the order of `to` is the one that changing `from` id by id gives: those that stay in their order, then
/// the new ones by id.
fn follows(
    from: &[Backend],
    from_places: &BTreeMap<Name, usize>,
    to: &[Backend],
    to_places: &BTreeMap<Name, usize>,
) -> bool {
    let stayed = from
        .iter()
        .map(|backend| &backend.id)
        .filter(|id| to_places.contains_key(*id));
    let came = to_places.keys().filter(|id| !from_places.contains_key(*id));
    stayed.chain(came).eq(to.iter().map(|backend| &backend.id))
}
