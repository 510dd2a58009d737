//! How a voter changes its part: by timers, connections, proposals that come in, and what has become possible.

use bytes::Bytes;

use super::{Replica, State};
use crate::bugs::{Bug, broken};
use crate::paxos::candidate::{Candidate, Won};
use crate::paxos::leader::{Leader, Node};
use crate::paxos::outbox::Outbox;
use crate::paxos::{
    Ballot, MAX_COMMAND_BYTES, NodeId, Output, ProposalId, ReadId, Refusal, Time, TransferFailure,
};

impl Replica {
    /// Lets the leader act, if this node leads.
    pub(super) fn lead(&mut self, out: &mut Outbox, act: impl FnOnce(&mut Leader, &mut Node)) {
        if let State::Leader(leader) = &mut self.state {
            let (acceptor, learner) = (&mut self.acceptor, &mut self.learner);
            act(
                leader,
                &mut Node {
                    now: self.now,
                    options: &self.options,
                    acceptor,
                    learner,
                    out,
                },
            );
        }
    }

    pub(super) fn on_propose(&mut self, id: ProposalId, command: Bytes, out: &mut Outbox) {
        if command.len() > MAX_COMMAND_BYTES {
            out.push(Output::Refused {
                id,
                reason: Refusal::TooLarge,
            });
        } else if let State::Leader(_) = self.state {
            self.lead(out, |leader, node| leader.propose(id, command, node));
        } else {
            out.push(Output::Refused {
                id,
                reason: Refusal::NotLeader {
                    leader: self.leader(),
                },
            });
        }
    }

    pub(super) fn on_read(&mut self, id: ReadId, out: &mut Outbox) {
        if let State::Leader(_) = self.state {
            self.lead(out, |leader, node| leader.read(id, node));
        } else {
            out.push(Output::ReadRefused {
                id,
                leader: self.leader(),
            });
        }
    }

    pub(super) fn on_transfer(&mut self, to: Option<NodeId>, out: &mut Outbox) {
        if let State::Leader(_) = self.state {
            self.lead(out, |leader, node| leader.transfer(to, node));
        } else {
            let leader = self.leader();
            let reason = TransferFailure::NotLeader { leader };
            out.push(Output::TransferFailed { reason });
        }
    }

    pub(super) fn on_connected(&mut self, peer: NodeId, out: &mut Outbox) {
        if peer == self.options.id {
            return;
        }
        let whole = self.election.connect(peer, &self.options.membership);
        if whole && matches!(self.state, State::Follower { .. }) && self.election.hears_nobody() {
            self.election.wait_briefly(self.now, &mut self.random);
        }
        self.lead(out, |leader, node| leader.on_connected(peer, node));
    }

    /// A closed connection to the leader counts as not hearing it: no need to wait for the timeout.
    pub(super) fn on_disconnected(&mut self, peer: NodeId) {
        self.election.disconnect(peer);
        if matches!(self.state, State::Follower { .. }) && self.election.awaits(peer) {
            self.state = State::Follower { leader: None };
            self.election.forget();
            self.election.wait_briefly(self.now, &mut self.random);
        }
    }

    pub(super) fn on_tick(&mut self, out: &mut Outbox) {
        let now = self.now;
        match &mut self.state {
            State::Entering { .. } => {}
            State::Removed => self.tell_of_epoch(out),
            State::Follower { .. } if !self.acceptor.is_whole() => {}
            State::Follower { .. } if self.options.membership.voters.len() == 1 => self.stand(out),
            State::Follower { .. }
                if broken(Bug::Cloudflare2020) && self.election.patient_until() <= now =>
            {
                self.stand(out);
            }
            State::Follower { leader } => {
                if self
                    .election
                    .deadline(&self.options.membership)
                    .is_some_and(|deadline| deadline <= now)
                {
                    *leader = None;
                    self.election.forget();
                    let (id, membership) = (self.options.id, &self.options.membership);
                    self.election
                        .ask(now, id, membership, &mut self.random, out);
                } else if self.tells() && self.election.patient_until() <= now {
                    self.tell_of_epoch(out);
                }
            }
            State::Candidate(candidate) => {
                if candidate.give_up_at <= now {
                    self.resign(None, out);
                    self.election.wait_briefly(now, &mut self.random);
                } else if candidate.resend_at <= now {
                    candidate.resend_at = now + self.options.heartbeat;
                    candidate.resend(
                        &self.options.membership,
                        self.options.id,
                        &self.acceptor,
                        out,
                    );
                }
            }
            State::Leader(leader) => {
                if !leader.in_reach(now, &self.options) && !broken(Bug::QuorumLoss) {
                    self.resign(None, out);
                    self.election.wait(now, &mut self.random);
                } else if leader.heartbeat_at() <= now {
                    leader.resume(now, out);
                    self.lead(out, |leader, node| leader.begin_round(node));
                }
            }
        }
    }

