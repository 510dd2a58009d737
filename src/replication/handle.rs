//! How the rest of the process talks to the replica: propose, read, watch, report.
//!
//! Any node takes a write or a read; where it does not lead it asks the leader over the peer connection. A command
//! carries a key, so an attempt whose fate is unknown is tried again with the next leader, and is applied once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::calls::{Attempt, Reply};
use super::frame::{Body, Forward, Read};
use super::group::hex;
use super::inbox::Full;
use super::reports::{Activation, NodeReport};
use super::shared::{Committed, Event, Shared, Standing};
use super::status::{State, Status};
use crate::paxos::{NodeId, Role, Slot};
use crate::state::{Command, Machine, Outcome};

/// Between two attempts that both were refused at once.
const AGAIN: Duration = Duration::from_millis(10);

/// A handle on this node's replica; clones are the same.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Shared>);

/// Why a command has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// It was never given to a leader: it changed nothing and never will.
    #[error("not proposed: {why}")]
    NotProposed {
        /// Worded for whoever asked.
        why: String,
    },
    /// It may still commit: ask again with the same key.
    #[error("outcome unknown, it may still commit: {why}")]
    Unknown {
        /// Worded for whoever asked.
        why: String,
    },
}

/// Why a read cannot be answered linearizably.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no linearizable read: {why}")]
pub struct Unavailable {
    /// Worded for whoever asked.
    pub why: String,
}

/// Whom to ask.
enum Leader {
    Here,
    At(NodeId),
    Nobody,
}

impl Handle {
    /// Gets a command decided and applied. The command's stamp is set by the leader.
    pub async fn propose(
        &self,
        command: Command,
        within: Duration,
    ) -> Result<Outcome, ProposeError> {
        let deadline = Instant::now() + within;
        let mut standing = self.0.standing.subscribe();
        let mut maybe: Option<String> = None;
        loop {
            let leader = self.leader(&mut standing);
            let attempt = match leader {
                Err(why) => return Err(fate(maybe, why)),
                Ok(Leader::Nobody) => Attempt::NotProposed(self.leaderless()),
                Ok(Leader::Here) => {
                    let reply = self.0.propose(command.clone());
                    let me = NodeId(self.0.group().me);
                    self.attempt(me, reply, &mut standing, deadline).await
                }
                Ok(Leader::At(peer)) => {
                    let (request, reply) = self.forward(peer, &command);
                    let attempt = self.attempt(peer, reply, &mut standing, deadline).await;
                    self.0.calls.forget(peer, request);
                    attempt
                }
            };
            let why = match attempt {
                Attempt::Applied(outcome) => return Ok(outcome),
                Attempt::NotProposed(why) => why,
                Attempt::Unknown(why) => maybe.insert(why).clone(),
            };
            if !self.pause(&mut standing, deadline).await {
                return Err(fate(maybe, why));
            }
        }
    }

    /// When this returns, this node's state machine reflects every write acknowledged anywhere before the call.
    pub async fn read_barrier(&self, within: Duration) -> Result<(), Unavailable> {
        let deadline = Instant::now() + within;
        let mut standing = self.0.standing.subscribe();
        loop {
            let slot = match self.leader(&mut standing) {
                Err(why) => return Err(Unavailable { why }),
                Ok(Leader::Nobody) => None,
                Ok(Leader::Here) => timeout_at(deadline, self.0.read()).await.ok().flatten(),
                Ok(Leader::At(peer)) => self.ask(peer, &mut standing, deadline).await,
            };
            if let Some(slot) = slot {
                let mut applied = self.0.applied.subscribe();
                let caught_up = timeout_at(deadline, applied.wait_for(|at| *at >= slot)).await;
                return caught_up.map(drop).map_err(|_| Unavailable {
                    why: "this node is behind the leader".to_owned(),
                });
            }
            if !self.pause(&mut standing, deadline).await {
                let why = "no leader could confirm that it leads".to_owned();
                return Err(Unavailable { why });
            }
        }
    }

    /// Looks at the state machine. Keep it short: applying waits meanwhile.
    pub fn inspect<R>(&self, look: impl FnOnce(&Machine) -> R) -> R {
        self.0.inspect(look)
    }

    /// The config after each change; a slow receiver sees only the newest.
    pub fn watch(&self) -> watch::Receiver<Committed> {
        self.0.committed.subscribe()
    }

    /// What the local data plane serves now. It is passed on to all nodes once it would survive a restart.
    pub fn report(&self, activation: Activation) {
        self.0.reports.activated(activation);
    }

    /// All voters, as this node last heard of them.
    pub fn nodes(&self) -> Vec<NodeReport> {
        self.0.reports.nodes(&self.0)
    }

    /// Changes whenever anything but a slot in [`Handle::nodes`] does.
    pub fn nodes_changed(&self) -> watch::Receiver<u64> {
        self.0.reports.changed.subscribe()
    }

