//! What a replica says of itself: its state, where it stands in the log, and what it has counted.
//!
//! The threads that do the work write relaxed atomics; the admin API and its metrics read a [`Status`] now and then.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::paxos::{Ballot, NodeId, Role, Slot};

/// Whether this node's replica takes part in the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The first voters have not all said that they know the membership.
    Founding {
        /// The names that are still waited for.
        waiting: Vec<String>,
    },
    /// It has never been welcomed by the cluster it is to join.
    Joining {
        /// What it waits for, or why it was refused.
        why: String,
    },
    /// It votes, or follows a voter.
    Running,
    /// It follows, and no voter feeds it now: it serves on what it has.
    Alone {
        /// Why.
        why: String,
    },
    /// Its log is damaged: it promises and accepts nothing until a leader has synced it.
    Damaged,
    /// The disk is full: proposals are refused until there is space again.
    Full,
    /// It met a command of a newer build: it applies nothing from there on, and serves on what it has.
    Upgrade {
        /// The feature level that is needed.
        level: u32,
    },
    /// It has no vote any more: it serves what it has, and hands over what it knows, until those that vote in its place
    /// have a leader; then it follows them.
    Removed,
    /// It takes no part until this process is started again; traffic goes on.
    Failed {
        /// What happened, worded for an operator.
        reason: String,
    },
}

impl State {
    /// Why the replica takes no part, if it does not.
    pub fn failure(&self) -> Option<String> {
        match self {
            Self::Failed { reason } => Some(reason.clone()),
            _ => None,
        }
    }

    /// What keeps the replica from its full part, if anything does.
    pub fn trouble(&self) -> Option<String> {
        (*self != Self::Running).then(|| self.to_string())
    }

    /// Whether a voter in this state stores what is proposed.
    pub fn stores(&self) -> bool {
        matches!(self, Self::Running | Self::Upgrade { .. } | Self::Removed)
    }
}

impl fmt::Display for State {
    /// In a few words, for an operator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Founding { waiting } => {
                write!(f, "founding, waits for {}", waiting.join(", "))
            }
            Self::Joining { why } => write!(f, "joining: {why}"),
            Self::Running => f.write_str("running"),
            Self::Alone { why } => write!(f, "alone, serves on: {why}"),
            Self::Damaged => f.write_str("damaged: its log must be synced by a leader"),
            Self::Full => f.write_str("disk full: it stores no writes"),
            Self::Upgrade { level } => write!(f, "needs a newer build, of level {level}"),
            Self::Removed => {
                f.write_str("removed: it votes no more, and follows once the voters have a leader")
            }
            Self::Failed { reason } => write!(f, "failed: {reason}"),
        }
    }
}

/// A copy of where the replica stands.
#[derive(Clone, Debug)]
pub struct Status {
    /// This node's number in the membership; `None` while the group is being founded.
    pub id: Option<NodeId>,
    /// This node's name.
    pub name: String,
    /// The cluster's id in hexadecimal; `None` while the group is being founded.
    pub cluster: Option<String>,
    /// Whether it takes part.
    pub state: State,
    /// Its role in the election.
    pub role: Role,
    /// Whom it follows, itself where it leads; `None` without a leader.
    pub leader: Option<NodeId>,
    /// The leader's name.
    pub leader_name: Option<String>,
    /// What it is without a vote; `None` for a voter.
    pub following: Option<Following>,
    /// Followers that this node feeds.
    pub feeding: usize,
    /// The highest ballot it has seen.
    pub ballot: Ballot,
    /// Known to be decided here.
    pub decided: Slot,
    /// Executed by the state machine here.
    pub applied: Slot,
    /// The newest checkpoint here is of this slot; 0 until there is one.
    pub checkpoint: Slot,
    /// What has been counted since the start of the process.
    pub counts: Counts,
}

/// Where a node without a vote stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Following {
    /// The name of the voter that feeds it; `None` while it is alone.
    pub voter: Option<String>,
    /// How many slots it is behind that voter, as it was last told.
    pub lag: u64,
    /// How long ago it was last told; `None`: never since its start.
    pub heard: Option<Duration>,
}

/// What has been counted since the start of the process.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Commands applied.
    pub commits: u64,
    /// Writes to the log, each with its one sync.
    pub syncs: u64,
    /// Batches those writes held.
    pub batches: u64,
    /// Elections this node stood in.
    pub elections: u64,
    /// Times this node became leader.
    pub leaderships: u64,
    /// Messages to peers that were dropped because a queue was full.
    pub dropped: u64,
    /// Checkpoints of peers that this node went on from, for it lacked what no log held any more.
    pub installed: u64,
    /// From a proposal's arrival at this node's replica as leader to its answer.
    pub latency: Latency,
}

/// A histogram.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// Observations above the bound before and at most this one of [`LATENCY_BOUNDS`]; in the last, above all bounds.
    pub buckets: [u64; LATENCY_BOUNDS.len() + 1],
    /// The sum of all observations.
    pub sum: Duration,
}

/// Upper bounds of the commit latency's buckets, in microseconds.
pub const LATENCY_BOUNDS: [u64; 12] = [
    250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 250_000, 1_000_000, 4_000_000,
];

/// The live counters, shared by the threads that count.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) elections: AtomicU64,
    pub(super) leaderships: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) installed: AtomicU64,
    latency: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    latency_sum: AtomicU64,
}

impl Counters {
    /// Counts one commit that took `latency`.
    pub(super) fn observe(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < micros);
        self.latency[bucket].fetch_add(1, Relaxed);
        self.latency_sum.fetch_add(micros, Relaxed);
    }

    /// A copy, each number for itself.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            commits: self.commits.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            batches: self.batches.load(Relaxed),
            elections: self.elections.load(Relaxed),
            leaderships: self.leaderships.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            installed: self.installed.load(Relaxed),
            latency: Latency {
                buckets: std::array::from_fn(|bucket| self.latency[bucket].load(Relaxed)),
                sum: Duration::from_micros(self.latency_sum.load(Relaxed)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_falls_in_the_bucket_of_its_bound() {
        let counters = Counters::default();
        for micros in [0, 250, 251, 4_000_000, 4_000_001] {
            counters.observe(Duration::from_micros(micros));
        }
        let latency = counters.counts().latency;
        assert_eq!((latency.buckets[0], latency.buckets[1]), (2, 1));
        assert_eq!((latency.buckets[11], latency.buckets[12]), (1, 1));
    }
}
