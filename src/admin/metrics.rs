//! `/metrics`, and what the replica adds to it.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::AdminState;
use crate::replication::{self, Handle, LATENCY_BOUNDS, NodeRole, Status};
use crate::routing::SnapshotCell;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn get(State(state): State<AdminState>) -> Response {
    ([(CONTENT_TYPE, OPEN_METRICS)], state.metrics.render()).into_response()
}

/// Where this node's replica and data plane stand. Register it once with the node's metrics.
pub struct GroupCollector {
    /// The replica.
    pub replication: Handle,
    /// What the data plane serves.
    pub cell: Arc<SnapshotCell>,
}

impl fmt::Debug for GroupCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupCollector").finish_non_exhaustive()
    }
}

impl Collector for GroupCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let status = self.replication.status();
        self.gauges(&mut encoder, &status)?;
        self.digest(&mut encoder)?;
        self.nodes(&mut encoder)?;
        counters(&mut encoder, &status)?;
        commit_latency(&mut encoder, &status)
    }
}

impl GroupCollector {
    fn gauges(&self, encoder: &mut DescriptorEncoder, status: &Status) -> Result<(), fmt::Error> {
        let nodes = self.replication.nodes();
        let here = nodes.iter().find(|node| Some(node.id) == status.id);
        let leads = here.is_some_and(|node| node.role == NodeRole::Leader);
        let rejected = here.is_some_and(|node| node.rejected.is_some());
        let revision = self.replication.inspect(|machine| machine.revision());
        for (name, help, value) in [
            (
                "revision",
                "The newest revision of the config known here",
                revision.0,
            ),
            (
                "served_revision",
                "The revision that the data plane serves",
                self.cell.load().revision.0,
            ),
            (
                "leader",
                "Whether this node leads the group",
                u64::from(leads),
            ),
            (
                "has_leader",
                "Whether this node knows a leader",
                u64::from(status.leader.is_some()),
            ),
            (
                "replica_running",
                "Whether the replica takes part",
                u64::from(status.state == replication::State::Running),
            ),
            (
                "config_rejected",
                "Whether the data plane could not build the newest revision",
                u64::from(rejected),
            ),
            (
                "decided_slot",
                "The last slot known to be decided",
                status.decided.0,
            ),
            (
                "applied_slot",
                "The last slot that the state machine has executed",
                status.applied.0,
            ),
        ] {
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&value)?;
        }
        Ok(())
    }

    /// A label, since a number of 64 bits does not survive where numbers are floats: equal revisions, equal digests.
    fn digest(&self, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
        let snapshot = self.cell.load();
        let help = "The revision served, by the digest of its content";
        let mut metric =
            encoder.encode_descriptor("served_digest", help, None, MetricType::Gauge)?;
        let digest = format!("{:016x}", snapshot.digest);
        metric
            .encode_family(&[("digest", digest.as_str())])?
            .encode_gauge(&snapshot.revision.0)
    }

    fn nodes(&self, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
        let help = "The revision that each node said it serves";
        let mut metric =
            encoder.encode_descriptor("node_served_revision", help, None, MetricType::Gauge)?;
        for node in self.replication.nodes() {
            metric
                .encode_family(&[("node", node.name.as_str())])?
                .encode_gauge(&node.applied.0)?;
        }
        Ok(())
    }
}

fn counters(encoder: &mut DescriptorEncoder, status: &Status) -> Result<(), fmt::Error> {
    let counts = &status.counts;
    for (name, help, value) in [
        ("commits", "Commands applied", counts.commits),
        (
            "log_syncs",
            "Writes to the log, each with one sync",
            counts.syncs,
        ),
        (
            "log_batches",
            "Batches that those writes held",
            counts.batches,
        ),
        (
            "elections",
            "Elections this node stood in",
            counts.elections,
        ),
        (
            "leaderships",
            "Times this node became leader",
            counts.leaderships,
        ),
        (
            "peer_messages_dropped",
            "Messages that a full queue had no room for",
            counts.dropped,
        ),
    ] {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}

fn commit_latency(encoder: &mut DescriptorEncoder, status: &Status) -> Result<(), fmt::Error> {
    let latency = &status.counts.latency;
    let bounds = LATENCY_BOUNDS
        .iter()
        .map(|micros| *micros as f64 / 1e6)
        .chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(latency.buckets).collect();
    let count = buckets.iter().map(|(_, hits)| hits).sum();
    let help = "From a proposal's arrival at this node as leader to its answer";
    let mut metric = encoder.encode_descriptor(
        "commit_duration",
        help,
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    metric.encode_histogram::<NoLabelSet>(latency.sum.as_secs_f64(), count, &buckets, None)
}
