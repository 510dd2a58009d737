//! From one membership to the next: when the Seal that ends an epoch is decided, and how a voter that missed it is
//! brought through it.
//!
//! The Seal is chosen by the voters of its own epoch, like any entry, and takes effect where it is known decided, never
//! when it is appended: until then the old majority may still lose it. So any two majorities that act at a time are of
//! one epoch, or the earlier one has chosen its Seal and can choose nothing above it. (`nothing is above a Seal in its
//! epoch`, and the quorum in force at each slot, are asserted by the simulation at every step.)

use super::{Replica, State};
use crate::paxos::acceptor::{Beginning, Collected, Part};
use crate::paxos::outbox::Outbox;
use crate::paxos::{
    Attempt, Base, Entry, Epoch, Message, NodeId, Output, Seal, Slot, Succession, Summary,
};

impl Replica {
    pub(super) fn on_seal(&mut self, epoch: Epoch, seal: Seal, out: &mut Outbox) {
        if let State::Leader(_) = self.state {
            self.lead(out, |leader, node| leader.seal(epoch, seal, node));
        } else {
            let leader = self.leader();
            let reason = crate::paxos::SealRefusal::NotLeader { leader };
            out.push(Output::SealRefused { reason });
        }
    }

    /// Whether a message shows a later epoch than this voter's; then it asks the sender for the way there.
    pub(super) fn is_behind(&self, from: NodeId, message: &Message, out: &mut Outbox) -> bool {
        let epoch = self.options.membership.epoch;
        let behind = message.epoch() > Some(epoch);
        if behind {
            self.ask_the_way(from, None, out);
        }
        behind
    }

    fn ask_the_way(&self, from: NodeId, next: Option<Slot>, out: &mut Outbox) {
        let epoch = self.options.membership.epoch;
        let log = self.acceptor.wanted_to_enter(epoch.next());
        out.send(from, Message::Outdated { epoch, log, next });
    }

    /// Hands the decided log through the Seal of `epoch` to whoever has not entered the next one yet; a voter that was
    /// removed does so too, for it may be the only one left to know the Seal decided.
    pub(super) fn on_outdated(
        &self,
        from: NodeId,
        epoch: Epoch,
        theirs: &Summary,
        next: Option<Slot>,
        out: &mut Outbox,
    ) {
        let log = self.acceptor.log();
        if epoch >= self.options.membership.epoch {
            return;
        }
        let way = log.seal_of(epoch).zip(log.meets(theirs));
        let Some((through, begin)) = way else {
            // A damaged log that lost it has no checkpoint to offer in its place.
            if log.start() > Slot(1) {
                let start = log.start();
                out.send(from, Message::Compacted { epoch, start });
            }
            return;
        };
        let begin = begin.min(through);
        let wanted = |next: &Slot| (begin..=through).contains(next);
        let first = next.filter(wanted).unwrap_or(begin);
        out.send(
            from,
            Message::Sealed {
                epoch,
                sync: theirs.sync,
                from: begin,
                through,
                first,
                entries: log.chunk(first, through).to_vec(),
            },
        );
    }

    /// Takes a part of the decided log through the Seal of this epoch.
    pub(super) fn on_sealed(&mut self, from: NodeId, epoch: Epoch, part: Part, out: &mut Outbox) {
        if epoch != self.options.membership.epoch {
            return;
        }
        match self.acceptor.collect(part) {
            Some(Collected::Whole(decided)) => {
                let seal = decided.2.last().filter(|last| last.is_seal_of(epoch));
                if let Some(next) = seal.and_then(Entry::begins) {
                    self.enter(decided, next, out);
                }
            }
            Some(Collected::Next(next)) => self.ask_the_way(from, Some(next), out),
            None => {}
        }
    }

    /// The way through the Seal of this epoch is no longer in the log of whoever has gone on: a checkpoint leads there.
    pub(super) fn on_compacted(&self, from: NodeId, epoch: Epoch, start: Slot, out: &mut Outbox) {
        let voter = !matches!(self.state, State::Removed);
        if voter
            && epoch == self.options.membership.epoch
            && !self.acceptor.reaches_to_enter(epoch.next(), start)
        {
            out.push(Output::Fetch { from, start });
        }
    }

