//! How a seed went, in numbers: what was reached shows that faults did not stop everything.

use std::fmt;

/// How a seed went.
#[derive(Default)]
pub(crate) struct Summary {
    pub(crate) hash: u64,
    pub(crate) slots: u64,
    pub(crate) writes: u64,
    pub(crate) reads: u64,
    pub(crate) leaderships: u64,
    pub(crate) starts: u64,
    pub(crate) damaged: u64,
}

impl Summary {
    pub(crate) fn add(&mut self, other: &Summary) {
        self.slots += other.slots;
        self.writes += other.writes;
        self.reads += other.reads;
        self.leaderships += other.leaderships;
        self.starts += other.starts;
        self.damaged += other.damaged;
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
            ..
        } = self;
        write!(
            f,
            "{slots} slots chosen, {writes} writes and {reads} reads answered, {leaderships} leaderships, {starts} starts, {damaged} on a damaged log"
        )
    }
}
