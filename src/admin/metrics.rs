//! `/metrics`, and what the replica adds to it.

mod locks;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use self::locks::LockFigures;
use super::AdminState;
use crate::replication::{self, Handle, LATENCY_BOUNDS, NodeReport, NodeRole, Status};
use crate::routing::SnapshotCell;
use crate::state::Machine;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text format that every collector reads; OpenMetrics for those that ask for it.
pub(super) async fn get(State(state): State<AdminState>, headers: HeaderMap) -> Response {
    let text = state.metrics.render();
    let (kind, text) = match asks_for_open_metrics(&headers) {
        true => (OPEN_METRICS, text),
        false => (TEXT, text_format(&text)),
    };
    ([(CONTENT_TYPE, kind), (VARY, "Accept")], text).into_response()
}

/// Whether Accept names it, with a weight above 0.
fn asks_for_open_metrics(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter();
    let ranges = accepted.filter_map(|value| value.to_str().ok());
    ranges.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next() == Some("application/openmetrics-text");
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        named && weight.is_none_or(|weight| weight.parse().is_ok_and(|weight: f32| weight > 0.0))
    })
}

/// OpenMetrics in the words of the older format: there a counter's name ends in `_total`, in its description too, and
/// units and the end are not told.
fn text_format(open_metrics: &str) -> String {
    let described = |line: &str, what: &str| line.strip_prefix(what).map(str::to_owned);
    let counters: HashSet<String> = open_metrics
        .lines()
        .filter_map(|line| {
            described(line, "# TYPE ")?
                .strip_suffix(" counter")
                .map(str::to_owned)
        })
        .collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(name) => {
                text.push_str(&format!("# {what} {name}_total {rest}"));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
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
        followers(&mut encoder, &status)?;
        counters(&mut encoder, &status)?;
        let look = |machine: &Machine| LockFigures::of(machine.locks());
        self.replication.inspect(look).encode(&mut encoder)?;
        commit_latency(&mut encoder, &status)
    }
}

impl GroupCollector {
    fn gauges(&self, encoder: &mut DescriptorEncoder, status: &Status) -> Result<(), fmt::Error> {
        let nodes = self.replication.nodes();
        let here = nodes.iter().find(|node| node.here);
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
            (
                "checkpoint_slot",
                "The slot of the newest checkpoint on disk",
                status.checkpoint.0,
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
        let mut nodes = self.replication.nodes();
        if self.replication.status().following.is_some() {
            // What a follower knows of others is as old as the last time somebody asked it: they tell for themselves.
            nodes.retain(|node| node.here);
        }
        let of_each: [(&str, &str, OfNode); 3] = [
            (
                "node_served_revision",
                "The revision that each node said it serves",
                |node| node.applied.0,
            ),
            (
                "node_lag_slots",
                "How many slots each node is behind the furthest",
                |node| node.lag,
            ),
            (
                "node_reachable",
                "Whether each node was heard of lately",
                |node| u64::from(node.is_reachable()),
            ),
        ];
        for (name, help, value) in of_each {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for node in &nodes {
                let role = if node.role == NodeRole::Follower {
                    "follower"
                } else {
                    "voter"
                };
                metric
                    .encode_family(&[("node", node.name.as_str()), ("role", role)])?
                    .encode_gauge(&value(node))?;
            }
        }
        Ok(())
    }
}

/// A figure of one node.
type OfNode = fn(&NodeReport) -> u64;

/// Of a voter how many it feeds; of a follower how well it is fed.
fn followers(encoder: &mut DescriptorEncoder, status: &Status) -> Result<(), fmt::Error> {
    let mut gauge = |name: &str, help: &str, value: u64| {
        encoder
            .encode_descriptor(name, help, None, MetricType::Gauge)?
            .encode_gauge(&value)
    };
    let Some(following) = &status.following else {
        return gauge(
            "followers",
            "Followers that this voter feeds",
            status.feeding as u64,
        );
    };
    gauge(
        "follower_connected",
        "Whether a voter feeds this follower",
        u64::from(following.voter.is_some()),
    )?;
    gauge(
        "follower_lag_slots",
        "How many slots this follower is behind what its voter last told",
        following.lag,
    )?;
    match following.heard {
        None => Ok(()),
        Some(heard) => encoder
            .encode_descriptor(
                "follower_silence",
                "How long ago this follower heard from a voter",
                Some(&Unit::Seconds),
                MetricType::Gauge,
            )?
            .encode_gauge(&heard.as_secs_f64()),
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
        (
            "checkpoints_installed",
            "Checkpoints of other nodes that this one went on from",
            counts.installed,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_that_ask() {
        for (accept, asked) in [
            ("", false),
            ("*/*", false),
            ("text/plain", false),
            ("application/openmetrics-text", true),
            (
                "text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.8",
                true,
            ),
            ("application/openmetrics-text;q=0", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(asks_for_open_metrics(&headers), asked, "{accept}");
        }
    }

    #[test]
    fn the_text_format_names_counters_by_their_samples() {
        let open = "# HELP a_requests Requests.\n# TYPE a_requests counter\na_requests_total{b=\"c\"} 1\n\
                    # HELP a_duration_seconds Time.\n# TYPE a_duration_seconds histogram\n# UNIT a_duration_seconds seconds\n\
                    a_duration_seconds_sum 1.5\n# EOF\n";
        assert_eq!(
            text_format(open),
            "# HELP a_requests_total Requests.\n# TYPE a_requests_total counter\na_requests_total{b=\"c\"} 1\n\
             # HELP a_duration_seconds Time.\n# TYPE a_duration_seconds histogram\na_duration_seconds_sum 1.5\n"
        );
    }
}
