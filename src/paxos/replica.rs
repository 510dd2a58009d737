//! One voter: takes inputs apart and hands them to its roles.

use super::{Ballot, Input, NodeId, Options, Output, Recovered, Role, Slot, Time};

/// One voter of the group.
///
/// What the embedder must do:
/// 1. Hand in one input at a time, with a time that never goes back; first of all a [`Input::Tick`].
/// 2. Perform the outputs in order. Batches become durable in the order given; several may share one sync.
/// 3. Send a message that names a batch only when that batch is durable, and drop it if the process ends before.
/// 4. Hand in [`Input::Persisted`] when a batch is durable; naming the last of several is enough.
/// 5. On waking late, hand in the waiting messages before the [`Input::Tick`].
/// 6. After a failed write or sync, or a panic in here, end this replica and construct no other before the restart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Replica {
    options: Options,
    recovered: Recovered,
    now: Time,
}

impl Replica {
    /// A voter that goes on from what its storage held. It says nothing before its first input.
    ///
    /// # Panics
    /// When `options` and `recovered` contradict each other or themselves.
    pub fn new(now: Time, options: Options, recovered: Recovered) -> Self {
        assert!(
            options.membership.voters.contains(&options.id),
            "this node is no voter of its membership"
        );
        Replica {
            options,
            recovered,
            now,
        }
    }

    /// Takes one input, gives what is to be done for it, in order.
    ///
    /// # Panics
    /// When an invariant is broken: better one voter down than two that disagree.
    pub fn handle(&mut self, now: Time, _input: Input) -> Vec<Output> {
        self.now = now;
        Vec::new()
    }

    /// What this voter is doing.
    pub fn role(&self) -> Role {
        Role::Follower
    }

    /// The leader this voter follows or is.
    pub fn leader(&self) -> Option<NodeId> {
        None
    }

    /// The highest ballot promised.
    pub fn ballot(&self) -> Ballot {
        self.recovered.promised
    }

    /// The ballot with whose leader's log this voter's is identical; `None` while damaged.
    pub fn synced(&self) -> Option<Ballot> {
        self.recovered.synced
    }

    /// Known decided here.
    pub fn decided(&self) -> Slot {
        self.recovered.decided
    }

    /// The last slot with an entry here, durable or not.
    pub fn last(&self) -> Slot {
        Slot(self.recovered.start.0 + self.recovered.entries.len() as u64 - 1)
    }

    /// Whether this voter leads and its barrier is decided: it holds all that was ever acknowledged.
    pub fn ready(&self) -> bool {
        false
    }
}
