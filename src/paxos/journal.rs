//! What has been handed out to be made durable, and what is.
//!
//! Batches become durable in the order they were handed out, so one number tells how far that has come, and a crash
//! leaves a prefix of them.

use std::collections::VecDeque;

use super::outbox::Outbox;
use super::{Ballot, Batch, Output, PersistId, Slot};

/// A log that is durable: identical with that of `synced`'s leader through `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) synced: Option<Ballot>,
    pub(super) last: Slot,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Journal {
    issued: PersistId,
    durable: PersistId,
    held: Held,
    /// What will be held once each batch on its way is durable; bounded by the leader's window for one voter.
    pending: VecDeque<(PersistId, Held)>,
    /// Known decided.
    decided: Slot,
    /// Handed out as decided.
    saved: Slot,
}

impl Journal {
    pub(super) fn new(held: Held, decided: Slot) -> Self {
        Journal {
            issued: PersistId(0),
            durable: PersistId(0),
            held,
            pending: VecDeque::new(),
            decided,
            saved: decided,
        }
    }

    /// Hands out a batch after which the log will be `held`. What is newly decided rides along.
    pub(super) fn persist(&mut self, mut batch: Batch, held: Held, out: &mut Outbox) -> PersistId {
        if self.decided > self.saved {
            assert!(self.decided <= held.last, "decided beyond the log");
            batch.decided = Some(self.decided);
            self.saved = self.decided;
        }
        self.issued = PersistId(self.issued.0 + 1);
        self.pending.push_back((self.issued, held));
        out.push(Output::Persist {
            id: self.issued,
            batch,
        });
        self.issued
    }

    /// Batches through `id` are durable.
    pub(super) fn persisted(&mut self, id: PersistId) {
        assert!(id <= self.issued, "made durable what was never handed out");
        self.durable = self.durable.max(id);
        while let Some(&(first, held)) = self.pending.front()
            && first <= id
        {
            self.held = held;
            self.pending.pop_front();
        }
    }

    /// What must be durable before anything that rests on all batches so far may leave.
    pub(super) fn barrier(&self) -> Option<PersistId> {
        (self.issued > self.durable).then_some(self.issued)
    }

    pub(super) fn is_durable(&self, id: PersistId) -> bool {
        id <= self.durable
    }

    /// The log as a crash would leave it, at least.
    pub(super) fn held(&self) -> Held {
        self.held
    }

    pub(super) fn decided(&self) -> Slot {
        self.decided
    }

    pub(super) fn note_decided(&mut self, decided: Slot) {
        assert!(decided >= self.decided, "decided goes back");
        self.decided = decided;
    }

    /// Hands out what is decided by itself when no batch is on its way that it would delay or that it could join.
    pub(super) fn save_decided(&mut self, held: Held, out: &mut Outbox) {
        if self.decided > self.saved && self.issued == self.durable {
            self.persist(Batch::default(), held, out);
        }
    }
}
