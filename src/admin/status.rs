//! The `status` of a resource: what this node sees of it, replicated nowhere.
//!
//! Counters are since this process began, and go on over config changes.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::AdminState;
use crate::config::{Config, Name, ResourcePath};
use crate::routing::{PoolMember, Snapshot};
use crate::telemetry::metrics::{BackendError, BackendMetrics};
use crate::telemetry::{Totals, quantile};

/// What this node sees of the resource; null before it serves it.
pub(super) fn of(state: &AdminState, config: &Config, path: &ResourcePath) -> Value {
    let snapshot = state.cell.load();
    match path {
        ResourcePath::Config => json!({"serves": snapshot.revision}),
        ResourcePath::Pool(name) => pool(config, &snapshot, name),
        ResourcePath::Route(name) => route(&snapshot, name),
        ResourcePath::Policy(_) => Shared::count(&snapshot).status(path),
        ResourcePath::Backend(pool, id) => {
            let members = snapshot
                .pool(pool.as_str())
                .map(|pool| pool.members())
                .unwrap_or_default();
            let Some(found) = members.iter().find(|member| member.backend.id == *id) else {
                return Value::Null;
            };
            let mut status = member(found);
            status["in_flight"] = json!(in_flight(state, pool, id));
            status
        }
    }
}

/// Requests of the backend on this node, at whatever address it had when they began.
pub(super) fn in_flight(state: &AdminState, pool: &Name, id: &Name) -> u64 {
    let backends = state.registry.backends(pool, id);
    backends
        .iter()
        .map(|backend| u64::from(backend.in_flight()))
        .sum()
}

fn pool(config: &Config, snapshot: &Snapshot, name: &Name) -> Value {
    let Some(entry) = snapshot.pool(name.as_str()) else {
        return Value::Null;
    };
    let members: HashMap<&str, &PoolMember> = entry
        .members()
        .iter()
        .map(|member| (member.backend.id.as_str(), member))
        .collect();
    let backends = config
        .pools
        .get(name)
        .map(|pool| pool.spec.backends.as_slice())
        .unwrap_or_default();
    let backends = backends
        .iter()
        .filter_map(|backend| members.get(backend.id.as_str()).copied().map(member));
    let in_flight: u64 = members
        .values()
        .map(|member| u64::from(member.backend.in_flight()))
        .sum();
    let admitting = members
        .values()
        .filter(|member| member.backend.admits())
        .count();
    let up = members
        .values()
        .filter(|member| member.backend.admits() && member.backend.is_up())
        .count();
    json!({
        "in_flight": in_flight,
        "admitting": admitting,
        "up": up,
        "panic": entry.recourse().is_panic(),
        "tier": entry.tiers_in_use(),
        "waiting": entry.waiting(),
        "backends": backends.collect::<Vec<_>>(),
    })
}

fn route(snapshot: &Snapshot, name: &Name) -> Value {
    let Some(entry) = snapshot.route_entry(name) else {
        return Value::Null;
    };
    let metrics = &entry.metrics;
    let latency = metrics.latency();
    json!({
        "requests": latency.count,
        "errors": metrics.requests(500),
        "retries": metrics.retries(),
        "latency_ms": latency_ms(&latency),
    })
}

/// How many routes share each policy that is served.
pub(super) struct Shared(HashMap<Name, usize>);

impl Shared {
    pub(super) fn count(snapshot: &Snapshot) -> Self {
        let served = snapshot.config().policies.keys();
        let mut counts: HashMap<Name, usize> = served.map(|name| (name.clone(), 0)).collect();
        let named = snapshot.routes().flat_map(|route| &route.spec().policies);
        for name in named {
            *counts.entry(name.clone()).or_default() += 1;
        }
        Self(counts)
    }

    pub(super) fn status(&self, path: &ResourcePath) -> Value {
        let count = match path {
            ResourcePath::Policy(name) => self.0.get(name),
            _ => None,
        };
        count.map_or(Value::Null, |count| json!({"routes": count}))
    }
}

fn member(member: &PoolMember) -> Value {
    let backend = &member.backend;
    let metrics: &BackendMetrics = backend.metrics();
    let latency = metrics.latency();
    let errors: u64 = BackendError::ALL
        .into_iter()
        .map(|error| metrics.errors(error))
        .sum();
    let condition = backend.condition();
    json!({
        "id": backend.id,
        "address": backend.address.to_string(),
        "admitting": backend.admits(),
        "available": backend.is_available(),
        "health": condition.name,
        "health_reason": condition.reason,
        "ejections": backend.ejection_count(),
        "pace": backend.pace(),
        "in_flight": backend.in_flight(),
        "requests": latency.count,
        "errors": errors,
        "latency_ms": latency_ms(&latency),
        "ewma_ms": backend.average_first_byte().map(|average| average.as_secs_f64() * 1e3),
    })
}

/// Quantiles since the start. The sum, and the hits of each bucket up to the last that was hit, with its upper bound
/// (null: none), are there for what two looks make of them: mean and quantiles of the time between them.
fn latency_ms(latency: &Totals) -> Value {
    let whole_microseconds = |ms: f64| (ms * 1e3).round() / 1e3;
    let millis = |(upper, hits): &(f64, u64)| (whole_microseconds(upper * 1e3), *hits);
    let mut buckets: Vec<(f64, u64)> = latency.buckets.iter().map(millis).collect();
    let used = buckets.iter().rposition(|(_, hits)| *hits > 0);
    buckets.truncate(used.map_or(0, |last| last + 1));
    let quantile = |q| quantile(&buckets, q).map(whole_microseconds);
    // Of numbers that are not finite JSON makes null.
    let told = buckets.iter().map(|(upper, hits)| json!([upper, hits]));
    json!({
        "p50": quantile(0.5),
        "p99": quantile(0.99),
        "sum": whole_microseconds(latency.sum * 1e3),
        "buckets": told.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_told_in_milliseconds_up_to_the_last_bucket_that_was_hit() {
        let mut latency = Totals {
            sum: 0.123_456_7,
            count: 100,
            buckets: vec![(0.00025, 50), (0.0005, 0), (0.001, 50), (0.0025, 0)],
        };
        assert_eq!(
            latency_ms(&latency),
            json!({"p50": 0.25, "p99": 0.99, "sum": 123.457, "buckets": [[0.25, 50], [0.5, 0], [1.0, 50]]})
        );
        latency.buckets.push((f64::INFINITY, 1));
        assert_eq!(latency_ms(&latency)["buckets"][4], json!([null, 1]));
    }
}
