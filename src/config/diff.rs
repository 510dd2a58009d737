//! What lies between two configs, as the smallest list of changes that people read and history keeps. It is enough
//! to get from either to the other; `undo` goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::policy::ErrorPage;
use super::{
    Backend, Config, Difference, Name, Policy, Pool, Resources, Route, SharedPolicy, friendly,
};

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

/// What lies between `old` and `new`, pools before routes before policies, by name. Revisions do not count.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let text = diff_text(old, new);
    serde_json::from_str(&text).expect("it is what changes are written as")
}

/// The same as compact JSON, as history keeps it: each change of a config is written, on every node.
pub(crate) fn diff_text(old: &Config, new: &Config) -> String {
    let mut changes = Changes::default();
    resources("/pools", &old.pools, &new.pools, pool, &mut changes);
    resources("/routes", &old.routes, &new.routes, route, &mut changes);
    let fields = |path: &str, old: &SharedPolicy, new: &SharedPolicy, changes: &mut Changes| {
        policy(path, &old.policy, &new.policy, changes);
    };
    resources(
        "/policies",
        &old.policies,
        &new.policies,
        fields,
        &mut changes,
    );
    changes.finish()
}

/// A list of changes, as JSON.
#[derive(Default)]
struct Changes(Vec<u8>);

/// One of them.
#[derive(Serialize)]
struct Written<'a, T> {
    path: &'a str,
    before: Option<T>,
    after: Option<T>,
}

impl Changes {
    fn push<T: Serialize>(&mut self, path: &str, before: Option<T>, after: Option<T>) {
        // What most changes take: room is made once.
        self.0.reserve(512);
        self.0.push(if self.0.is_empty() { b'[' } else { b',' });
        let change = Written {
            path,
            before,
            after,
        };
        serde_json::to_writer(&mut self.0, &change)
            .expect("specs serialise without fail: string keys, no floats, no failing Serialize");
    }

    fn finish(mut self) -> String {
        self.0.extend_from_slice(match self.0.is_empty() {
            true => b"[]",
            false => b"]",
        });
        String::from_utf8(self.0).expect("JSON is UTF-8")
    }
}

fn resources<T: PartialEq + Serialize>(
    root: &str,
    old: &Resources<T>,
    new: &Resources<T>,
    fields: impl Fn(&str, &T, &T, &mut Changes),
    changes: &mut Changes,
) {
    for Difference { key, before, after } in old.differences(new) {
        let path = [root, "/", key.as_str()].concat();
        match (before, after) {
            (Some(old), Some(new)) => fields(&path, &old.spec, &new.spec, changes),
            (old, new) => {
                changes.push(&path, old.map(|old| &old.spec), new.map(|new| &new.spec));
            }
        }
    }
}

fn pool(path: &str, old: &Pool, new: &Pool, changes: &mut Changes) {
    let Pool {
        name: _,
        balance,
        hash,
        bounded_load,
        backends: from,
        timeouts,
        retries,
        proxy_protocol,
        tls,
        protocol,
        health,
        outlier,
        slow_start,
        limits,
        sticky,
    } = old;
    field(path, "balance", balance, &new.balance, changes);
    optional(path, "hash", hash, &new.hash, changes);
    optional(
        path,
        "bounded_load",
        bounded_load,
        &new.bounded_load,
        changes,
    );
    backends(path, from, &new.backends, changes);
    field(path, "timeouts", timeouts, &new.timeouts, changes);
    field(path, "retries", retries, &new.retries, changes);
    optional(
        path,
        "proxy_protocol",
        proxy_protocol,
        &new.proxy_protocol,
        changes,
    );
    optional(path, "tls", tls, &new.tls, changes);
    field(path, "protocol", protocol, &new.protocol, changes);
    optional(path, "health", health, &new.health, changes);
    field(path, "outlier", outlier, &new.outlier, changes);
    let words = |time: &Option<Duration>| time.map(friendly::print);
    let (old_window, new_window) = (words(slow_start), words(&new.slow_start));
    optional(path, "slow_start", &old_window, &new_window, changes);
    optional(path, "limits", limits, &new.limits, changes);
    optional(path, "sticky", sticky, &new.sticky, changes);
}

