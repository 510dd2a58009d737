//! What voters say to each other. Every message but the two of asking names the ballot it belongs to.

use super::{Ballot, Entry, Epoch, Payload, Slot};

/// One question "would you support me?", told apart from those before it. Only liveness rests on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Attempt(pub u64);

/// One round of heartbeats. Counted by a leadership, and a ballot is led once, so (ballot, round) never repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Round(pub u64);

/// Drawn at random by a voter each time it starts and each time it promises; a sync must repeat it.
///
/// Without it a sync sent before a voter lost its log could make the voter pass for whole again afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncId(pub u64);

/// A stretch of the log whose entries were first proposed in one ballot. It ends where the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run {
    /// The ballot its entries were first proposed in.
    pub ballot: Ballot,
    /// The slot of its first entry.
    pub first: Slot,
}

/// A voter's log without its entries: enough to find the first entry that differs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Summary {
    /// What a sync in answer to this must repeat.
    pub sync: SyncId,
    /// The first slot the log has an entry for.
    pub start: Slot,
    /// The last slot it has an entry for.
    pub last: Slot,
    /// Known decided here.
    pub decided: Slot,
    /// The ballot of the entry before `start`; means nothing where `start` is 1.
    pub base: Ballot,
    /// Its runs, ascending; at most [`MAX_RUNS`](super::MAX_RUNS), the newest.
    pub runs: Vec<Run>,
}

/// How far a voter that is in sync with its leader has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Durable through this slot: a vote for every entry up to it.
    pub accepted: Slot,
    /// Received through this slot: what comes next is the entry after it.
    pub received: Slot,
}

impl Message {
    /// The latest epoch it shows; none in what is asked whatever the epoch.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        let ballot = match self {
            Message::Ask { .. }
            | Message::Outdated { .. }
            | Message::Sealed { .. }
            | Message::Compacted { .. } => return None,
            Message::Answer { promised, .. } | Message::Reject { promised, .. } => promised,
            Message::Prepare { ballot }
            | Message::Promise { ballot, .. }
            | Message::Pull { ballot, .. }
            | Message::Chunk { ballot, .. }
            | Message::Behind { ballot, .. }
            | Message::Sync { ballot, .. }
            | Message::Staged { ballot, .. }
            | Message::Accept { ballot, .. }
            | Message::Accepted { ballot, .. }
            | Message::Heartbeat { ballot, .. }
            | Message::Heard { ballot, .. }
            | Message::Fetch { ballot, .. }
            | Message::Stand { ballot } => ballot,
        };
        Some(ballot.epoch)
    }
}

/// A message between two voters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// Would you support me, should I stand?
    Ask {
        /// To be repeated in the answer.
        attempt: Attempt,
    },
    /// Answers [`Message::Ask`].
    Answer {
        /// The question's.
        attempt: Attempt,
        /// Whether this voter hears no leader and is able to promise.
        support: bool,
        /// What it has promised; the asker must go above it.
        promised: Ballot,
    },
    /// Phase 1: promise to take no part in ballots below mine.
    Prepare {
        /// The candidate's ballot.
        ballot: Ballot,
    },
    /// Answers [`Message::Prepare`], once the promise is durable.
    Promise {
        /// The ballot promised.
        ballot: Ballot,
        /// The ballot with whose leader's log this voter's is identical.
        synced: Ballot,
        /// Its log.
        log: Summary,
    },
    /// A candidate asks the voter with the best log for the entries from `first` on.
    Pull {
        /// The candidate's ballot.
        ballot: Ballot,
        /// The first slot wanted.
        first: Slot,
    },
    /// Answers [`Message::Pull`].
    Chunk {
        /// The candidate's ballot.
        ballot: Ballot,
        /// The slot of the first of `entries`.
        first: Slot,
        /// At least one.
        entries: Vec<Entry>,
    },
    /// A voter that hears a leader it is not in sync with asks to be synced, once its promise is durable.
    Behind {
        /// The leader's ballot.
        ballot: Ballot,
        /// The voter's log.
        log: Summary,
    },
    /// A part of the leader's log, to be staged until `through` is reached and then adopted at once.
    Sync {
        /// The leader's ballot.
        ballot: Ballot,
        /// As in the voter's [`Summary`].
        sync: SyncId,
        /// The slot of the first entry of the whole sync.
        from: Slot,
        /// The slot of its last entry: the leader's last when the sync began.
        through: Slot,
        /// The slot of the first of `entries`.
        first: Slot,
        /// At least one.
        entries: Vec<Entry>,
    },
    /// The voter lacks what the leader's log no longer holds: it is to fetch a checkpoint of the leader.
    Fetch {
        /// The leader's ballot.
        ballot: Ballot,
        /// Where the leader's log starts; the checkpoint must reach the slot before.
        start: Slot,
    },
    /// A part of a sync has been staged.
    Staged {
        /// The leader's ballot.
        ballot: Ballot,
        /// The sync's.
        sync: SyncId,
        /// The slot wanted next.
        next: Slot,
    },
    /// Phase 2: accept these.
    Accept {
        /// The leader's ballot, in which all of these are first proposed.
        ballot: Ballot,
        /// The slot of the first of `payloads`.
        first: Slot,
        /// May be none: then the message only tells `decided`.
        payloads: Vec<Payload>,
        /// Decided as far as the leader knows.
        decided: Slot,
    },
    /// The voter's log is that of `ballot`'s leader, durably, through `last`.
    Accepted {
        /// The leader's ballot.
        ballot: Ballot,
        /// Every slot up to it is accepted.
        last: Slot,
    },
    /// The leader lives.
    Heartbeat {
        /// Its ballot.
        ballot: Ballot,
        /// To be repeated in the answer.
        round: Round,
        /// Decided as far as the leader knows.
        decided: Slot,
    },
    /// Answers [`Message::Heartbeat`]: this voter has promised nothing higher.
    Heard {
        /// The leader's ballot.
        ballot: Ballot,
        /// The heartbeat's.
        round: Round,
        /// How far the voter has come, if it is in sync with the leader.
        position: Option<Position>,
    },
    /// The sender has met a later epoch than its own, and asks for the log through the Seal of its own.
    Outdated {
        /// The sender's epoch.
        epoch: Epoch,
        /// Its log.
        log: Summary,
        /// The slot wanted next; absent at first.
        next: Option<Slot>,
    },
    /// A part of the decided log, to be staged until its Seal is reached and then adopted at once.
    Sealed {
        /// The epoch that the Seal ends.
        epoch: Epoch,
        /// As in the asker's [`Summary`].
        sync: SyncId,
        /// The slot of the first entry of all that is sent.
        from: Slot,
        /// The slot of the Seal.
        through: Slot,
        /// The slot of the first of `entries`.
        first: Slot,
        /// At least one.
        entries: Vec<Entry>,
    },
    /// Answers [`Message::Outdated`] where the log no longer holds what was asked for: a checkpoint is to be fetched.
    Compacted {
        /// The asker's epoch.
        epoch: Epoch,
        /// Where the log starts; the checkpoint must reach the slot before.
        start: Slot,
    },
    /// The leader hands over: stand, and ask nobody first.
    Stand {
        /// The leader's ballot.
        ballot: Ballot,
    },
    /// The voter has promised higher than `ballot`.
    Reject {
        /// The ballot of the message refused.
        ballot: Ballot,
        /// What the voter has promised.
        promised: Ballot,
    },
}
