//! What `/metrics` tells of the pools in force: checks, ejections, queues, and retries that were not made.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{PoolEntry, PoolMember, Snapshot, SnapshotCell};
use crate::backend::Backend;

/// Reads the snapshot in force. Register it once with the node's metrics.
#[derive(Debug)]
pub struct PoolsCollector(pub Arc<SnapshotCell>);

impl Collector for PoolsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let snapshot = self.0.load();
        let help = "Whether the checks of a backend let it get requests";
        let mut up = encoder.encode_descriptor("backend_up", help, None, MetricType::Gauge)?;
        for (pool, member) in members(&snapshot) {
            let labels = [
                ("pool", pool.name.as_str()),
                ("backend", member.backend.id.as_str()),
            ];
            up.encode_family(&labels)?
                .encode_gauge(&u64::from(member.backend.health().is_up()))?;
        }
        let help = "Checks of a backend, by result";
        let mut checks =
            encoder.encode_descriptor("health_checks", help, None, MetricType::Counter)?;
        for (pool, member) in members(&snapshot) {
            let (good, failed) = member.backend.checks();
            for (result, count) in [("good", good), ("failed", failed)] {
                let labels = [
                    ("pool", pool.name.as_str()),
                    ("backend", member.backend.id.as_str()),
                    ("result", result),
                ];
                checks
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let help = "Whether a pool uses backends that are down, because too few are up";
        let mut panics = encoder.encode_descriptor("pool_panic", help, None, MetricType::Gauge)?;
        for pool in snapshot.pools() {
            panics
                .encode_family(&[("pool", pool.name.as_str())])?
                .encode_gauge(&u64::from(pool.recourse().is_panic()))?;
        }
        ejections(&snapshot, &mut encoder)?;
        queues(&snapshot, &mut encoder)?;
        retries(&snapshot, &mut encoder)
    }
}

fn ejections(snapshot: &Snapshot, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
    let ejecting = || {
        let pools = snapshot
            .pools()
            .filter(|pool| !pool.spec().outlier.is_off());
        pools.flat_map(|pool| pool.members().iter().map(|member| &member.backend))
    };
    let help = "Whether a backend is ejected for what requests met there";
    let mut ejected =
        encoder.encode_descriptor("backend_ejected", help, None, MetricType::Gauge)?;
    for backend in ejecting() {
        ejected
            .encode_family(&labels(backend))?
            .encode_gauge(&u64::from(backend.is_ejected()))?;
    }
    let help = "Ejections of a backend";
    let mut ejections =
        encoder.encode_descriptor("backend_ejections", help, None, MetricType::Counter)?;
    for backend in ejecting() {
        ejections
            .encode_family(&labels(backend))?
            .encode_counter::<NoLabelSet, _, u64>(&backend.ejection_count(), None)?;
    }
    Ok(())
}

fn labels(backend: &Backend) -> [(&str, &str); 2] {
    [
        ("pool", backend.pool.as_str()),
        ("backend", backend.id.as_str()),
    ]
}

fn queues(snapshot: &Snapshot, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
    let limited = || snapshot.pools().filter(|pool| pool.is_limited());
    let help = "Requests that wait in the queue of a pool with limits";
    let mut waiting = encoder.encode_descriptor("pool_waiting", help, None, MetricType::Gauge)?;
    for pool in limited() {
        waiting
            .encode_family(&[("pool", pool.name.as_str())])?
            .encode_gauge(&u64::from(pool.waiting()))?;
    }
    let help = "Requests that the queue of a pool did not take, or not let through in time";
    let mut refusals =
        encoder.encode_descriptor("pool_queue_refusals", help, None, MetricType::Counter)?;
    for pool in limited() {
        let (full, timeout) = pool.queue_refusals();
        for (reason, count) in [("full", full), ("timeout", timeout)] {
            let labels = [("pool", pool.name.as_str()), ("reason", reason)];
            refusals
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
    }
    Ok(())
}

fn retries(snapshot: &Snapshot, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
    let help = "Retries that the budget of a pool did not pay for";
    let mut denied =
        encoder.encode_descriptor("pool_retries_denied", help, None, MetricType::Counter)?;
    for pool in snapshot.pools() {
        denied
            .encode_family(&[("pool", pool.name.as_str())])?
            .encode_counter::<NoLabelSet, _, u64>(&pool.retries_denied(), None)?;
    }
    Ok(())
}

fn checked(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<PoolEntry>> {
    snapshot.pools().filter(|pool| pool.spec().health.is_some())
}

fn members(snapshot: &Snapshot) -> impl Iterator<Item = (&Arc<PoolEntry>, &PoolMember)> {
    checked(snapshot).flat_map(|pool| pool.members().iter().map(move |member| (pool, member)))
}
