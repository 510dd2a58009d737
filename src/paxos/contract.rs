//! What goes into a replica and what comes out.

use std::time::Duration;

use bytes::Bytes;

use super::{Base, Batch, Entry, Epoch, Membership, Message, NodeId, Seal, Slot, Succession};

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
    /// This node. One that is no member of `membership` was removed: it only serves its log.
    pub id: NodeId,
    /// Who votes, in the epoch of what was promised last.
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
    /// Change who votes, by a Seal that ends this epoch.
    Seal {
        /// The epoch it is meant to end: of another nothing is known by whoever asks.
        epoch: Epoch,
        /// Who votes next.
        seal: Seal,
    },
    /// Hand leadership over. That it is done shows in [`Output::RoleChanged`]; that it failed is told.
    Transfer {
        /// To this voter; to the most advanced one if `None`.
        to: Option<NodeId>,
    },
    /// The replica is about to end: if it leads, another is to stand at once. It is the last input.
    Abdicate,
    /// This batch is durable, and with it all before it.
    Persisted(PersistId),
    /// A checkpoint of a peer is here, verified and ready to be adopted. It takes the place of the one before.
    Fetched {
        /// Where it ends.
        base: Base,
        /// The epoch of what follows it; none before the first Seal.
        succession: Option<Succession>,
    },
    /// One is on its way: a candidate goes on waiting for it.
    Fetching,
    /// Checkpoints of this slot and beyond are durable here: the log through it is not needed any more.
    Compact {
        /// At most what was handed on.
        through: Slot,
    },
    /// Time has passed.
    Tick,
}

impl Input {
    /// Whether it only adds to what is counted or waits: a run of these comes to the same all at once.
    pub(super) fn adds_up(&self) -> bool {
        match self {
            Input::Propose { .. } | Input::Persisted(_) => true,
            Input::Message { message, .. } => matches!(message, Message::Accepted { .. }),
            _ => false,
        }
    }
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
    /// Fetch a checkpoint from this peer, verify it, and hand in [`Input::Fetched`]. Said again while it is needed.
    Fetch {
        /// Who has one.
        from: NodeId,
        /// It must reach the slot before this one.
        start: Slot,
    },
    /// Go on from the state of this checkpoint, which was fetched: what is handed on next is the entry behind it. It is
    /// adopted with the batch handed out just before, and counts with it.
    Install(Base),
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
    /// This membership is in force here, durably. It may no longer hold this node.
    Entered {
        /// Who votes now.
        membership: Membership,
        /// As its Seal said it.
        details: Bytes,
    },
    /// The change was not proposed and never will be.
    SealRefused {
        /// Why.
        reason: SealRefusal,
    },
    /// Leadership was not handed over.
    TransferFailed {
        /// Why.
        reason: TransferFailure,
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

/// Why a change of the membership was not proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealRefusal {
    /// This node does not lead.
    NotLeader {
        /// Who does, if known.
        leader: Option<NodeId>,
    },
    /// It leads, and does not know yet all that was acknowledged.
    NotReady,
    /// Leadership is being handed over, or another change is on its way.
    Busy,
    /// The epoch is another one by now.
    OtherEpoch,
}

/// Why leadership was not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransferFailure {
    /// This node does not lead.
    NotLeader {
        /// Who does, if known.
        leader: Option<NodeId>,
    },
    /// The one named is no other voter of this membership.
    NoVoter,
    /// No other voter has been heard lately.
    Alone,
    /// Nobody had taken over after the election timeout: this node leads on.
    TimedOut,
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
