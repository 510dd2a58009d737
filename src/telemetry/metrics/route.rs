//! What is counted of one route.

use std::time::Duration;

use super::class::{CLASSES, class};
use crate::telemetry::histogram::{self, Histogram, Totals};
use crate::telemetry::shards::{Count, Shards};

/// One finished request, as it is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Finished {
    /// The status that the client saw; 0 if it left before it saw one.
    pub status: u16,
    /// From the first byte of the request to the last byte of the answer.
    pub total: Duration,
    /// Body bytes from the client.
    pub received: u64,
    /// Body bytes to the client.
    pub sent: u64,
}

/// Counters of one route.
#[derive(Debug)]
pub struct RouteMetrics {
    shards: Shards<RouteShard>,
}

#[derive(Debug, Default)]
struct RouteShard {
    by_class: [Count; CLASSES.len()],
    latency: Histogram,
    received: Count,
    sent: Count,
    retries: Count,
    rate_limited: Count,
    mirrors: Count,
    mirrors_dropped: Count,
}

impl RouteMetrics {
    /// Counters for `workers` data-plane threads.
    pub fn new(workers: usize) -> Self {
        Self {
            shards: Shards::new(workers),
        }
    }

    /// Counts a request that has ended.
    pub fn finished(&self, request: Finished) {
        let shard = self.shards.own();
        shard.by_class[class(request.status)].add(1);
        shard.latency.observe(request.total);
        shard.received.add(request.received);
        shard.sent.add(request.sent);
    }

    /// Counts what passed through a tunnel, whose request was counted when it began.
    pub fn moved(&self, received: u64, sent: u64) {
        let shard = self.shards.own();
        shard.received.add(received);
        shard.sent.add(sent);
    }

    /// Counts one more try of a request.
    pub fn retried(&self) {
        self.shards.own().retries.add(1);
    }

    /// Counts a request that was one too many for the route's rate.
    pub fn rate_limited(&self) {
        self.shards.own().rate_limited.add(1);
    }

    /// Counts a copy of a request.
    pub fn mirrored(&self) {
        self.shards.own().mirrors.add(1);
    }

    /// Counts a copy that was not made.
    pub fn mirror_dropped(&self) {
        self.shards.own().mirrors_dropped.add(1);
    }

    /// Ended requests whose status is of the class `status / 100`.
    pub fn requests(&self, status: u16) -> u64 {
        self.shards
            .sum(|shard| shard.by_class[class(status)].read())
    }

    /// Ended requests, by class.
    pub(super) fn answers(&self) -> [u64; CLASSES.len()] {
        std::array::from_fn(|class| self.shards.sum(|shard| shard.by_class[class].read()))
    }

    /// Tries beyond the first.
    pub fn retries(&self) -> u64 {
        self.shards.sum(|shard| shard.retries.read())
    }

    /// Requests that were too many for the route's rate.
    pub fn rate_limits(&self) -> u64 {
        self.shards.sum(|shard| shard.rate_limited.read())
    }

    /// Copies that were made, and that were not.
    pub fn mirrors(&self) -> (u64, u64) {
        (
            self.shards.sum(|shard| shard.mirrors.read()),
            self.shards.sum(|shard| shard.mirrors_dropped.read()),
        )
    }

    pub(crate) fn bytes(&self) -> (u64, u64) {
        (
            self.shards.sum(|shard| shard.received.read()),
            self.shards.sum(|shard| shard.sent.read()),
        )
    }

    pub(crate) fn latency(&self) -> Totals {
        histogram::totals(&self.shards, |shard| &shard.latency)
    }
}
