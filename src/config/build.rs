//! Builds the next config's maps: what is equal stays the very resource it was, revision and all; what differs is
//! made anew. A map without a difference stays the same memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::diff::same_ids;
use super::resource::Spec;
use super::spec::WHOLE;
use super::{Backend, Config, Faults, Name, Pool, Pools, Resource, Resources, Revision, limits};

/// The next pools.
pub(super) fn pools(
    base: &Pools,
    written: impl IntoIterator<Item = (Name, Option<Pool>)>,
    revision: Revision,
) -> Pools {
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

/// The next routes or policies, which have no parts.
pub(super) fn partless<T: PartialEq + Spec>(
    base: &Resources<T>,
    written: impl IntoIterator<Item = (Name, Option<T>)>,
    revision: Revision,
) -> Resources<T> {
    next(base, written, revision, |_, _| BTreeMap::new())
}

fn by_id(backends: &[Backend]) -> BTreeMap<&Name, &Backend> {
    backends
        .iter()
        .map(|backend| (&backend.id, backend))
        .collect()
}

/// `base` with what was written, where it differs.
fn next<T: PartialEq + Spec>(
    base: &Resources<T>,
    written: impl IntoIterator<Item = (Name, Option<T>)>,
    revision: Revision,
    parts: impl Fn(&T, Option<&Resource<T>>) -> BTreeMap<Name, Revision>,
) -> Resources<T> {
    let mut map = base.clone();
    for (name, spec) in written {
        let old = base.get(&name);
        match spec {
            None => map.remove(&name),
            Some(spec) if old.is_some_and(|old| old.spec == spec) => {}
            Some(spec) => {
                let parts = parts(&spec, old.map(AsRef::as_ref));
                let created = old.map_or(revision, |old| old.created);
                let resource = Resource::new(spec, created, revision, parts);
                map.insert(name, Arc::new(resource));
            }
        }
    }
    map
}

/// Notes every limit that a config passes; `fullest` are the backends of the fullest pool that was written.
pub(super) fn check_limits(config: &Config, fullest: usize, faults: &mut Faults) {
    let Config {
        pools,
        routes,
        policies,
        ..
    } = config;
    let (of_pools, of_routes) = (pools.totals(), routes.totals());
    let bytes = of_pools.bytes + of_routes.bytes + policies.totals().bytes;
    for (what, count, most) in [
        ("pools", pools.len(), limits::POOLS),
        ("routes", routes.len(), limits::ROUTES),
        ("policies", policies.len(), limits::POLICIES),
        ("backends in one pool", fullest, limits::BACKENDS_PER_POOL),
        ("backends", of_pools.parts, limits::BACKENDS),
        ("regular expressions", of_routes.patterns, limits::PATTERNS),
        ("bytes of canonical JSON", bytes, limits::CONFIG_BYTES),
    ] {
        if count > most {
            let detail =
                format!("would make a config of {count} {what}: at most {most} are allowed");
            faults.add(&WHOLE, detail);
        }
    }
}
