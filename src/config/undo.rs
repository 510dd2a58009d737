//! Takes changes back: from a config to what it was before them. History keeps only differences and the newest
//! config; older ones are made by this. It reads what `diff` wrote, and passes over what `diff` cannot have written.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::spec::{WHOLE, read_policy, read_pool, read_route, to_json};
use super::{Change, Config, Faults, Name, Revision, build};

/// A config on its way back.
pub(crate) struct Undo<'a> {
    newest: &'a Config,
    /// Pools taken back so far, as JSON but for `backends`, which is an object by id, in order.
    pools: BTreeMap<Name, Option<Map<String, Value>>>,
    /// Routes taken back so far, as JSON.
    routes: BTreeMap<Name, Option<Map<String, Value>>>,
    /// Policies taken back so far, as JSON.
    policies: BTreeMap<Name, Option<Map<String, Value>>>,
}

impl<'a> Undo<'a> {
    /// Nothing is taken back yet.
    pub(crate) fn new(newest: &'a Config) -> Self {
        Self {
            newest,
            pools: BTreeMap::new(),
            routes: BTreeMap::new(),
            policies: BTreeMap::new(),
        }
    }

    /// Takes one change back: those of the newest revision first, of one revision in the order `diff` gave them.
    pub(crate) fn take_back(&mut self, change: Change) {
        let mut segments = change.path.split('/').skip(1);
        let (Some(kind), Some(name)) = (
            segments.next(),
            segments.next().and_then(|name| Name::new(name).ok()),
        ) else {
            return;
        };
        let (field, id) = (segments.next(), segments.next());
        let before = change.before;
        match (kind, field, id) {
            ("pools", None, None) => {
                self.pools
                    .insert(name, before.and_then(object).map(backends_by_id));
            }
            ("routes", None, None) => {
                self.routes.insert(name, before.and_then(object));
            }
            ("policies", None, None) => {
                self.policies.insert(name, before.and_then(object));
            }
            ("pools", Some("backends"), id) => {
                let Some(Value::Object(backends)) =
                    self.pool(name).and_then(|pool| pool.get_mut("backends"))
                else {
                    return;
                };
                match (id, before) {
                    (Some(id), Some(before)) => drop(backends.insert(id.to_owned(), before)),
                    (Some(id), None) => drop(backends.shift_remove(id)),
                    (None, order) => reorder(backends, order),
                }
            }
            ("pools", Some(field), None) => set(self.pool(name), field, before),
            ("routes", Some(field), None) => set(self.route(name), field, before),
            ("policies", Some(field), None) => set(self.policy(name), field, before),
            _ => {}
        }
    }

    /// The config before all that was taken back, at `revision`. What differs from the newest config carries that
    /// revision too: when exactly it had last changed then is not kept.
    pub(crate) fn finish(self, revision: Revision) -> Config {
        // What was written once had no fault; if this build finds one, it keeps what it can read.
        let faults = &mut Faults::new();
        let newest = self.newest;
        let mut pools = BTreeMap::new();
        for (name, pool) in self.pools {
            let pool = pool.map(backends_listed);
            let pool = pool.and_then(|pool| read_pool(&pool, &WHOLE, Some(&name), faults));
            pools.insert(name, pool);
        }
        let mut routes = BTreeMap::new();
        for (name, route) in self.routes {
            let route = route.map(Value::Object);
            let route = route.and_then(|route| read_route(&route, &WHOLE, Some(&name), faults));
            routes.insert(name, route);
        }
        let mut policies = BTreeMap::new();
        for (name, policy) in self.policies {
            let policy = policy.map(Value::Object);
            let policy =
                policy.and_then(|policy| read_policy(&policy, &WHOLE, Some(&name), faults));
            policies.insert(name, policy);
        }
        Config {
            revision,
            pools: build::pools(&newest.pools, pools, revision),
            routes: build::partless(&newest.routes, routes, revision),
            policies: build::partless(&newest.policies, policies, revision),
            sticky_key: newest.sticky_key,
        }
    }

    fn pool(&mut self, name: Name) -> Option<&mut Map<String, Value>> {
        let newest = self.newest.pools.get(&name);
        let load = || {
            newest
                .and_then(|pool| object(to_json(&pool.spec)))
                .map(backends_by_id)
        };
        self.pools.entry(name).or_insert_with(load).as_mut()
    }

    fn route(&mut self, name: Name) -> Option<&mut Map<String, Value>> {
        let newest = self.newest.routes.get(&name);
        let load = || newest.and_then(|route| object(to_json(&route.spec)));
        self.routes.entry(name).or_insert_with(load).as_mut()
    }

    fn policy(&mut self, name: Name) -> Option<&mut Map<String, Value>> {
        let newest = self.newest.policies.get(&name);
        let load = || newest.and_then(|policy| object(to_json(&policy.spec)));
        self.policies.entry(name).or_insert_with(load).as_mut()
    }
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

fn set(resource: Option<&mut Map<String, Value>>, field: &str, before: Option<Value>) {
    let Some(resource) = resource else { return };
    match before {
        Some(before) => drop(resource.insert(field.to_owned(), before)),
        None => drop(resource.shift_remove(field)),
    }
}

/// Puts the backends in the order of `ids`; those it does not name keep theirs behind them.
fn reorder(backends: &mut Map<String, Value>, ids: Option<Value>) {
    let Some(Value::Array(ids)) = ids else { return };
    let mut rest = std::mem::take(backends);
    for id in ids.iter().filter_map(Value::as_str) {
        if let Some(backend) = rest.swap_remove(id) {
            backends.insert(id.to_owned(), backend);
        }
    }
    backends.extend(rest);
}

fn backends_by_id(mut pool: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Array(list)) = pool.get_mut("backends").map(Value::take) {
        let id = |backend: &Value| {
            backend
                .get("id")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let by_id: Map<String, Value> = list
            .into_iter()
            .map(|backend| (id(&backend), backend))
            .collect();
        pool.insert("backends".to_owned(), Value::Object(by_id));
    }
    pool
}

fn backends_listed(mut pool: Map<String, Value>) -> Value {
    if let Some(Value::Object(by_id)) = pool.get_mut("backends").map(Value::take) {
        let list = by_id.into_iter().map(|(_, backend)| backend).collect();
        pool.insert("backends".to_owned(), Value::Array(list));
    }
    Value::Object(pool)
}
