//! What a voter does on each message.

use super::{Replica, State};
use crate::bugs::{Bug, broken};
use crate::paxos::acceptor::Part;
use crate::paxos::candidate::Promise;
use crate::paxos::leader::Report;
use crate::paxos::outbox::Outbox;
use crate::paxos::{Attempt, Ballot, Entry, Message, NodeId, Payload, Round, Slot};

impl Replica {
    pub(super) fn on_message(&mut self, from: NodeId, message: Message, out: &mut Outbox) {
        if from == self.options.id {
            return;
        }
        match message {
            Message::Outdated { epoch, log, next } => {
                self.on_outdated(from, epoch, &log, next, out);
            }
            Message::Compacted { epoch, start } => self.on_compacted(from, epoch, start, out),
            // What comes meanwhile is as if lost: it is sent again.
            _ if matches!(self.state, State::Entering { .. }) => {}
            message if self.is_behind(from, &message, out) => {}
            Message::Ask { attempt } => self.on_ask(from, attempt, out),
            // Whoever has gone on knows the way, a fellow of this epoch or not.
            Message::Sealed {
                epoch,
                sync,
                from: begin,
                through,
                first,
                entries,
            } => {
                let part = Part {
                    ballot: Ballot::initial(epoch.next()),
                    sync,
                    from: begin,
                    through,
                    first,
                    entries,
                };
                self.on_sealed(from, epoch, part, out);
            }
            message if !self.is_fellow(from) => self.turn_away(from, &message, out),
            message => self.on_fellow(from, message, out),
        }
    }

    /// Whether both this node and the sender are voters of this epoch.
    fn is_fellow(&self, from: NodeId) -> bool {
        self.options.membership.voters.contains(&from) && !matches!(self.state, State::Removed)
    }

    /// Tells whoever acts in an earlier epoch that there is a later one.
    fn turn_away(&self, from: NodeId, message: &Message, out: &mut Outbox) {
        if let Message::Prepare { ballot }
        | Message::Heartbeat { ballot, .. }
        | Message::Accept { ballot, .. } = message
        {
            self.admits(from, *ballot, out);
        }
    }

    fn on_fellow(&mut self, from: NodeId, message: Message, out: &mut Outbox) {
        match message {
            Message::Ask { .. } | Message::Outdated { .. } => {}
            Message::Sealed { .. } | Message::Compacted { .. } => {}
            Message::Answer {
                attempt,
                support,
                promised,
            } => {
                self.election.meet(promised, &self.options.membership);
                self.election.on_answer(from, attempt, support);
                // It has a vote here and does not know.
                if promised.epoch < self.options.membership.epoch {
                    self.tell_one_of_epoch(from, out);
                }
            }
            Message::Prepare { ballot } => self.on_prepare(from, ballot, out),
            Message::Pull { ballot, first } => self.on_pull(from, ballot, first, out),
            Message::Sync {
                ballot,
                sync,
                from: begin,
                through,
                first,
                entries,
            } => {
                let part = Part {
                    ballot,
                    sync,
                    from: begin,
                    through,
                    first,
                    entries,
                };
                self.on_sync(from, part, out);
            }
            Message::Accept {
                ballot,
                first,
                payloads,
                decided,
            } => {
                self.on_accept(from, ballot, first, payloads, decided, out);
            }
            Message::Heartbeat {
                ballot,
                round,
                decided,
            } => self.on_heartbeat(from, ballot, round, decided, out),
            Message::Promise {
                ballot,
                synced,
                log,
            } => {
                self.on_promise(from, ballot, Promise { synced, log }, out);
            }
            Message::Chunk {
                ballot,
                first,
                entries,
            } => self.on_chunk(from, ballot, first, entries, out),
            Message::Fetch { ballot, start } => self.on_fetch(from, ballot, start, out),
            Message::Behind { ballot, log } => self.report(from, ballot, Report::Summary(log), out),
            Message::Staged { ballot, sync, next } => {
                self.report(from, ballot, Report::Staged(sync, next), out)
            }
            Message::Accepted { ballot, last } => {
                self.report(from, ballot, Report::Accepted(last), out)
            }
            Message::Heard {
                ballot,
                round,
                position,
            } => {
                self.report(from, ballot, Report::Heard(round, position), out);
            }
            Message::Stand { ballot } => self.on_stand(from, ballot, out),
            Message::Reject { ballot, promised } => self.on_reject(ballot, promised, out),
        }
    }

    fn on_pull(&mut self, from: NodeId, ballot: Ballot, first: Slot, out: &mut Outbox) {
        if self.obeys(from, ballot, out) {
            self.election.hear(from, self.now, &mut self.random);
            self.acceptor.hand_over(from, ballot, first, out);
        }
    }

    fn on_sync(&mut self, from: NodeId, part: Part, out: &mut Outbox) {
        if self.obeys(from, part.ballot, out) {
            self.hear_leader(from);
            self.acceptor.stage(from, part, out);
            self.learner.deliver(&self.acceptor, out);
        }
    }

    fn on_fetch(&mut self, from: NodeId, ballot: Ballot, start: Slot, out: &mut Outbox) {
        if self.obeys(from, ballot, out) {
            self.hear_leader(from);
            self.acceptor.fetch(from, ballot, start, out);
        }
    }

    /// A promise that comes after phase 1 tells what its voter must be synced from.
    fn on_promise(&mut self, from: NodeId, ballot: Ballot, promise: Promise, out: &mut Outbox) {
        match &mut self.state {
            State::Candidate(candidate) if candidate.ballot() == ballot => {
                candidate.on_promise(from, promise, self.now, self.options.election_timeout);
            }
            _ => self.report(from, ballot, Report::Summary(promise.log), out),
        }
    }