    /// The leader hands over to this voter, which stands unless it could not win: then its leader goes on.
    pub(super) fn on_stand(&mut self, from: NodeId, ballot: Ballot, out: &mut Outbox) {
        let able = self.obeys(from, ballot, out)
            && self.acceptor.synced() == Some(ballot)
            && self.election.deadline(&self.options.membership).is_some();
        if able && matches!(self.state, State::Follower { .. }) {
            self.stand(out);
        }
    }

    /// Tries to lead, by a ballot above all it knows of. One ballot is tried once: the promise is raised with it, and
    /// survives a restart.
    pub(super) fn stand(&mut self, out: &mut Outbox) {
        assert!(self.acceptor.is_whole(), "a damaged voter stands");
        let (id, membership) = (self.options.id, &self.options.membership);
        let ballot = self
            .election
            .next_ballot(id, self.acceptor.promised(), membership);
        let own = self.acceptor.promise(ballot, &mut self.random, out);
        let candidate = Candidate::new(
            ballot,
            own,
            self.now,
            self.options.heartbeat,
            self.options.election_timeout,
        );
        candidate.prepare(membership, id, &self.acceptor, out);
        self.election.forget();
        self.election.wait(self.now, &mut self.random);
        self.state = State::Candidate(candidate);
    }

    /// Does what the input just handled has made possible.
    pub(super) fn advance(&mut self, out: &mut Outbox) {
        let (id, membership) = (self.options.id, &self.options.membership);
        if matches!(self.state, State::Follower { .. }) && self.election.supported(membership) {
            self.stand(out);
        } else if let State::Candidate(candidate) = &mut self.state {
            let ballot = candidate.ballot();
            assert_eq!(
                ballot,
                self.acceptor.promised(),
                "stands by a ballot that is not the one promised"
            );
            if let Some(won) = candidate.advance(membership, id, &self.acceptor, out) {
                self.begin(won, out);
            }
        }
        self.lead(out, |leader, node| leader.advance(node));
        self.end_epoch(out);
        self.begin_epoch(out);
    }

    /// Phase 1 is done: the log and its barrier are adopted in one batch, and led on from.
    fn begin(&mut self, won: Won, out: &mut Outbox) {
        self.acceptor.adopt(won.base, won.first, won.entries, out);
        self.learner.deliver(&self.acceptor, out);
        let (acceptor, learner) = (&mut self.acceptor, &mut self.learner);
        let node = &mut Node {
            now: self.now,
            options: &self.options,
            acceptor,
            learner,
            out,
        };
        let ballot = node.acceptor.promised();
        self.state = State::Leader(Leader::new(ballot, &won.promises, node));
    }

    /// Follows again, if it led or stood.
    pub(super) fn resign(&mut self, leader: Option<NodeId>, out: &mut Outbox) {
        if let State::Leader(old) =
            std::mem::replace(&mut self.state, State::Follower { leader: None })
        {
            old.resign(leader, out);
        }
    }

    /// Tells what has changed: the part it plays, and when it wants to be woken.
    pub(super) fn tell(&mut self, ticked: bool, out: &mut Outbox) {
        let (role, leader) = (self.role(), self.leader());
        if (role, leader) != (self.told.role, self.told.leader) {
            (self.told.role, self.told.leader) = (role, leader);
            out.push(Output::RoleChanged { role, leader });
        }
        let Some(wake_at) = self.deadline() else {
            return;
        };
        let standing = self
            .told
            .wake_at
            .filter(|&told| told > self.now && told <= wake_at);
        if ticked || standing.is_none() {
            self.told.wake_at = Some(wake_at);
            out.push(Output::WakeAt(wake_at));
        }
    }

    /// Whether it reaches somebody, but no majority, and may be the one to tell of this epoch.
    fn tells(&self) -> bool {
        let alone = self.election.deadline(&self.options.membership).is_none();
        alone && self.succeeds() && self.election.connected().next().is_some()
    }

    fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::Entering { .. } => None,
            State::Removed => Some(self.election.patient_until()),
            State::Follower { .. } if !self.acceptor.is_whole() => None,
            State::Follower { .. } if self.tells() => Some(self.election.patient_until()),
            State::Follower { .. } => self.election.deadline(&self.options.membership),
            State::Candidate(candidate) => Some(candidate.resend_at.min(candidate.give_up_at)),
            State::Leader(leader) => Some(leader.heartbeat_at()),
        }
    }
}
