//! Builds the next config's maps: what is equal stays the very resource it was, revision and all; what differs is
//! made anew. A map without a difference stays the same allocation.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::diff::same_ids;
use super::spec::WHOLE;
use super::{
    Backend, Faults, Name, Pool, Pools, Resource, Resources, Revision, Route, Routes, limits,
};

/// The next pools.
pub(super) fn pools(
    base: &Arc<Pools>,
    written: BTreeMap<Name, Option<Pool>>,
    revision: Revision,
) -> Arc<Pools> {
    next(base, written, revision, |pool, old| {
        parts(&pool.backends, old, revision)
    })
}

/// When each backend last changed: now, unless it was there and is equal.
fn parts(
    backends: &[Backend],
    old: Option<&Resource<Pool>>,
    revision: Revision,
) -> BTreeMap<Name, Revision> {
    let changed_now = |backend: &Backend| (backend.id.clone(), revision);
    let Some(old) = old else {
        return backends.iter().map(changed_now).collect();
    };
    let before = &old.spec.backends;
    if same_ids(before, backends) {
        let pairs = before.iter().zip(backends);
        let changed = pairs.filter(|(before, after)| before != after);
        let mut parts = old.parts().clone();
        parts.extend(changed.map(|(_, after)| changed_now(after)));
        return parts;
    }
    let before = by_id(before);
    let part = |backend: &Backend| {
        let unchanged = before.get(&backend.id) == Some(&backend);
        let part = unchanged.then(|| old.part(&backend.id)).flatten();
        (backend.id.clone(), part.unwrap_or(revision))
    };
    backends.iter().map(part).collect()
}

/// The next routes.
pub(super) fn routes(
    base: &Arc<Routes>,
    written: BTreeMap<Name, Option<(Route, String)>>,
    revision: Revision,
) -> Arc<Routes> {
    let written = written
        .into_iter()
        .map(|(name, route)| (name, route.map(|(route, _)| route)));
    next(base, written, revision, |_, _| BTreeMap::new())
}

fn by_id(backends: &[Backend]) -> BTreeMap<&Name, &Backend> {
    backends
        .iter()
        .map(|backend| (&backend.id, backend))
        .collect()
}

/// `base` with what was written, where it differs.
fn next<T: Clone + PartialEq + Serialize>(
    base: &Arc<Resources<T>>,
    written: impl IntoIterator<Item = (Name, Option<T>)>,
    revision: Revision,
    parts: impl Fn(&T, Option<&Resource<T>>) -> BTreeMap<Name, Revision>,
) -> Arc<Resources<T>> {
    let mut map = Arc::clone(base);
    for (name, spec) in written {
        let old = base.get(&name);
        match spec {
            None if old.is_none() => {}
            None => {
                Arc::make_mut(&mut map).remove(&name);
            }
            Some(spec) if old.is_some_and(|old| old.spec == spec) => {}
            Some(spec) => {
                let parts = parts(&spec, old.map(AsRef::as_ref));
                let created = old.map_or(revision, |old| old.created);
                let resource = Resource::new(spec, created, revision, parts);
                Arc::make_mut(&mut map).insert(name, Arc::new(resource));
            }
        }
    }
    map
}

/// Notes every limit of a whole config that these pass.
pub(super) fn check_limits(pools: &Pools, routes: &Routes, faults: &mut Faults) {
    let backends: usize = pools.values().map(|pool| pool.spec.backends.len()).sum();
    let bytes = pools.values().map(|pool| pool.bytes).sum::<usize>()
        + routes.values().map(|route| route.bytes).sum::<usize>();
    let fullest = pools
        .values()
        .map(|pool| pool.spec.backends.len())
        .max()
        .unwrap_or(0);
    for (what, count, most) in [
        ("pools", pools.len(), limits::POOLS),
        ("routes", routes.len(), limits::ROUTES),
        ("backends in one pool", fullest, limits::BACKENDS_PER_POOL),
        ("backends", backends, limits::BACKENDS),
        ("bytes of canonical JSON", bytes, limits::CONFIG_BYTES),
    ] {
        if count > most {
            let detail =
                format!("would make a config of {count} {what}: at most {most} are allowed");
            faults.add(&WHOLE, detail);
        }
    }
}
