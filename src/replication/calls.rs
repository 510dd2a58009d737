//! Questions to the leader that wait for its answer over the peer connection.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::frame::{KeptAlive, Node};
use super::keeper::Life;
use super::orders::OrderError;
use crate::paxos::NodeId;
use crate::state::Outcome;

/// What one attempt to propose came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Attempt {
    /// Chosen and applied.
    Applied(Outcome),
    /// Never proposed, and never will be: another attempt is safe.
    NotProposed(String),
    /// Larger than any leader proposes: no other attempt will do better.
    TooLarge,
    /// It may still commit: only what carries a key may be tried again.
    Unknown(String),
}

/// What an operator's order came to.
pub(super) type Fulfilled = Result<String, OrderError>;

/// Where an answer goes.
pub(super) enum Reply {
    /// Of a forwarded command.
    Attempt(oneshot::Sender<Attempt>),
    /// Of a read: the slot it must see.
    Slot(oneshot::Sender<Option<u64>>),
    /// Of sessions to be kept alive.
    Lives(oneshot::Sender<Option<Vec<Life>>>),
    /// Of a follower's question for the nodes.
    Nodes(oneshot::Sender<Vec<Node>>),
    /// Of an operator's order.
    Order(oneshot::Sender<Fulfilled>),
}

/// All questions that wait, by the peer that was asked.
#[derive(Default)]
pub(super) struct Calls(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    last: u64,
    replies: BTreeMap<(NodeId, u64), Reply>,
}

impl Calls {
    /// Notes a question to `peer`; gives the number it is asked by.
    pub(super) fn begin(&self, peer: NodeId, reply: Reply) -> u64 {
        let mut waiting = self.lock();
        waiting.last += 1;
        let request = waiting.last;
        waiting.replies.insert((peer, request), reply);
        request
    }

    /// Takes a question back: it was not sent, or nobody waits any more.
    pub(super) fn forget(&self, peer: NodeId, request: u64) {
        self.lock().replies.remove(&(peer, request));
    }

    /// The answer to a forwarded command has come. Whoever asked may have gone.
    pub(super) fn answered(&self, peer: NodeId, request: u64, attempt: Attempt) {
        if let Some(Reply::Attempt(reply)) = self.lock().replies.remove(&(peer, request)) {
            let _ = reply.send(attempt);
        }
    }

    /// The answer to a read has come.
    pub(super) fn read(&self, peer: NodeId, request: u64, slot: Option<u64>) {
        if let Some(Reply::Slot(reply)) = self.lock().replies.remove(&(peer, request)) {
            let _ = reply.send(slot);
        }
    }

    /// The answer to an order has come.
    pub(super) fn ordered(&self, peer: NodeId, request: u64, fulfilled: Fulfilled) {
        if let Some(Reply::Order(reply)) = self.lock().replies.remove(&(peer, request)) {
            let _ = reply.send(fulfilled);
        }
    }

    /// What became of sessions to be kept alive has come.
    pub(super) fn kept(&self, peer: NodeId, told: KeptAlive) {
        if let Some(Reply::Lives(reply)) = self.lock().replies.remove(&(peer, told.request)) {
            let _ = reply.send(told.lives());
        }
    }

    /// The list of nodes has come.
    pub(super) fn listed(&self, peer: NodeId, request: u64, nodes: Vec<Node>) {
        if let Some(Reply::Nodes(reply)) = self.lock().replies.remove(&(peer, request)) {
            let _ = reply.send(nodes);
        }
    }

    /// The connection to `peer` has ended: what was asked over it stays unanswered.
    pub(super) fn lost(&self, peer: NodeId) {
        let mut waiting = self.lock();
        let mut rest = waiting.replies.split_off(&(peer, 0));
        let mut later = rest.split_off(&(NodeId(peer.0 + 1), 0));
        waiting.replies.append(&mut later);
        // Dropping a reply tells its receiver.
        drop(rest);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing under this lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_connection_ends_its_questions_only() {
        let calls = Calls::default();
        let ask = |peer| {
            let (sender, receiver) = oneshot::channel();
            (calls.begin(NodeId(peer), Reply::Slot(sender)), receiver)
        };
        let ((_, mut first), (request, mut second), (_, mut third)) = (ask(1), ask(2), ask(3));
        calls.lost(NodeId(1));
        assert!(
            first
                .try_recv()
                .is_err_and(|error| error == oneshot::error::TryRecvError::Closed)
        );
        calls.read(NodeId(2), request, Some(7));
        assert_eq!(second.try_recv(), Ok(Some(7)));
        assert!(
            third
                .try_recv()
                .is_err_and(|error| error == oneshot::error::TryRecvError::Empty)
        );
    }
}
