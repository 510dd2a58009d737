//! One attempt at the leader: whom to ask, asking over the peer connection or here, and when to give up.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Handle;
use super::calls::{Attempt, Reply};
use super::frame::{Body, Forward};
use super::inbox::Full;
use super::proposer::Proposer;
use super::reports::NodeReport;
use super::shared::{Event, Shared, Standing};
use super::status::State;
use crate::config::StickyKey;
use crate::paxos::{MAX_COMMAND_BYTES, NodeId, Role};
use crate::state::Proposal;

/// What is said of a command that no leader would propose.
pub(super) const TOO_LARGE: &str = "the command is larger than 4 MiB";

/// Between two attempts that both were refused at once.
const AGAIN: Duration = Duration::from_millis(10);

/// Whom to ask.
pub(super) enum Leader {
    Here,
    At(NodeId),
    Nobody,
}

impl Handle {
    /// Whom to ask now, or why it is of no use to wait.
    pub(super) fn leader(
        &self,
        standing: &mut watch::Receiver<Standing>,
    ) -> Result<Leader, String> {
        let standing = standing.borrow_and_update();
        match &standing.state {
            State::Failed { reason } => Err(format!("this node's replica has failed: {reason}")),
            State::Full if standing.role == Role::Leader => {
                Err("the leader's disk is full".to_owned())
            }
            _ => Ok(match standing.asks() {
                None => Leader::Nobody,
                Some(leader) if leader.0 == self.0.group().me => Leader::Here,
                Some(leader) => Leader::At(leader),
            }),
        }
    }

    /// Why there is no leader, as far as this node can tell.
    pub(super) fn leaderless(&self) -> String {
        let group = self.0.group();
        if group.follower.is_some() {
            return "no voter can be reached".to_owned();
        }
        let voters: Vec<NodeReport> = self.nodes().into_iter().filter(NodeReport::votes).collect();
        let lost = |voter: &&NodeReport| !voter.is_reachable();
        let lost: Vec<&str> = voters
            .iter()
            .filter(lost)
            .map(|it| it.name.as_str())
            .collect();
        let (all, reached) = (voters.len(), voters.len() - lost.len());
        let mut why = format!("there is no leader; {reached} of {all} voters can be reached");
        if !lost.is_empty() {
            why += &format!(", not {}", lost.join(", "));
        }
        for voter in voters.iter().filter(|voter| voter.heard.is_some()) {
            if let Some(trouble) = &voter.trouble {
                why += &format!("; {}: {trouble}", voter.name);
            }
        }
        why
    }

    /// Sends a command to the leader.
    pub(super) fn forward(
        &self,
        peer: NodeId,
        proposal: &Proposal,
    ) -> (u64, oneshot::Receiver<Attempt>) {
        let (reply, receiver) = oneshot::channel();
        let request = self.0.calls.begin(peer, Reply::Attempt(reply));
        let command = proposal.encode();
        if command.len() > MAX_COMMAND_BYTES {
            self.0.calls.answered(peer, request, Attempt::TooLarge);
            return (request, receiver);
        }
        if !self
            .0
            .links
            .send(peer, Body::Forward(Forward { request, command }))
        {
            let why = "the leader cannot be reached".to_owned();
            self.0
                .calls
                .answered(peer, request, Attempt::NotProposed(why));
        }
        (request, receiver)
    }

    /// Waits for what an attempt comes to: not beyond the deadline, nor beyond the leadership it was made under.
    pub(super) async fn attempt(
        &self,
        asked: NodeId,
        reply: oneshot::Receiver<Attempt>,
        standing: &mut watch::Receiver<Standing>,
        deadline: Instant,
    ) -> Attempt {
        // Cancelling any of these loses only an answer, and then the fate is said to be unknown.
        let unknown = tokio::select! {
            biased;
            answer = reply => match answer {
                Ok(attempt) => return attempt,
                Err(_) => "the leader was lost before it answered",
            },
            _ = standing.wait_for(|now| now.asks().is_some_and(|leader| leader != asked)) => {
                "the leader changed before it answered"
            }
            () = sleep_until(deadline) => "no majority has answered in time",
        };
        Attempt::Unknown(unknown.to_owned())
    }

