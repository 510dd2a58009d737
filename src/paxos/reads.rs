//! Linearizable reads of one leadership: which round of heartbeats must be answered before which read.

use std::collections::VecDeque;

use super::{ReadId, Round, Slot};

/// Most reads that wait at once.
const MAX_READS: usize = 4096;

/// Reads that wait, in the order they came in, so their rounds and slots ascend.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Reads {
    /// Before the barrier is decided, when this leader does not know yet all that was acknowledged, or while it hands
    /// over.
    early: VecDeque<ReadId>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Waiting {
    id: ReadId,
    slot: Slot,
    round: Round,
}

impl Reads {
    pub(super) fn full(&self) -> bool {
        self.early.len() + self.waiting.len() >= MAX_READS
    }

    /// No read is taken now.
    pub(super) fn add_early(&mut self, id: ReadId) {
        self.early.push_back(id);
    }

    /// Reads are taken: lets the early ones wait for a round like all others.
    pub(super) fn release_early(&mut self, decided: Slot, next: Round) {
        for id in std::mem::take(&mut self.early) {
            self.add(id, decided, next);
        }
    }

    /// A read that came in when slots through `slot` were decided and the rounds before `round` had begun.
    ///
    /// A majority that answers a round begun after the read came in had promised nothing higher by then, so no later
    /// leader had had anything acknowledged by then. An earlier round proves nothing of the kind.
    /// (`a_read_waits_for_a_round_begun_after_it`)
    pub(super) fn add(&mut self, id: ReadId, slot: Slot, round: Round) {
        assert!(
            self.waiting
                .back()
                .is_none_or(|last| last.round <= round && last.slot <= slot),
            "reads out of order"
        );
        self.waiting.push_back(Waiting { id, slot, round });
    }

    /// The next read whose round a majority has answered.
    pub(super) fn pop_confirmed(&mut self, confirmed: Round) -> Option<(ReadId, Slot)> {
        self.waiting
            .pop_front_if(|read| read.round <= confirmed)
            .map(|read| (read.id, read.slot))
    }

    /// Whether a read waits for a round after `begun`.
    pub(super) fn want_round_after(&self, begun: Round) -> bool {
        self.waiting.back().is_some_and(|read| read.round > begun)
    }

    /// All that wait, to be refused.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = ReadId> {
        std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|read| read.id)
            .chain(std::mem::take(&mut self.early))
    }
}
