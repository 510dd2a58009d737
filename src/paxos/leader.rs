//! Phase 2: proposing, counting votes, keeping the voters in step, and proving to reads that it still leads.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::acceptor::Acceptor;
use super::candidate::Promise;
use super::learner::Learner;
use super::outbox::Outbox;
use super::progress::{Led, Progress};
use super::reads::Reads;
use super::transfer::Transfer;
use super::{
    Ballot, Entry, Epoch, Message, NodeId, Options, Output, Payload, Position, ProposalId, ReadId,
    Refusal, Round, Seal, SealRefusal, Slot, Summary, SyncId, Time,
};
use crate::bugs::{Bug, broken};

/// One leadership. It ends with the process at the latest, for its ballot is never led twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Leader {
    ballot: Ballot,
    barrier: Slot,
    voters: BTreeMap<NodeId, Progress>,
    /// The newest round begun.
    round: Round,
    heartbeat_at: Time,
    /// Not proposed yet; bounded like the window.
    queue: VecDeque<(ProposalId, Bytes)>,
    queue_bytes: usize,
    reads: Reads,
    /// While there is one, nothing is proposed and no read is taken: both wait.
    pub(super) transfer: Option<Transfer>,
    /// To be proposed as soon as there is room.
    seal: Option<Seal>,
    /// The log ends with the Seal of this epoch: nothing may be proposed above it.
    sealed: bool,
}

/// What a leader borrows of its node.
pub(super) struct Node<'a> {
    pub(super) now: Time,
    pub(super) options: &'a Options,
    pub(super) acceptor: &'a mut Acceptor,
    pub(super) learner: &'a mut Learner,
    pub(super) out: &'a mut Outbox,
}

/// What a voter reports in this leader's ballot.
pub(super) enum Report {
    Summary(Summary),
    Staged(SyncId, Slot),
    Accepted(Slot),
    Heard(Round, Option<Position>),
}

impl Leader {
    /// Leads on from the log just adopted, whose last entry is the barrier, or a Seal to be decided again.
    pub(super) fn new(
        ballot: Ballot,
        promises: &BTreeMap<NodeId, Promise>,
        node: &mut Node,
    ) -> Self {
        let others = node
            .options
            .membership
            .voters
            .iter()
            .filter(|&&voter| voter != node.options.id);
        let voters = others
            .map(|&voter| (voter, Progress::new(node.now)))
            .collect();
        let mut leader = Leader {
            ballot,
            barrier: node.acceptor.log().last(),
            voters,
            round: Round(0),
            heartbeat_at: node.now,
            queue: VecDeque::new(),
            queue_bytes: 0,
            reads: Reads::default(),
            transfer: None,
            seal: None,
            sealed: node.acceptor.log().ending(ballot.epoch).is_some(),
        };
        for (&voter, promise) in promises
            .iter()
            .filter(|&(&voter, _)| voter != node.options.id)
        {
            leader.on_report(voter, Report::Summary(promise.log.clone()), node);
        }
        leader.begin_round(node);
        leader
    }

    pub(super) fn ballot(&self) -> Ballot {
        self.ballot
    }

    pub(super) fn round(&self) -> Round {
        self.round
    }

    /// How far each other voter has come.
    pub(super) fn voters(&self) -> &BTreeMap<NodeId, Progress> {
        &self.voters
    }

    pub(super) fn heartbeat_at(&self) -> Time {
        self.heartbeat_at
    }

    /// Whether the barrier is decided: then so is all below it, and nothing acknowledged is unknown here.
    pub(super) fn ready(&self, learner: &Learner) -> bool {
        learner.decided() >= self.barrier
    }

    /// Whether commands are proposed and reads taken now; else they wait.
    fn admits(&self, learner: &Learner) -> bool {
        self.ready(learner) && self.transfer.is_none() && !self.is_sealed()
    }

    fn is_sealed(&self) -> bool {
        self.sealed && !broken(Bug::Ongaro2015)
    }

