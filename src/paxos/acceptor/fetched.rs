//! A checkpoint that was fetched: what it is good for, and how a leader is told of it.
//!
//! What it sums up is decided, but it changes nothing by itself: within an epoch it counts only as the beginning of a
//! log that is adopted whole, from a leader whose log has the same entry where it ends. Alone it would be a log that no
//! leader ever had; and a leader deposed meanwhile may lack what it sums up.
//! (`a_checkpoint_is_adopted_only_with_a_log_that_holds_its_last_entry`)

use super::Acceptor;
use crate::paxos::outbox::Outbox;
use crate::paxos::random::Random;
use crate::paxos::{Ballot, Base, Epoch, Message, NodeId, Output, Slot, Summary, SyncId};

/// A checkpoint at hand.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::paxos) struct Fetched {
    pub(super) base: Base,
    /// What a sync that begins behind it must repeat; another than for the log as it is.
    pub(super) sync: SyncId,
}

impl Acceptor {
    /// A checkpoint is at hand, and takes the place of the one before. What was staged behind that is of no use now.
    pub(in crate::paxos) fn fetched(&mut self, base: Base, random: &mut Random) {
        let sync = SyncId(random.draw());
        self.fetched = Some(Fetched { base, sync });
        self.staging.take_if(|staging| staging.base.is_some());
    }

    /// The checkpoint at hand, unless it is older than what is decided here (it would take back what was handed on) or,
    /// once this log is that of the ballot promised, than its end (which was acknowledged).
    /// (`a_checkpoint_older_than_what_is_here_is_passed_over`)
    pub(in crate::paxos) fn useful(&self) -> Option<Base> {
        self.useful_for(self.promised)
    }

    /// The same for a log of `ballot`, be it the one that begins the next epoch: to enter that takes back nothing that
    /// was chosen, however long the end of this log is.
    /// (`a_checkpoint_leads_past_the_end_of_a_longer_log_into_an_epoch`)
    pub(super) fn useful_for(&self, ballot: Ballot) -> Option<Base> {
        let in_sync = self.synced == Some(ballot);
        let base = self.fetched.as_ref()?.base;
        let news = base.slot > self.journal.decided() && !(in_sync && base.slot <= self.log.last());
        news.then_some(base)
    }

    /// The log by which the leader promised is to tell what it lacks: as it is, or as it will be behind the checkpoint
    /// at hand.
    pub(super) fn wanted(&self) -> Summary {
        self.wanting(self.promised)
    }

    /// The log by which others are to tell what it lacks to enter this epoch.
    pub(in crate::paxos) fn wanted_to_enter(&self, epoch: Epoch) -> Summary {
        self.wanting(Ballot::initial(epoch))
    }

    fn wanting(&self, ballot: Ballot) -> Summary {
        let useful = self.useful_for(ballot).is_some();
        let fetched = self.fetched.as_ref().filter(|_| useful);
        fetched.map_or_else(|| self.summary(), |fetched| self.summary_behind(fetched))
    }

    /// The log as it will be behind the checkpoint at hand.
    fn summary_behind(&self, fetched: &Fetched) -> Summary {
        Summary {
            sync: fetched.sync,
            start: fetched.base.slot.next(),
            last: fetched.base.slot,
            decided: fetched.base.slot,
            base: fetched.base.ballot,
            runs: Vec::new(),
        }
    }

    /// The leader's log starts at `start`, beyond what it could go on from here.
    pub(in crate::paxos) fn fetch(
        &mut self,
        leader: NodeId,
        ballot: Ballot,
        start: Slot,
        out: &mut Outbox,
    ) {
        self.staging = None;
        if reaches(self.useful(), start) {
            let log = self.wanted();
            let behind = Message::Behind { ballot, log };
            out.send_after(leader, behind, self.journal.barrier());
        } else {
            let from = leader;
            out.push(Output::Fetch { from, start });
        }
    }

    /// Whether the checkpoint at hand reaches a log that starts at `start` and leads into this epoch.
    pub(in crate::paxos) fn reaches_to_enter(&self, epoch: Epoch, start: Slot) -> bool {
        reaches(self.useful_for(Ballot::initial(epoch)), start)
    }

    /// Forgets the log through `through`.
    pub(in crate::paxos) fn compact(&mut self, through: Slot) {
        // A sync on its way joins the log as it was.
        if self.staging.is_none() {
            self.log.compact(through);
        }
    }

    /// Whether a sync is on its way.
    pub(in crate::paxos) fn is_staging(&self) -> bool {
        self.staging.is_some()
    }
}

fn reaches(useful: Option<Base>, start: Slot) -> bool {
    useful.is_some_and(|base| base.slot.next() >= start)
}
