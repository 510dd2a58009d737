//! How the rest of the process talks to the replica: propose, read, watch, report.
//!
//! Any node takes a write or a read; where it does not lead it asks the leader over the peer connection. A command
//! carries a key, so an attempt whose fate is unknown is tried again with the next leader, and is applied once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::calls::Attempt;
use super::group::hex;
use super::leader::{Leader, TOO_LARGE};
use super::reports::{Activation, NodeReport};
use super::shared::{Committed, Shared};
use super::status::Status;
use crate::paxos::{NodeId, Slot};
use crate::state::{Command, Machine, Outcome};

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
                Attempt::TooLarge => return Err(fate(maybe, TOO_LARGE.to_owned())),
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
}

fn fate(maybe: Option<String>, why: String) -> ProposeError {
    match maybe {
        Some(why) => ProposeError::Unknown { why },
        None => ProposeError::NotProposed { why },
    }
}
