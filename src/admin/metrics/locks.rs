//! What `/metrics` tells of sessions and locks: the replicated state, so every node tells the same.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::state::{Lock, Locks};

/// Figures as of one slot.
pub(super) struct LockFigures {
    sessions: usize,
    expired: u64,
    held: usize,
    holders: usize,
    waiting: usize,
    granted: u64,
}

impl LockFigures {
    pub(super) fn of(locks: &Locks) -> Self {
        let all = || locks.locks().map(|(_, lock)| lock);
        let holders = |lock: &Lock| lock.holders().len();
        Self {
            sessions: locks.sessions().len(),
            expired: locks.events().expired(),
            held: all().filter(|lock| holders(lock) > 0).count(),
            holders: all().map(holders).sum(),
            waiting: all().map(|lock| lock.queue().len()).sum(),
            granted: locks.events().granted(),
        }
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
        for (name, help, value) in [
            ("sessions_open", "Sessions that live", self.sessions),
            ("locks_held", "Locks that somebody holds", self.held),
            (
                "locks_holders",
                "Sessions that hold a lock, once for each lock",
                self.holders,
            ),
            (
                "locks_waiting",
                "Sessions that wait for a lock, once for each lock",
                self.waiting,
            ),
        ] {
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&(value as u64))?;
        }
        for (name, help, value) in [
            (
                "sessions_expired",
                "Sessions that were not kept alive",
                self.expired,
            ),
            (
                "locks_granted",
                "Times a session was granted a lock",
                self.granted,
            ),
        ] {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }
}