fn route(path: &str, old: &Route, new: &Route, changes: &mut Changes) {
    let Route {
        name: _,
        matches,
        to,
        policies,
        policy: own,
    } = old;
    field(path, "match", matches, &new.matches, changes);
    field(path, "to", to, &new.to, changes);
    let list = |names: &Vec<Name>| (!names.is_empty()).then(|| names.clone());
    optional(
        path,
        "policies",
        &list(policies),
        &list(&new.policies),
        changes,
    );
    let or_none = |policy: &Option<Arc<Policy>>| policy.clone().unwrap_or_default();
    policy(path, &or_none(own), &or_none(&new.policy), changes);
}

fn policy(path: &str, before: &Policy, after: &Policy, changes: &mut Changes) {
    let Policy {
        timeouts,
        retries,
        rate_limit,
        fence,
        basic_auth,
        clients,
        redirect,
        respond,
        rewrite,
        cors,
        max_body_bytes,
        headers,
        fault_injection,
        mirror,
        error_pages,
        compress,
        forward_auth,
    } = before;
    optional(path, "timeouts", timeouts, &after.timeouts, changes);
    optional(path, "retries", retries, &after.retries, changes);
    optional(path, "fence", fence, &after.fence, changes);
    optional(path, "basic_auth", basic_auth, &after.basic_auth, changes);
    optional(
        path,
        "forward_auth",
        forward_auth,
        &after.forward_auth,
        changes,
    );
    optional(path, "clients", clients, &after.clients, changes);
    optional(path, "redirect", redirect, &after.redirect, changes);
    optional(path, "respond", respond, &after.respond, changes);
    optional(path, "rewrite", rewrite, &after.rewrite, changes);
    optional(path, "cors", cors, &after.cors, changes);
    optional(
        path,
        "max_body_bytes",
        max_body_bytes,
        &after.max_body_bytes,
        changes,
    );
    optional(path, "headers", headers, &after.headers, changes);
    optional(
        path,
        "fault_injection",
        fault_injection,
        &after.fault_injection,
        changes,
    );
    optional(path, "mirror", mirror, &after.mirror, changes);
    optional(path, "compress", compress, &after.compress, changes);
    let pages = |pages: &Arc<[ErrorPage]>| (!pages.is_empty()).then(|| pages.clone());
    let (old_pages, new_pages) = (pages(error_pages), pages(&after.error_pages));
    optional(path, "error_pages", &old_pages, &new_pages, changes);
    optional(path, "rate_limit", rate_limit, &after.rate_limit, changes);
}

fn field<T: PartialEq + Serialize>(
    path: &str,
    name: &str,
    old: &T,
    new: &T,
    changes: &mut Changes,
) {
    if old != new {
        changes.push(&[path, "/", name].concat(), Some(old), Some(new));
    }
}

/// A field that may be left out.
fn optional<T: PartialEq + Serialize>(
    path: &str,
    name: &str,
    old: &Option<T>,
    new: &Option<T>,
    changes: &mut Changes,
) {
    if old != new {
        changes.push(&[path, "/", name].concat(), old.as_ref(), new.as_ref());
    }
}

fn backends(path: &str, old: &[Backend], new: &[Backend], changes: &mut Changes) {
    if same_ids(old, new) {
        for (old, new) in old.iter().zip(new).filter(|(old, new)| old != new) {
            let path = [path, "/backends/", new.id.as_str()].concat();
            changes.push(&path, Some(old), Some(new));
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
            let path = [path, "/backends/", id.as_str()].concat();
            changes.push(&path, before, after);
        }
    }
    if !follows(old, &old_places, new, &new_places) || !follows(new, &new_places, old, &old_places)
    {
        let ids = |list: &'_ [Backend]| -> Vec<Name> {
            list.iter().map(|backend| backend.id.clone()).collect()
        };
        changes.push(&format!("{path}/backends"), Some(ids(old)), Some(ids(new)));
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
