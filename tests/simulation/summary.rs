//! How a seed went, in numbers: what was reached shows that faults did not stop everything.

use std::fmt;

/// How a seed went.
#[derive(Default)]
pub(crate) struct Summary {
    /// Of the trace.
    pub(crate) hash: Option<u64>,
    pub(crate) slots: u64,
    pub(crate) writes: u64,
    pub(crate) reads: u64,
    pub(crate) leaderships: u64,
    pub(crate) starts: u64,
    pub(crate) damaged: u64,
    /// Starts from a checkpoint, and checkpoints taken.
    pub(crate) restored: u64,
    pub(crate) checkpoints: u64,
    /// Times a voter entered an epoch.
    pub(crate) epochs: u64,
    /// Sessions opened, kept alive so often, and ended.
    pub(crate) sessions: u64,
    pub(crate) kept: u64,
    pub(crate) ended: u64,
    /// Checkpoints of peers gone on from, and segments dropped behind checkpoints.
    pub(crate) installed: u64,
    pub(crate) dropped: u64,
    /// Locks granted, as those that asked were told.
    pub(crate) grants: u64,
}

impl Summary {
    pub(crate) fn add(&mut self, other: &Summary) {
        self.slots += other.slots;
        self.writes += other.writes;
        self.reads += other.reads;
        self.leaderships += other.leaderships;
        self.starts += other.starts;
        self.damaged += other.damaged;
        self.restored += other.restored;
        self.checkpoints += other.checkpoints;
        self.epochs += other.epochs;
        self.sessions += other.sessions;
        self.kept += other.kept;
        self.ended += other.ended;
        self.installed += other.installed;
        self.dropped += other.dropped;
        self.grants += other.grants;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            slots,
            writes,
            reads,
            leaderships,
            starts,
            damaged,
            restored,
            checkpoints,
            epochs,
            sessions,
            kept,
            ended,
            installed,
            dropped,
            grants,
            ..
        } = self;
        write!(
            f,
            "{slots} slots chosen, {writes} writes and {reads} reads answered, {leaderships} leaderships, {starts} starts, {damaged} on a damaged log, {restored} from one of {checkpoints} checkpoints, {installed} fetched of a peer, {dropped} segments dropped, {epochs} epochs entered, {sessions} sessions kept alive {kept} times and {ended} ended, {grants} locks granted"
        )
    }
}
