//! What is known decided, and handing it on.

use super::acceptor::Acceptor;
use super::outbox::Outbox;
use super::{Ballot, Output, Slot};
use crate::bugs::{Bug, broken};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Learner {
    decided: Slot,
    /// Handed on through this slot.
    delivered: Slot,
}

impl Learner {
    /// What the embedder's checkpoint holds is not handed on again.
    pub(super) fn new(acceptor: &Acceptor, applied: Slot) -> Self {
        let decided = acceptor.journal().decided();
        assert!(
            acceptor.log().start().previous() <= applied && applied <= decided,
            "a checkpoint of slot {applied} does not join the log"
        );
        Learner {
            decided,
            delivered: applied,
        }
    }

    pub(super) fn delivered(&self) -> Slot {
        self.delivered
    }

    pub(super) fn decided(&self) -> Slot {
        self.decided
    }

    /// A leader of `ballot` knows that slots through `decided` are decided.
    ///
    /// This counts only for a log in sync with that leader's, and as far as it goes: an entry from elsewhere in the
    /// same slot may be another one. (`decided_counts_only_in_sync_with_its_leader`)
    pub(super) fn hear(
        &mut self,
        ballot: Ballot,
        decided: Slot,
        acceptor: &mut Acceptor,
        out: &mut Outbox,
    ) {
        if acceptor.synced() == Some(ballot) {
            self.learn(decided.min(acceptor.log().last()), acceptor, out);
        }
    }

    /// Slots of the log here are decided through `decided`. It never goes back: what is older is old news.
    pub(super) fn learn(&mut self, decided: Slot, acceptor: &mut Acceptor, out: &mut Outbox) {
        assert!(
            decided <= acceptor.log().last(),
            "decided {decided} beyond the log"
        );
        self.decided = match broken(Bug::OmniPaxos024) {
            true => decided,
            false => self.decided.max(decided),
        };
        acceptor.journal_mut().note_decided(self.decided);
        self.deliver(acceptor, out);
    }

    /// Hands on what is decided and was not handed on yet; first of all a checkpoint, where the log begins behind it.
    pub(super) fn deliver(&mut self, acceptor: &Acceptor, out: &mut Outbox) {
        let base = acceptor.log().base();
        if base.slot > self.delivered {
            self.delivered = base.slot;
            self.decided = self.decided.max(base.slot);
            out.push(Output::Install(base));
        }
        let first = self.delivered.next();
        if first <= self.decided {
            let entries = acceptor.log().range(first, self.decided).to_vec();
            self.delivered = self.decided;
            out.push(Output::Decided { first, entries });
        }
    }
}