    /// A checkpoint is at hand. One of a later epoch is decided through the Seals of all epochs before: it alone leads
    /// there. One of this epoch is the beginning of a log to be adopted.
    ///
    /// Between two epochs it waits: it is not fetched a second time. (`a_checkpoint_that_comes_between_epochs_counts`)
    pub(super) fn on_fetched(
        &mut self,
        base: Base,
        succession: Option<Succession>,
        out: &mut Outbox,
    ) {
        let later = succession
            .clone()
            .filter(|it| it.epoch > self.options.membership.epoch);
        match (later, &mut self.state) {
            (_, State::Entering { fetched, .. }) => *fetched = Some((base, succession)),
            (_, State::Removed) => {}
            (None, _) => self.acceptor.fetched(base, &mut self.random),
            (Some(next), _) => {
                assert!(
                    base.slot > self.learner.decided(),
                    "what is decided here ends a later epoch than this"
                );
                self.enter((Some(base), base.slot.next(), Vec::new()), next, out);
            }
        }
    }

    /// Ends this epoch if its Seal is decided. A leader has told its voters so by then, in this very step.
    pub(super) fn end_epoch(&mut self, out: &mut Outbox) {
        let epoch = self.options.membership.epoch;
        let log = self.acceptor.log();
        let seal = log.ending(epoch).filter(|_| self.acceptor.sealed(epoch));
        let voting = !matches!(self.state, State::Entering { .. } | State::Removed);
        if let Some(next) = seal.filter(|_| voting).and_then(Entry::begins) {
            let first = log.last().next();
            self.enter((None, first, Vec::new()), next, out);
        }
    }

    fn enter(&mut self, decided: Beginning, next: Succession, out: &mut Outbox) {
        let led = matches!(self.state, State::Leader(_));
        self.resign(None, out);
        let durable = self
            .acceptor
            .enter(decided, next.epoch, &mut self.random, out);
        let decided = self.acceptor.log().last();
        self.learner.learn(decided, &mut self.acceptor, out);
        self.state = State::Entering {
            durable,
            led,
            next,
            fetched: None,
        };
    }

    /// A voter that was removed says now and then in which epoch it is: it may be the only one that knows, and one that
    /// is damaged asks nobody. Whoever has entered that epoch passes over it.
    ///
    /// So does one that reaches no majority, and asks nobody for support: those that it does reach may have a vote and
    /// not know, and reach no majority of theirs. (`who_reaches_no_majority_says_in_which_epoch_it_is`)
    pub(super) fn tell_of_epoch(&mut self, out: &mut Outbox) {
        self.election.wait(self.now, &mut self.random);
        for peer in self.election.connected() {
            self.tell_one_of_epoch(peer, out);
        }
    }

    /// Tells a node that may be in an earlier epoch of this one.
    pub(super) fn tell_one_of_epoch(&self, peer: NodeId, out: &mut Outbox) {
        let notice = Message::Answer {
            attempt: Attempt::default(),
            support: false,
            promised: self.acceptor.promised(),
        };
        out.send(peer, notice);
    }

    /// Whether another epoch was before this one: somebody may not have heard of its end.
    pub(super) fn succeeds(&self) -> bool {
        self.options.membership.epoch > Epoch(0)
    }

    /// Begins the next epoch once entering it is durable. The old leader, if it is a member, stands at once: nobody
    /// else knows yet, and all would wait.
    pub(super) fn begin_epoch(&mut self, out: &mut Outbox) {
        let State::Entering {
            durable,
            led,
            next,
            fetched,
        } = &mut self.state
        else {
            return;
        };
        if !self.acceptor.journal().is_durable(*durable) {
            return;
        }
        let (led, membership, details) = (*led, next.membership(), next.seal.details.clone());
        let fetched = fetched.take();
        assert!(
            self.acceptor.promised().node.is_none(),
            "an epoch begins with nothing promised in it"
        );
        let member = membership.voters.contains(&self.options.id);
        self.options.membership = membership.clone();
        out.push(Output::Entered {
            membership,
            details,
        });
        self.election.begin_epoch(self.now, &mut self.random);
        self.state = match member {
            true => State::Follower { leader: None },
            false => State::Removed,
        };
        if led && member {
            self.stand(out);
        }
        if let Some((base, succession)) = fetched {
            self.on_fetched(base, succession, out);
        }
    }
}