    /// Takes a change of the membership, one an epoch, once the barrier is decided: then no other is on its way.
    pub(super) fn seal(&mut self, epoch: Epoch, seal: Seal, node: &mut Node) {
        let refused = match () {
            () if epoch != self.ballot.epoch => Some(SealRefusal::OtherEpoch),
            () if !self.ready(node.learner) => Some(SealRefusal::NotReady),
            () if self.is_sealed() || self.seal.is_some() || self.transfer.is_some() => {
                Some(SealRefusal::Busy)
            }
            () => None,
        };
        match refused {
            Some(reason) => node.out.push(Output::SealRefused { reason }),
            None => self.seal = Some(seal),
        }
    }

    pub(super) fn propose(&mut self, id: ProposalId, command: Bytes, node: &mut Node) {
        let options = node.options;
        let full =
            self.queue.len() >= options.window_entries || self.queue_bytes >= options.window_bytes;
        if full {
            node.out.push(Output::Refused {
                id,
                reason: Refusal::Busy,
            });
        } else {
            self.queue_bytes += command.len();
            self.queue.push_back((id, command));
        }
    }

    pub(super) fn read(&mut self, id: ReadId, node: &mut Node) {
        if self.reads.full() {
            node.out.push(Output::ReadRefused {
                id,
                leader: Some(node.options.id),
            });
        } else if self.admits(node.learner) || broken(Bug::Etcd7331) {
            self.reads
                .add(id, node.learner.decided(), self.round_of_reads());
        } else {
            self.reads.add_early(id);
        }
    }

    pub(super) fn on_report(&mut self, from: NodeId, report: Report, node: &mut Node) {
        let led = led(self.ballot, self.round, node.learner, node.acceptor);
        let Some(voter) = self.voters.get_mut(&from) else {
            return;
        };
        voter.heard = node.now;
        match report {
            Report::Summary(log) => voter.on_summary(from, &log, &led, node.out),
            Report::Staged(sync, next) => voter.on_staged(from, sync, next, &led, node.out),
            Report::Accepted(last) => voter.on_accepted(last, &led),
            Report::Heard(round, Some(position)) => {
                assert!(
                    round <= self.round,
                    "an answer to a round that was not begun"
                );
                voter.on_position(from, round, position, &led, node.out);
            }
            Report::Heard(_, None) => {}
        }
    }

    /// A peer can be reached again: asks at once what it lacks.
    pub(super) fn on_connected(&mut self, peer: NodeId, node: &mut Node) {
        if self.voters.contains_key(&peer) {
            self.begin_round(node);
        }
    }

    /// Whether a majority, this node with it, has been heard within the election timeout: without one others may
    /// already lead, and clients must not wait here for what cannot come.
    pub(super) fn in_reach(&self, now: Time, options: &Options) -> bool {
        let recent = |voter: &&Progress| voter.is_heard(now, options);
        self.voters.values().filter(recent).count() + 1 >= options.membership.quorum()
    }

    /// A round no other leadership had or will have: ballots are led once.
    fn next_round(&self) -> Round {
        Round(self.round.0 + 1)
    }

    /// What reads wait for that come in now.
    fn round_of_reads(&self) -> Round {
        match broken(Bug::Raft397) {
            true => self.round,
            false => self.next_round(),
        }
    }

    pub(super) fn begin_round(&mut self, node: &mut Node) {
        self.round = self.next_round();
        self.heartbeat_at = node.now + node.options.heartbeat;
        let led = led(self.ballot, self.round, node.learner, node.acceptor);
        for (&voter, progress) in &mut self.voters {
            progress.on_heartbeat(&led);
            let (ballot, round, decided) = (self.ballot, self.round, led.decided);
            node.out.send(
                voter,
                Message::Heartbeat {
                    ballot,
                    round,
                    decided,
                },
            );
        }
    }

    /// Does what the input just handled has made possible.
    pub(super) fn advance(&mut self, node: &mut Node) {
        self.count_votes(node);
        if self.admits(node.learner) {
            self.reads
                .release_early(node.learner.decided(), self.round_of_reads());
            self.propose_queued(node);
        }
        let led = led(self.ballot, self.round, node.learner, node.acceptor);
        for (&voter, progress) in &mut self.voters {
            progress.stream(voter, &led, node.options, node.out);
        }
        self.hand_over(node);
        self.confirm_reads(node);
    }

