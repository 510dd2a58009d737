//! Entries, the batches that change what is durable, and what is found at start.

use bytes::Bytes;

use super::{Ballot, Slot};

/// What is agreed on in one slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Marks the start of a leadership; no command.
    Barrier,
    /// A command of the state machine, opaque here.
    Command(Bytes),
}

impl Payload {
    /// What it weighs in messages and windows, in bytes.
    pub fn weight(&self) -> usize {
        match self {
            Payload::Barrier => super::ENTRY_OVERHEAD_BYTES,
            Payload::Command(command) => super::ENTRY_OVERHEAD_BYTES + command.len(),
        }
    }
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The ballot it was first proposed in; kept when a later leader adopts it.
    pub ballot: Ballot,
    /// What it says.
    pub payload: Payload,
}

/// A change of what is durable. It counts whole or not at all, and batches count in the order they were given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Batch {
    /// Raises the promise.
    pub promised: Option<Ballot>,
    /// Changes the log.
    pub log: Option<LogChange>,
    /// Raises what is known decided. Losing it is harmless: it is learned again.
    pub decided: Option<Slot>,
}

/// A change of the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogChange {
    /// Continues the log of `synced`; `first` is the slot after its last.
    Append {
        /// The slot of the first of `entries`.
        first: Slot,
        /// At least one.
        entries: Vec<Entry>,
    },
    /// Cuts all entries from `first` on, appends `entries` and stamps the log `synced`, all of it atomically.
    Adopt {
        /// The slot of the first of `entries`; at most the slot after the last.
        first: Slot,
        /// At least one.
        entries: Vec<Entry>,
        /// The ballot with whose leader's log this one is now identical.
        synced: Ballot,
    },
}

/// What a voter's storage held when it was opened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Recovered {
    /// The highest ballot promised.
    pub promised: Ballot,
    /// The ballot with whose leader's log this one is identical; `None` when the log is damaged: such a voter promises
    /// and accepts nothing until a leader has synced it.
    pub synced: Option<Ballot>,
    /// Known decided.
    pub decided: Slot,
    /// The slot of `entries[0]`; 1 until there are checkpoints.
    pub start: Slot,
    /// The log.
    pub entries: Vec<Entry>,
}

impl Recovered {
    /// What a voter that has never run holds, in a group whose first epoch is `ballot`'s.
    pub fn empty(ballot: Ballot) -> Self {
        Recovered {
            promised: ballot,
            synced: Some(ballot),
            decided: Slot::ZERO,
            start: Slot(1),
            entries: Vec::new(),
        }
    }
}
