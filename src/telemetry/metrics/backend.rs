//! What is counted of one backend.

use std::time::Duration;

use super::class::class;
use crate::telemetry::histogram::{self, Histogram, Totals};
use crate::telemetry::shards::{Count, Shards};

/// What went wrong with a backend, in one try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendError {
    /// No connection: refused, unreachable, or not within the connect timeout.
    Connect,
    /// A connection, and no TLS over it: the certificate, an alert, the handshake.
    Tls,
    /// The connection ended before the answer was whole.
    Reset,
    /// It was silent for longer than a timeout allows.
    Timeout,
    /// What it answered is not HTTP.
    Malformed,
}

impl BackendError {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 5] = [
        Self::Connect,
        Self::Tls,
        Self::Reset,
        Self::Timeout,
        Self::Malformed,
    ];

    /// The value of the `error` label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
        }
    }
}

/// Counters of one backend of one pool.
#[derive(Debug)]
pub struct BackendMetrics {
    shards: Shards<BackendShard>,
}

#[derive(Debug, Default)]
struct BackendShard {
    begun: Count,
    ended: Count,
    by_class: [Count; 5],
    latency: Histogram,
    errors: [Count; BackendError::ALL.len()],
    connections: Count,
}

impl BackendMetrics {
    /// Counters for `workers` data-plane threads.
    pub fn new(workers: usize) -> Self {
        Self {
            shards: Shards::new(workers),
        }
    }

    /// A try of a request has been given to this backend.
    pub fn begun(&self) {
        self.shards.own().begun.add(1);
    }

    /// That try is over, its body too.
    pub fn ended(&self) {
        self.shards.own().ended.add(1);
    }

    /// It answered with `status`, `first_byte` after the request was sent to it.
    pub fn answered(&self, status: u16, first_byte: Duration) {
        let shard = self.shards.own();
        shard.by_class[class(status)].add(1);
        shard.latency.observe(first_byte);
    }

    /// It failed.
    pub fn failed(&self, error: BackendError) {
        self.shards.own().errors[error as usize].add(1);
    }

    /// A new connection to it was opened.
    pub fn connected(&self) {
        self.shards.own().connections.add(1);
    }

    /// Answers whose status is of the class `status / 100`.
    pub fn answers(&self, status: u16) -> u64 {
        self.shards
            .sum(|shard| shard.by_class[class(status)].read())
    }

    /// Failures of that kind.
    pub fn errors(&self, error: BackendError) -> u64 {
        self.shards.sum(|shard| shard.errors[error as usize].read())
    }

    /// Connections opened so far.
    pub fn connections(&self) -> u64 {
        self.shards.sum(|shard| shard.connections.read())
    }

    /// Tries begun and not ended.
    pub fn in_flight(&self) -> u64 {
        // Ended first: a try that ends between the two reads then counts once too often, never below zero.
        let ended = self.shards.sum(|shard| shard.ended.read());
        self.shards
            .sum(|shard| shard.begun.read())
            .saturating_sub(ended)
    }

    pub(crate) fn latency(&self) -> Totals {
        histogram::totals(&self.shards, |shard| &shard.latency)
    }
}
