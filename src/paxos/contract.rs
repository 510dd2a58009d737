//! What goes into a replica and what comes out.

use std::time::Duration;

use bytes::Bytes;

use super::{Batch, Entry, Membership, Message, NodeId, Slot};

/// A point in time, since an origin of the embedder's choice; it never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub Duration);

impl std::ops::Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(duration))
    }
}

impl Time {
    /// How long `earlier` is ago; zero when it is not earlier.
    pub fn since(self, earlier: Time) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The embedder's name for a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId(pub u64);

/// The embedder's name for a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// A batch handed out to be made durable; ascending, from 1 at each start. 0 stands for what was durable at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PersistId(pub u64);

/// How a replica is set up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Options {
    /// This voter; a member of `membership`.
    pub id: NodeId,
    /// Who votes.
    pub membership: Membership,
    /// How often a leader sends heartbeats.
    pub heartbeat: Duration,
    /// T: a follower that has not heard its leader for T to 1.5 T asks to stand. A few heartbeats at least.
    pub election_timeout: Duration,
    /// Most entries proposed and not yet decided; also most in flight to one voter, and most proposals waiting.
    pub window_entries: usize,
    /// The same in bytes. A single entry may exceed it.
    pub window_bytes: usize,
    /// Of the random numbers. It must differ from start to start (see [`SyncId`](super::SyncId)).
    pub seed: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input {
    /// A message arrived.
    Message {
        /// Its sender.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// Messages can now be sent to this peer and received from it.
    Connected(NodeId),
    /// They no longer can; those on the way may be lost.
    Disconnected(NodeId),
    /// A command to agree on.
    Propose {
        /// Named again if it is refused.
        id: ProposalId,
        /// The command.
        command: Bytes,
    },
    /// Wants to know how far this node must apply to reflect all that was acknowledged before now.
    Read {
        /// Named again in the answer.
        id: ReadId,
    },
    /// This batch is durable, and with it all before it.
    Persisted(PersistId),
    /// Time has passed.
    Tick,
}

/// Something to do, in the order given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Output {
    /// Make this durable, then hand in [`Input::Persisted`].
    Persist {
        /// Its name.
        id: PersistId,
        /// What to write.
        batch: Batch,
    },
    /// Send this.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
        /// Not before this is durable; at once if `None`.
        after: Option<PersistId>,
    },
    /// These are decided. Contiguous from call to call, each slot once since construction.
    Decided {
        /// The slot of the first of `entries`.
        first: Slot,
        /// At least one.
        entries: Vec<Entry>,
    },
    /// This command was not proposed and never will be.
    Refused {
        /// Which.
        id: ProposalId,
        /// Why.
        reason: Refusal,
    },
    /// A state that has applied `slot` reflects all that was acknowledged before the read came in.
    ReadReady {
        /// Which.
        id: ReadId,
        /// How far.
        slot: Slot,
    },
    /// The read cannot be answered here and now.
    ReadRefused {
        /// Which.
        id: ReadId,
        /// Who can; this node itself when too many reads wait.
        leader: Option<NodeId>,
    },
    /// Role or known leader changed. Commands proposed before and not yet decided may or may not come to be decided.
    RoleChanged {
        /// The role now.
        role: Role,
        /// The leader now, if known.
        leader: Option<NodeId>,
    },
    /// Hand in a [`Input::Tick`] at this time; it replaces an earlier wish.
    WakeAt(Time),
}

/// Why a command was not proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// This node does not lead.
    NotLeader {
        /// Who does, if known.
        leader: Option<NodeId>,
    },
    /// Too many commands wait already.
    Busy,
    /// The command is larger than [`MAX_COMMAND_BYTES`](super::MAX_COMMAND_BYTES).
    TooLarge,
}

/// What a voter is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// In phase 1 of a ballot of its own.
    Candidate,
    /// In phase 2 of it. Whether its barrier is decided, [`Replica::ready`](super::Replica::ready) tells.
    Leader,
}
