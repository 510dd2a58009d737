//! How the rest of the process talks to the replica: propose, read, watch, report.
//!
//! Any node takes a write or a read; where it does not lead it asks the leader over the peer connection. A command
//! carries a key, so an attempt whose fate is unknown is tried again with the next leader, and is applied once.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::calls::{Attempt, Reply};
use super::frame::{Body, Read};
use super::group::hex;
use super::leader::{Leader, TOO_LARGE};
use super::reports::{Activation, NodeReport, NodeRole};
use super::shared::{Committed, Shared, Standing};
use super::status::{Following, Status};
use crate::paxos::{NodeId, Slot};
use crate::state::{Glance, Machine, Outcome, Proposal};

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
pub enum Unavailable {
    /// Nobody could confirm that it leads.
    #[error("no linearizable read: {why}")]
    NoLeader {
        /// Worded for whoever asked.
        why: String,
    },
    /// Somebody leads, but what it has decided is not applied here.
    #[error("no linearizable read here: {why}")]
    Behind {
        /// Worded for whoever asked.
        why: String,
    },
}

impl Unavailable {
    /// Without what was asked for.
    pub(super) fn why(&self) -> &str {
        let (Self::NoLeader { why } | Self::Behind { why }) = self;
        why
    }
}

impl Handle {
    /// Gets a command decided and applied. The command's stamp is set by the leader.
    pub async fn propose(
        &self,
        command: impl Into<Proposal>,
        within: Duration,
    ) -> Result<Outcome, ProposeError> {
        let proposal = command.into();
        let deadline = Instant::now() + within;
        let mut standing = self.0.standing.subscribe();
        let mut maybe: Option<String> = None;
        loop {
            let leader = self.leader(&mut standing);
            let attempt = match leader {
                Err(why) => return Err(fate(maybe, why)),
                Ok(Leader::Nobody) => Attempt::NotProposed(self.leaderless()),
                Ok(Leader::Here) => {
                    let reply = self.0.propose(&proposal);
                    let me = NodeId(self.0.group().me);
                    self.attempt(me, reply, &mut standing, deadline).await
                }
                Ok(Leader::At(peer)) => {
                    let (request, reply) = self.forward(peer, &proposal);
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
        let slot = self.read_slot(deadline).await?;
        self.catch_up(slot, deadline).await
    }

    /// Whether somebody leads, as most voters confirm within the first time; and whether this node reflects, within the
    /// second, what it would for a read.
    pub async fn confirm(
        &self,
        within: Duration,
        catch_up: Duration,
    ) -> Result<Result<(), Unavailable>, Unavailable> {
        let slot = self.read_slot(Instant::now() + within).await?;
        Ok(self.catch_up(slot, Instant::now() + catch_up).await)
    }

    async fn catch_up(&self, slot: u64, deadline: Instant) -> Result<(), Unavailable> {
        let mut applied = self.0.applied.subscribe();
        let caught_up = timeout_at(deadline, applied.wait_for(|at| *at >= slot)).await;
        caught_up.map(drop).map_err(|_| {
            let behind = "this node is behind the leader";
            let trouble = self.0.standing.borrow().state.trouble();
            let why = trouble.map_or_else(|| behind.to_owned(), |why| format!("{behind}: {why}"));
            Unavailable::Behind { why }
        })
    }

    /// The slot that a read which begins now must see.
    pub(super) async fn read_slot(&self, deadline: Instant) -> Result<u64, Unavailable> {
        let mut standing = self.0.standing.subscribe();
        loop {
            let slot = match self.leader(&mut standing) {
                Err(why) => return Err(Unavailable::NoLeader { why }),
                Ok(Leader::Nobody) => None,
                Ok(Leader::Here) => timeout_at(deadline, self.0.read()).await.ok().flatten(),
                Ok(Leader::At(peer)) => {
                    let question = |request| Body::Read(Read { request });
                    self.ask(peer, &mut standing, deadline, Reply::Slot, question)
                        .await
                }
            };
            if let Some(slot) = slot {
                return Ok(slot);
            }
            if !self.pause(&mut standing, deadline).await {
                let why = "no leader could confirm that it leads".to_owned();
                return Err(Unavailable::NoLeader { why });
            }
        }
    }

    /// The state machine at a glance, as of what was applied last. It waits for nothing.
    pub fn glance(&self) -> Glance {
        self.0.glance()
    }

    /// Looks at the state machine. Keep it short: applying waits meanwhile, and the look for what is being applied.
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

    /// Whether the local data plane could not build a revision newer than the one it serves.
    pub fn rejects(&self) -> bool {
        self.0.reports.rejects()
    }

    /// Changes with every slot applied that changed sessions or locks.
    pub fn locked(&self) -> watch::Receiver<u64> {
        self.0.locked.subscribe()
    }

    /// The local data plane refuses tokens that are old as of this slot, the last that changed any lock; all nodes are
    /// told.
    pub fn fenced(&self, slot: u64) {
        self.0.reports.fenced(slot);
    }

    /// All nodes, as this one last heard of them: the voters, and the followers of the last minute.
    pub fn nodes(&self) -> Vec<NodeReport> {
        self.0.reports.nodes(&self.0)
    }

    /// Has [`Handle::nodes`] be as new as it can: a follower asks its voter, which knows all nodes. Where none answers
    /// within the time it stays as it was.
    pub async fn renew_nodes(&self, within: Duration) {
        if self.0.group().follower.is_none() {
            return;
        }
        let Some(voter) = self.0.standing.borrow().voter else {
            return;
        };
        let (reply, receiver) = oneshot::channel();
        let request = self.0.calls.begin(voter, Reply::Nodes(reply));
        if self.0.links.send(voter, Body::Ask(Read { request }))
            && let Ok(Ok(nodes)) = tokio::time::timeout(within, receiver).await
        {
            self.0.reports.listed(nodes);
        }
        self.0.calls.forget(voter, request);
    }

    /// How long ago this node heard of its leader: what is newer it may not know. `None`: it knows no leader.
    pub fn age(&self) -> Option<Duration> {
        if self.0.group().follower.is_some() {
            let last = self.0.last_heartbeat().filter(|last| last.led);
            return last.map(|last| last.at.elapsed() + last.age);
        }
        let leader = self
            .nodes()
            .into_iter()
            .find(|n| n.role == NodeRole::Leader);
        leader.and_then(|leader| leader.heard)
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
            id: Some(NodeId(group.me)).filter(|id| !group.cluster.is_empty() && id.0 > 0),
            name: group.own().map(|own| own.name.clone()).unwrap_or_default(),
            cluster: Some(hex(&group.cluster)).filter(|cluster| !cluster.is_empty()),
            leader_name: standing.leader.and_then(name),
            following: self.following(&standing),
            feeding: self.0.feed.readers(),
            state: standing.state,
            role: standing.role,
            leader: standing.leader,
            ballot: standing.ballot,
            decided: *self.0.decided.borrow(),
            applied: Slot(*self.0.applied.borrow()),
            checkpoint: Slot(self.0.checkpoint.load(Relaxed)),
            counts: self.0.counters.counts(),
        }
    }
}

impl Handle {
    /// Of a node without a vote: who feeds it.
    fn following(&self, standing: &Standing) -> Option<Following> {
        let group = self.0.group();
        group.follower.as_ref()?;
        let last = self.0.last_heartbeat();
        let voter = standing.voter.and_then(|voter| group.member(voter));
        Some(Following {
            voter: voter.map(|voter| voter.name.clone()),
            lag: last.map_or(0, |last| last.slot.saturating_sub(*self.0.applied.borrow())),
            heard: last.map(|last| last.at.elapsed()),
        })
    }
}

fn fate(maybe: Option<String>, why: String) -> ProposeError {
    match maybe {
        Some(why) => ProposeError::Unknown { why },
        None => ProposeError::NotProposed { why },
    }
}
