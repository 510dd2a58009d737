//! What is counted of clients' connections, and of requests that no route took.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::class::{CLASSES, class};
use super::lock;
use crate::telemetry::shards::{Count, Shards};

/// Counters of the listeners, and of requests that no route took.
#[derive(Debug)]
pub struct ListenerMetrics {
    shards: Shards<ListenerShard>,
    refusals: Mutex<BTreeMap<&'static str, u64>>,
}

#[derive(Debug, Default)]
struct ListenerShard {
    accepted: Count,
    closed: Count,
    access_lines_dropped: Count,
    unrouted: [Count; CLASSES.len()],
}

impl ListenerMetrics {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            shards: Shards::new(workers),
            refusals: Mutex::default(),
        }
    }

    /// A client connected.
    pub fn accepted(&self) {
        self.shards.own().accepted.add(1);
    }

    /// A client's connection ended.
    pub fn closed(&self) {
        self.shards.own().closed.add(1);
    }

    /// So many lines of the access log were dropped: its writer was behind, or could not write them.
    pub fn access_lines_lost(&self, lines: u64) {
        self.shards.own().access_lines_dropped.add(lines);
    }

    /// A request was answered by the proxy itself, for `reason` (an RFC 9209 error type). Not on the path of a
    /// request that a backend answers, hence the lock.
    pub fn refused(&self, reason: &'static str) {
        *lock(&self.refusals).entry(reason).or_default() += 1;
    }

    /// A request that no route took was answered with `status`; 0 if its client left before that.
    pub fn unrouted(&self, status: u16) {
        self.shards.own().unrouted[class(status)].add(1);
    }

    /// How often requests were refused for `reason`.
    pub fn refusals(&self, reason: &str) -> u64 {
        lock(&self.refusals)
            .get(reason)
            .copied()
            .unwrap_or_default()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shards.sum(|shard| shard.accepted.read())
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        let closed = self.shards.sum(|shard| shard.closed.read());
        self.connections().saturating_sub(closed)
    }

    pub(crate) fn all_refusals(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.refusals).clone()
    }

    /// Requests that no route took, by class.
    pub(super) fn answers(&self) -> [u64; CLASSES.len()] {
        std::array::from_fn(|class| self.shards.sum(|shard| shard.unrouted[class].read()))
    }

    pub(crate) fn access_lines_dropped(&self) -> u64 {
        self.shards.sum(|shard| shard.access_lines_dropped.read())
    }
}