    /// Where the replica stands now.
    pub fn status(&self) -> Status {
        let standing = self.0.standing.borrow().clone();
        let group = self.0.group();
        let name = |id: NodeId| group.member(id).map(|member| member.name.clone());
        Status {
            id: Some(NodeId(group.me)).filter(|_| !group.cluster.is_empty()),
            name: name(NodeId(group.me)).unwrap_or_default(),
            cluster: Some(hex(&group.cluster)).filter(|cluster| !cluster.is_empty()),
            leader_name: standing.leader.and_then(name),
            state: standing.state,
            role: standing.role,
            leader: standing.leader,
            ballot: standing.ballot,
            decided: *self.0.decided.borrow(),
            applied: Slot(*self.0.applied.borrow()),
            counts: self.0.counters.counts(),
        }
    }

    /// Whom to ask now, or why it is of no use to wait.
    fn leader(&self, standing: &mut watch::Receiver<Standing>) -> Result<Leader, String> {
        let standing = standing.borrow_and_update();
        match &standing.state {
            State::Failed { reason } => Err(format!("this node's replica has failed: {reason}")),
            State::Full if standing.role == Role::Leader => {
                Err("the leader's disk is full".to_owned())
            }
            _ => Ok(match standing.leader {
                None => Leader::Nobody,
                Some(leader) if leader.0 == self.0.group().me => Leader::Here,
                Some(leader) => Leader::At(leader),
            }),
        }
    }

    /// Why there is no leader, as far as this node can tell.
    fn leaderless(&self) -> String {
        let group = self.0.group();
        let reached = |id: u32| id == group.me || self.0.links.connected(NodeId(id));
        let reached = group
            .members
            .iter()
            .filter(|member| reached(member.id))
            .count();
        format!(
            "there is no leader; {reached} of {} voters can be reached",
            group.members.len()
        )
    }

    /// Sends a command to the leader.
    fn forward(&self, peer: NodeId, command: &Command) -> (u64, oneshot::Receiver<Attempt>) {
        let (reply, receiver) = oneshot::channel();
        let request = self.0.calls.begin(peer, Reply::Attempt(reply));
        let command = command.encode();
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
    async fn attempt(
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
            _ = standing.wait_for(|now| now.leader.is_some_and(|leader| leader != asked)) => {
                "the leader changed before it answered"
            }
            () = sleep_until(deadline) => "no majority has answered in time",
        };
        Attempt::Unknown(unknown.to_owned())
    }

    /// Asks the leader for the slot a read must see.
    async fn ask(
        &self,
        peer: NodeId,
        standing: &mut watch::Receiver<Standing>,
        deadline: Instant,
    ) -> Option<u64> {
        let (reply, receiver) = oneshot::channel();
        let request = self.0.calls.begin(peer, Reply::Slot(reply));
        if !self.0.links.send(peer, Body::Read(Read { request })) {
            self.0.calls.forget(peer, request);
            return None;
        }
        // Cancelling either loses a slot that nobody needs any more.
        let slot = tokio::select! {
            biased;
            slot = receiver => slot.ok().flatten(),
            _ = standing.wait_for(|now| now.leader.is_some_and(|leader| leader != peer)) => None,
            () = sleep_until(deadline) => None,
        };
        self.0.calls.forget(peer, request);
        slot
    }

    /// Waits a little, or for a change of the standing. False once the deadline has passed.
    async fn pause(&self, standing: &mut watch::Receiver<Standing>, deadline: Instant) -> bool {
        let again = Instant::now() + AGAIN;
        if standing.borrow().leader.is_some() {
            sleep_until(again.min(deadline)).await;
        } else {
            let _ = timeout_at(deadline, standing.changed()).await;
        }
        Instant::now() < deadline
    }
}

impl Shared {
    /// Gives a command to the replica of this node, which leads as far as the caller knows.
    pub(super) fn propose(&self, mut command: Command) -> oneshot::Receiver<Attempt> {
        command.stamp = self.stamp();
        let command: Bytes = command.encode();
        let (reply, receiver) = oneshot::channel();
        if let Err(full) = self.offer(Event::Propose { command, reply }) {
            let (reply, receiver) = oneshot::channel();
            let why = match full {
                Full::Full => "too many commands wait at the leader",
                Full::Closed => "the leader's replica has ended",
            };
            let _ = reply.send(Attempt::NotProposed(why.to_owned()));
            return receiver;
        }
        receiver
    }

    /// The slot a read that begins now must see, if this node leads.
    pub(super) async fn read(&self) -> Option<u64> {
        let (reply, receiver) = oneshot::channel();
        self.offer(Event::Read { reply }).ok()?;
        receiver.await.ok().flatten()
    }
}

fn fate(maybe: Option<String>, why: String) -> ProposeError {
    match maybe {
        Some(why) => ProposeError::Unknown { why },
        None => ProposeError::NotProposed { why },
    }
}
