//! Whom the fate of a proposal is told: a task of this process, or the peer that forwarded it.
//!
//! A peer is answered by whoever knows the fate, the driver for one: under load a task for each question would cost
//! more than the answer.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::calls::Attempt;
use super::frame::{Answer, Body, Fate};
use super::shared::Shared;
use crate::paxos::NodeId;

/// Who waits for the fate of a proposal.
pub(super) enum Proposer {
    /// A task of this process.
    Here(oneshot::Sender<Attempt>),
    /// A peer.
    Peer(Forwarder),
}

impl Proposer {
    /// Tells it; it may have gone.
    pub(super) fn tell(self, attempt: Attempt) {
        match self {
            Self::Here(reply) => drop(reply.send(attempt)),
            Self::Peer(peer) => peer.tell(attempt.into()),
        }
    }
}

/// A peer that waits on the connection over which it asked. It is told something in any case.
pub(super) struct Forwarder {
    shared: Arc<Shared>,
    peer: NodeId,
    /// Of the connection.
    number: u64,
    request: u64,
    fate: Option<Fate>,
    /// Of the questions of this connection that may wait.
    _permit: OwnedSemaphorePermit,
}

impl Forwarder {
    /// The peer that asked `request` over its connection `number`.
    pub(super) fn new(
        shared: Arc<Shared>,
        (peer, number): (NodeId, u64),
        request: u64,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            shared,
            peer,
            number,
            request,
            fate: None,
            _permit: permit,
        }
    }

    /// Tells it.
    pub(super) fn tell(mut self, fate: Fate) {
        self.fate = Some(fate);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        let lost = || Fate::Unknown("the leader's replica ended".to_owned());
        let fate = Some(self.fate.take().unwrap_or_else(lost));
        let request = self.request;
        let answer = Body::Answer(Answer { request, fate });
        self.shared.links.answer(self.peer, self.number, answer);
    }
}