    /// What a majority has accepted in this ballot is chosen, and with it all below.
    ///
    /// Votes are those of this ballot only, and each says that the voter's log is this leader's through that slot; the
    /// own one counts when it is durable, like every other, also when it is the only one.
    /// (`acks_of_another_ballot_are_never_counted`, `a_single_voter_decides_only_what_is_durable`)
    fn count_votes(&mut self, node: &mut Node) {
        let held = node.acceptor.journal().held();
        let alone = node.options.membership.voters.len() == 1;
        let own = if broken(Bug::Etcd14370) && alone {
            node.acceptor.log().last()
        } else if held.synced == Some(self.ballot) {
            held.last
        } else {
            Slot::ZERO
        };
        let votes = self.voters.values().map(|voter| voter.matched).chain([own]);
        let chosen = node.options.membership.reached_by_quorum(votes);
        if chosen >= self.barrier && chosen > node.learner.decided() {
            node.learner.learn(chosen, node.acceptor, node.out);
        }
    }

    /// Proposes what waits, as far as the window allows: so many entries may be undecided or not durable here.
    fn propose_queued(&mut self, node: &mut Node) {
        let options = node.options;
        let floor = node
            .learner
            .decided()
            .min(node.acceptor.journal().held().last);
        let mut last = node.acceptor.log().last();
        let mut bytes = node.acceptor.log().weight(floor.next(), last);
        let mut entries = Vec::new();
        while (last.since(floor) as usize) < options.window_entries && bytes < options.window_bytes
        {
            let Some(payload) = self.next_payload() else {
                break;
            };
            let entry = Entry {
                ballot: self.ballot,
                payload,
            };
            bytes += entry.payload.weight();
            last = last.next();
            entries.push(entry);
        }
        if !entries.is_empty() {
            node.acceptor.append(entries, node.out);
        }
    }

    /// What is to be proposed next: a Seal before all that waits, and nothing behind it.
    fn next_payload(&mut self) -> Option<Payload> {
        if let Some(seal) = self.seal.take() {
            self.sealed = true;
            return Some(Payload::Seal(seal));
        }
        if self.is_sealed() {
            return None;
        }
        let (_, command) = self.queue.pop_front()?;
        self.queue_bytes -= command.len();
        Some(Payload::Command(command))
    }

    /// Answers the reads whose round a majority has answered, and begins the round that others wait for.
    fn confirm_reads(&mut self, node: &mut Node) {
        if self.reads.want_round_after(self.round) && self.confirmed(node.options) >= self.round {
            self.begin_round(node);
        }
        let confirmed = self.confirmed(node.options);
        while let Some((id, slot)) = self.reads.pop_confirmed(confirmed) {
            node.out.push(Output::ReadReady { id, slot });
        }
    }

    fn confirmed(&self, options: &Options) -> Round {
        if broken(Bug::Etcd741) {
            return self.next_round();
        }
        let answered = self
            .voters
            .values()
            .map(|voter| voter.round)
            .chain([self.round]);
        options.membership.reached_by_quorum(answered)
    }

    /// Refuses all that waits: what was not proposed never will be, and reads can no longer be vouched for.
    pub(super) fn resign(mut self, leader: Option<NodeId>, out: &mut Outbox) {
        if self.seal.is_some() {
            let reason = SealRefusal::NotLeader { leader };
            out.push(Output::SealRefused { reason });
        }
        for (id, _) in self.queue {
            out.push(Output::Refused {
                id,
                reason: Refusal::NotLeader { leader },
            });
        }
        for id in self.reads.drain() {
            out.push(Output::ReadRefused { id, leader });
        }
    }
}

fn led<'a>(ballot: Ballot, round: Round, learner: &Learner, acceptor: &'a Acceptor) -> Led<'a> {
    Led {
        ballot,
        round,
        decided: learner.decided(),
        log: acceptor.log(),
    }
}
