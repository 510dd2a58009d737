//! When to stand, and whom to support: who is connected, who was heard, and the question asked before standing.
//!
//! Nothing here is needed for safety. A node asks before it stands, so that one that is cut off does not push the round
//! up and depose a leader on its return; it is not supported by who hears a leader; and it does not even ask unless it
//! is connected to a majority. The other half is the leader's: without a majority in reach it steps down, else those
//! who hear it would support nobody (a leader that can send but not receive; chains of links).

use std::collections::BTreeSet;
use std::time::Duration;

use super::outbox::Outbox;
use super::random::Random;
use super::{Attempt, Ballot, Membership, Message, NodeId, Time};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Election {
    /// T.
    timeout: Duration,
    connected: BTreeSet<NodeId>,
    /// The leader or candidate promised, and when it was last heard; nobody after its connection closed.
    heard: Option<(NodeId, Time)>,
    /// The patience of this wait ends so long after `since`.
    patience: Duration,
    since: Time,
    attempt: Attempt,
    /// Who supports this attempt; none while nothing is asked.
    support: Option<BTreeSet<NodeId>>,
    /// The highest round met.
    highest: u64,
}

impl Election {
    pub(super) fn new(now: Time, timeout: Duration, random: &mut Random) -> Self {
        let mut election = Election {
            timeout,
            connected: BTreeSet::new(),
            heard: None,
            patience: timeout,
            since: now,
            attempt: Attempt(random.draw()),
            support: None,
            highest: 0,
        };
        election.wait(now, random);
        election
    }

    /// Waits for a full timeout, in [T, 1.5 T): someone leads or is about to.
    pub(super) fn wait(&mut self, now: Time, random: &mut Random) {
        self.wait_for(now, random.between(self.timeout, self.timeout * 3 / 2));
    }

    /// Waits for less than T/4: nobody is known to lead. Not for nothing, so that two do not stand at once again.
    pub(super) fn wait_briefly(&mut self, now: Time, random: &mut Random) {
        self.wait_for(now, random.between(self.timeout / 8, self.timeout / 4));
    }

    fn wait_for(&mut self, now: Time, patience: Duration) {
        (self.since, self.patience, self.support) = (now, patience, None);
    }

    /// When to ask, unless something is heard before; never while no majority is connected.
    pub(super) fn deadline(&self, membership: &Membership) -> Option<Time> {
        let reached = self.connected.intersection(&membership.voters).count() + 1;
        (reached >= membership.quorum()).then(|| self.patient_until())
    }

    /// When this wait ends, whoever is connected.
    pub(super) fn patient_until(&self) -> Time {
        self.since + self.patience
    }

    /// The promised leader or candidate was heard.
    pub(super) fn hear(&mut self, from: NodeId, now: Time, random: &mut Random) {
        self.heard = Some((from, now));
        (self.since, self.support) = (now, None);
        if self.patience < self.timeout {
            self.wait(now, random);
        }
    }

    /// An epoch begins: nothing heard or asked in the one before counts.
    pub(super) fn begin_epoch(&mut self, now: Time, random: &mut Random) {
        self.highest = 0;
        self.forget();
        self.wait_briefly(now, random);
    }

    /// Nobody is heard any more.
    pub(super) fn forget(&mut self) {
        self.heard = None;
    }

    /// Whether this is the node whose leadership or candidacy is waited for.
    pub(super) fn awaits(&self, node: NodeId) -> bool {
        self.heard.is_some_and(|(heard, _)| heard == node)
    }

    pub(super) fn hears_nobody(&self) -> bool {
        self.heard.is_none()
    }

    /// Whether `asker` would find support here: nobody else is heard. That it asks itself shows that it leads no more.
    pub(super) fn supports(&self, asker: NodeId, now: Time) -> bool {
        self.heard
            .is_none_or(|(node, at)| node == asker || now.since(at) >= self.timeout)
    }

    /// Whether this peer's connection makes the majority whole.
    pub(super) fn connect(&mut self, peer: NodeId, membership: &Membership) -> bool {
        let before = self.deadline(membership).is_some();
        self.connected.insert(peer);
        !before && self.deadline(membership).is_some()
    }

    pub(super) fn disconnect(&mut self, peer: NodeId) {
        self.connected.remove(&peer);
    }

    /// Asks all who can be reached. The question is repeated as a new one when it finds no majority in time.
    pub(super) fn ask(
        &mut self,
        now: Time,
        id: NodeId,
        membership: &Membership,
        random: &mut Random,
        out: &mut Outbox,
    ) {
        self.wait_briefly(now, random);
        self.attempt = Attempt(self.attempt.0.wrapping_add(1));
        self.support = Some(BTreeSet::from([id]));
        for &peer in self.connected.intersection(&membership.voters) {
            out.send(
                peer,
                Message::Ask {
                    attempt: self.attempt,
                },
            );
        }
    }

    /// Those that can be reached, voters or not.
    pub(super) fn connected(&self) -> impl Iterator<Item = NodeId> {
        self.connected.iter().copied()
    }

    pub(super) fn on_answer(&mut self, from: NodeId, attempt: Attempt, support: bool) {
        if let Some(supporters) = self
            .support
            .as_mut()
            .filter(|_| support && attempt == self.attempt)
        {
            supporters.insert(from);
        }
    }

    /// Whether a majority supports this node: then it may stand.
    pub(super) fn supported(&self, membership: &Membership) -> bool {
        self.support
            .as_ref()
            .is_some_and(|supporters| supporters.len() >= membership.quorum())
    }

    /// Somebody has promised this.
    pub(super) fn meet(&mut self, ballot: Ballot, membership: &Membership) {
        if ballot.epoch == membership.epoch {
            self.highest = self.highest.max(ballot.round);
        }
    }

    /// A ballot above all that was met and promised.
    pub(super) fn next_ballot(
        &self,
        id: NodeId,
        promised: Ballot,
        membership: &Membership,
    ) -> Ballot {
        let promised = if promised.epoch == membership.epoch {
            promised.round
        } else {
            0
        };
        Ballot {
            epoch: membership.epoch,
            round: self.highest.max(promised) + 1,
            node: Some(id),
        }
    }
}
