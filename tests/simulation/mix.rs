//! The faults and sizes that a seed draws. Not every seed has every fault: some show only where others are absent.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use synod::paxos::{Epoch, Membership, NodeId};

/// Microseconds.
pub(crate) const MS: u64 = 1000;
pub(crate) const SECOND: u64 = 1_000_000;

/// A fault that strikes now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power fails.
    Crash,
    /// The process dies.
    Kill,
    /// The process stands still.
    Pause,
    /// Two halves.
    Partition,
    /// One direction of one link.
    OneWay,
    /// Everyone reaches only neighbours.
    Chain,
    /// One link.
    Cut,
    SlowDisk,
    SyncError,
    FullDisk,
    /// A byte of the log or a checkpoint changes while nobody looks; on a minority only, until those are whole again.
    Rot,
    /// All that the disk holds is gone, and its voter with it: on a minority only.
    Lose,
    /// Not a fault: an operator has the leader hand over, to whom luck names.
    Transfer,
    /// Nor is this: an operator changes who votes.
    Change,
}

const FAULTS: [Fault; 14] = [
    Fault::Crash,
    Fault::Kill,
    Fault::Pause,
    Fault::Partition,
    Fault::OneWay,
    Fault::Chain,
    Fault::Cut,
    Fault::SlowDisk,
    Fault::SyncError,
    Fault::FullDisk,
    Fault::Rot,
    Fault::Lose,
    Fault::Transfer,
    Fault::Change,
];

/// How one seed is set up.
#[derive(Debug, Clone)]
pub(crate) struct Mix {
    pub(crate) voters: u32,
    pub(crate) heartbeat: Duration,
    pub(crate) election_timeout: Duration,
    pub(crate) window_entries: usize,
    pub(crate) window_bytes: usize,
    pub(crate) segment_bytes: u64,
    pub(crate) command_bytes: usize,
    /// Entries applied between two checkpoints.
    pub(crate) checkpoint_every: u64,
    pub(crate) clients: usize,
    /// Who keep sessions.
    pub(crate) holders: usize,
    /// While a leader is about to end sessions, another leads for a moment.
    pub(crate) lends: bool,
    /// Longest pause of a client between two operations, in microseconds.
    pub(crate) think: u64,
    /// How long the faults last.
    pub(crate) safety: u64,
    pub(crate) faults: Vec<Fault>,
    /// Mean time between two faults.
    pub(crate) fault_every: u64,
    /// Whoever leads is cut off again and again, with calm of up to this between; `None`: only as luck has it.
    pub(crate) strand_every: Option<u64>,
    pub(crate) loss: f64,
    pub(crate) duplication: f64,
    /// Copies of messages that come seconds later.
    pub(crate) stray: f64,
    /// Longest delay of a message.
    pub(crate) delay: u64,
    /// Messages overtake each other.
    pub(crate) reorder: bool,
    /// A cut link is noticed by its ends after at most this; `None`: never.
    pub(crate) noticed_within: Option<u64>,
    /// Longest sync.
    pub(crate) sync: u64,
    /// Who votes changes no more, and clients ask those alone that must make progress.
    pub(crate) settles: bool,
    /// Clocks run apart by up to 10 %.
    pub(crate) skew: bool,
    /// Inputs gather for up to this, and are handed in together; 0: one by one.
    pub(crate) gathers: u64,
}

impl Mix {
    /// Who votes before any change.
    pub(crate) fn first_members(&self) -> Membership {
        Membership {
            epoch: Epoch(0),
            voters: (1..=self.voters).map(NodeId).collect(),
        }
    }

    pub(crate) fn draw(rng: &mut StdRng) -> Self {
        let timeout = rng.random_range(200..1000);
        let voters = [1, 3, 3, 3, 5, 5][rng.random_range(0..6)];
        let often = rng.random_range(0.1..0.9);
        let links = |fault: &Fault| {
            !matches!(
                fault,
                Fault::Partition | Fault::OneWay | Fault::Chain | Fault::Cut
            )
        };
        // Cut off, a leader must be able to hold a tail that nobody else does: windows of an entry or two show nothing.
        let strands = rng.random_bool([0.0, 0.35, 0.6][voters as usize / 2]);
        let strand_every = [SECOND, 3 * SECOND][rng.random_range(0..2)];
        let (window_entries, window_bytes, checkpoint_every) = match strands {
            true => (
                [3, 16, 256, 256],
                [4 << 10, 1 << 20, 1 << 20],
                [3, 3, 8, 40],
            ),
            false => (
                [1, 3, 16, 256],
                [200, 4 << 10, 1 << 20],
                [3, 20, 100, u64::MAX],
            ),
        };
        let holders = [0, 1, 3, 6][rng.random_range(0..4)];
        let mut faults: Vec<Fault> = FAULTS
            .into_iter()
            .filter(|fault| voters > 1 || links(fault))
            .filter(|_| rng.random_bool(often))
            .collect();
        // A change on its way may leave a vote to whoever is lost meanwhile, and few others.
        if voters == 1 || faults.contains(&Fault::Change) {
            faults.retain(|fault| *fault != Fault::Lose);
        }
        Mix {
            voters,
            heartbeat: Duration::from_millis(timeout / 10),
            election_timeout: Duration::from_millis(timeout),
            window_entries: window_entries[rng.random_range(0..4)],
            window_bytes: window_bytes[rng.random_range(0..3)],
            segment_bytes: [2 << 10, 8 << 10, 32 << 10][rng.random_range(0..3)],
            command_bytes: [0, 0, 300, 3000][rng.random_range(0..4)],
            checkpoint_every: checkpoint_every[rng.random_range(0..4)],
            clients: rng.random_range(1..9),
            holders,
            lends: rng.random(),
            think: [MS, 20 * MS, 200 * MS][rng.random_range(0..3)],
            safety: rng.random_range(2..12) * SECOND,
            faults,
            // A session ends only under a leader that lasts longer than its lease.
            fault_every: match holders {
                0 => [100 * MS, 400 * MS, 1500 * MS][rng.random_range(0..3)],
                _ => [400 * MS, 1500 * MS, 4 * SECOND][rng.random_range(0..3)],
            },
            strand_every: strands.then_some(strand_every),
            loss: some(rng, 0.2),
            duplication: some(rng, 0.2),
            stray: some(rng, 0.05),
            delay: [MS, 10 * MS, 100 * MS, 400 * MS][rng.random_range(0..4)],
            reorder: rng.random(),
            noticed_within: [Some(10 * MS), Some(2 * SECOND), None][rng.random_range(0..3)],
            sync: [MS / 5, 5 * MS, 60 * MS][rng.random_range(0..3)],
            settles: false,
            skew: rng.random(),
            gathers: [0, 0, MS / 2, 5 * MS][rng.random_range(0..4)],
        }
    }
}

/// Nothing in half of the cases, else up to `most`.
fn some(rng: &mut StdRng, most: f64) -> f64 {
    if rng.random() {
        0.0
    } else {
        rng.random_range(0.0..most)
    }
}