    fn on_chunk(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        first: Slot,
        entries: Vec<Entry>,
        out: &mut Outbox,
    ) {
        if let State::Candidate(candidate) = &mut self.state
            && candidate.ballot() == ballot
        {
            candidate.on_chunk(
                from,
                first,
                entries,
                self.now,
                self.options.election_timeout,
                out,
            );
        }
    }

    /// A report counts only for the leadership it names. (`acks_of_another_ballot_are_never_counted`)
    fn report(&mut self, from: NodeId, ballot: Ballot, report: Report, out: &mut Outbox) {
        self.lead(out, |leader, node| {
            let votes = matches!(report, Report::Accepted(_) | Report::Heard(..));
            let old = broken(Bug::LogCabin44) && votes;
            if leader.ballot() == ballot || old {
                leader.on_report(from, report, node);
            }
        });
    }

    /// Whether `from` leads or stands by `ballot`, and nothing higher is promised; if it is, tells so.
    ///
    /// A ballot of an earlier epoch is below every promise of this one; one of a later epoch does not come here.
    fn admits(&self, from: NodeId, ballot: Ballot, out: &mut Outbox) -> bool {
        if ballot.node != Some(from) {
            return false;
        }
        let promised = self.acceptor.promised();
        if ballot < promised {
            out.send(from, Message::Reject { ballot, promised });
        }
        ballot >= promised && ballot.epoch == self.options.membership.epoch
    }

    /// Whether `from` is the leader or candidate promised. One that is not promised yet makes itself known by a
    /// [`Message::Prepare`] or [`Message::Heartbeat`]: no other message raises a promise.
    pub(super) fn obeys(&self, from: NodeId, ballot: Ballot, out: &mut Outbox) -> bool {
        self.admits(from, ballot, out) && ballot == self.acceptor.promised()
    }

    fn on_ask(&mut self, from: NodeId, attempt: Attempt, out: &mut Outbox) {
        let able = self.acceptor.is_whole()
            && matches!(self.state, State::Follower { .. })
            && self.is_fellow(from);
        let support = able && self.election.supports(from, self.now);
        out.send(
            from,
            Message::Answer {
                attempt,
                support,
                promised: self.acceptor.promised(),
            },
        );
    }

    /// Phase 1, as voter. A damaged one promises nothing: it can not report what it accepted and lost.
    /// (`a_damaged_voter_promises_and_accepts_nothing`)
    fn on_prepare(&mut self, from: NodeId, ballot: Ballot, out: &mut Outbox) {
        if !self.admits(from, ballot, out) {
            return;
        }
        let Some(synced) = self.acceptor.synced() else {
            return;
        };
        let before = self.acceptor.promised();
        self.promise(from, ballot, out);
        self.election.hear(from, self.now, &mut self.random);
        let synced = if broken(Bug::Sutra2020) && before < ballot {
            before
        } else {
            synced
        };
        // A repeated question of one who has won and synced this voter since has had its answer.
        if synced < ballot {
            let promise = Message::Promise {
                ballot,
                synced,
                log: self.acceptor.summary(),
            };
            let durable = self.acceptor.journal().barrier();
            let durable = durable.filter(|_| !broken(Bug::UnsyncedPromise));
            out.send_after(from, promise, durable);
        }
    }

    fn on_accept(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        first: Slot,
        payloads: Vec<Payload>,
        decided: Slot,
        out: &mut Outbox,
    ) {
        if self.obeys(from, ballot, out) {
            self.hear_leader(from);
            self.acceptor.accept(from, ballot, first, payloads, out);
            self.learner.hear(ballot, decided, &mut self.acceptor, out);
        }
    }

    /// The answer waits for nothing, so that a slow disk is not taken for a dead voter. To a leader not promised yet
    /// the voter promises, and asks it for a sync once that is durable.
    fn on_heartbeat(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        round: Round,
        decided: Slot,
        out: &mut Outbox,
    ) {
        if !self.admits(from, ballot, out) {
            return;
        }
        self.promise(from, ballot, out);
        self.hear_leader(from);
        let position = self.acceptor.position(ballot);
        out.send(
            from,
            Message::Heard {
                ballot,
                round,
                position,
            },
        );
        if position.is_none() || self.acceptor.is_staging() {
            self.acceptor.ask_for_sync(from, out);
        }
        self.learner.hear(ballot, decided, &mut self.acceptor, out);
    }

    /// Raises the promise to the ballot of `from`, and ends a part of its own.
    fn promise(&mut self, from: NodeId, ballot: Ballot, out: &mut Outbox) {
        if ballot > self.acceptor.promised() {
            self.resign(Some(from), out);
            self.acceptor.promise(ballot, &mut self.random, out);
        }
    }

    fn hear_leader(&mut self, leader: NodeId) {
        assert!(
            matches!(self.state, State::Follower { .. }),
            "follows {leader} in a ballot of its own"
        );
        self.state = State::Follower {
            leader: Some(leader),
        };
        self.election.hear(leader, self.now, &mut self.random);
    }

    /// Somebody has promised higher. That is no reason to promise it too, but one to try again, above it.
    fn on_reject(&mut self, ballot: Ballot, promised: Ballot, out: &mut Outbox) {
        self.election.meet(promised, &self.options.membership);
        let mine = match &self.state {
            State::Follower { .. } | State::Entering { .. } | State::Removed => None,
            State::Candidate(candidate) => Some(candidate.ballot()),
            State::Leader(leader) => Some(leader.ballot()),
        };
        if mine == Some(ballot) && promised > ballot {
            self.resign(None, out);
            self.election.wait_briefly(self.now, &mut self.random);
            self.acceptor.met(promised);
        }
    }
}