    /// Asks the leader what only it can answer.
    pub(super) async fn ask<T>(
        &self,
        peer: NodeId,
        standing: &mut watch::Receiver<Standing>,
        deadline: Instant,
        reply: impl FnOnce(oneshot::Sender<Option<T>>) -> Reply,
        question: impl FnOnce(u64) -> Body,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        let request = self.0.calls.begin(peer, reply(sender));
        if !self.0.links.send(peer, question(request)) {
            self.0.calls.forget(peer, request);
            return None;
        }
        // Cancelling either loses an answer that nobody needs any more.
        let answer = tokio::select! {
            biased;
            answer = receiver => answer.ok().flatten(),
            _ = standing.wait_for(|now| now.asks().is_some_and(|leader| leader != peer)) => None,
            () = sleep_until(deadline) => None,
        };
        self.0.calls.forget(peer, request);
        answer
    }

    /// Waits a little, or for a change of the standing; for none where the replica has failed, for it was its last one,
    /// and who waited for an attempt has seen it. False once the deadline has passed.
    pub(super) async fn pause(
        &self,
        standing: &mut watch::Receiver<Standing>,
        deadline: Instant,
    ) -> bool {
        let again = Instant::now() + AGAIN;
        let (asks, failed) = {
            let now = standing.borrow();
            (now.asks().is_some(), now.state.failure().is_some())
        };
        if asks {
            sleep_until(again.min(deadline)).await;
        } else if !failed {
            let _ = timeout_at(deadline, standing.changed()).await;
        }
        Instant::now() < deadline
    }
}

impl Shared {
    /// Gives a command to the replica of this node, which leads as far as the caller knows.
    pub(super) fn propose(&self, proposal: &Proposal) -> oneshot::Receiver<Attempt> {
        let (reply, receiver) = oneshot::channel();
        self.propose_for(Proposer::Here(reply), proposal);
        receiver
    }

    /// The same; `proposer` is told what becomes of it.
    pub(super) fn propose_for(&self, proposer: Proposer, proposal: &Proposal) {
        let level = proposal.level();
        let glance = self.glance();
        if level > glance.level
            && let Some(name) = self.reports.behind(self, level)
        {
            let why = format!(
                "it needs feature level {level}, and `{name}` has not said that it knows it: upgrade that node first, or remove it"
            );
            return proposer.tell(Attempt::NotProposed(why));
        }
        let key = glance.config.sticky_key.is_none();
        let key = key.then(|| StickyKey(rand::random()));
        let command = proposal.stamped(self.stamp(), key);
        if command.len() > MAX_COMMAND_BYTES {
            return proposer.tell(Attempt::TooLarge);
        }
        if let Err(refused) = self.offer(Event::Propose { command, proposer })
            && let (Event::Propose { proposer, .. }, full) = *refused
        {
            let why = match full {
                Full::Full => "too many commands wait at the leader",
                Full::Closed => "the leader's replica has ended",
            };
            proposer.tell(Attempt::NotProposed(why.to_owned()));
        }
    }

    /// The slot a read that begins now must see, if this node leads.
    pub(super) async fn read(&self) -> Option<u64> {
        let (reply, receiver) = oneshot::channel();
        self.offer(Event::Read { reply }).ok()?;
        receiver.await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::group::Group;
    use super::super::reports::Reports;
    use super::super::running::standing;
    use super::super::tests::harness::LONG;
    use super::*;
    use crate::paxos::{Ballot, Epoch, Recovered};
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_replica_that_has_failed_is_not_waited_for() {
        let group = Group::alone("a", [1; 16], [2; 16]);
        let recovered = Recovered::empty(Ballot::initial(Epoch(1)));
        let shared = Shared::new(group, standing(&recovered), Reports::new(None));
        let handle = Handle(Arc::new(shared));
        let mut watched = handle.0.standing.subscribe();
        let soon = Instant::now() + AGAIN;
        let (_reply, waits) = oneshot::channel();
        let reason = "the log failed".to_owned();
        handle.0.stand(|now| now.state = State::Failed { reason });
        // It has looked at the failure by the time that its attempt ends.
        let attempt = handle.attempt(NodeId(1), waits, &mut watched, soon);
        assert!(matches!(attempt.await, Attempt::Unknown(_)));
        let in_an_age = soon + 100 * LONG;
        let pause = timeout(LONG, handle.pause(&mut watched, in_an_age));
        assert_eq!(pause.await, Ok(true));
        assert!(handle.leader(&mut watched).is_err());
    }
}
