//! Batches of the core as the payload of a record, and what replaying them gives.
//!
//! A record is there whole or not at all, and so is each batch in it: no truncation, entry or `synced` counts alone.
//! Fields may be added (prost), and a payload that this build cannot read is damage, not a guess.

use bytes::Bytes;
use prost::Message;

use crate::paxos::{Ballot, Batch, Entry, Epoch, LogChange, NodeId, Payload, Slot};

#[derive(Clone, PartialEq, Message)]
struct WireGroup {
    #[prost(message, repeated, tag = "1")]
    changes: Vec<WireChange>,
}

#[derive(Clone, PartialEq, Message)]
struct WireChange {
    /// Slot of the first entry; absent when the log does not change.
    #[prost(uint64, optional, tag = "1")]
    first: Option<u64>,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<WireEntry>,
    /// Present when all from `first` on was cut: an adoption.
    #[prost(message, optional, tag = "3")]
    synced: Option<WireBallot>,
    #[prost(uint64, optional, tag = "4")]
    decided: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct WireEntry {
    #[prost(message, optional, tag = "1")]
    ballot: Option<WireBallot>,
    /// Absent: a barrier.
    #[prost(bytes = "bytes", optional, tag = "2")]
    command: Option<Bytes>,
}

/// A ballot, as all files here hold it.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct WireBallot {
    #[prost(uint32, tag = "1")]
    epoch: u32,
    #[prost(uint64, tag = "2")]
    round: u64,
    #[prost(uint32, optional, tag = "3")]
    node: Option<u32>,
}

impl From<Ballot> for WireBallot {
    fn from(ballot: Ballot) -> Self {
        WireBallot {
            epoch: ballot.epoch.0,
            round: ballot.round,
            node: ballot.node.map(|node| node.0),
        }
    }
}

impl From<WireBallot> for Ballot {
    fn from(wire: WireBallot) -> Self {
        Ballot {
            epoch: Epoch(wire.epoch),
            round: wire.round,
            node: wire.node.map(NodeId),
        }
    }
}

/// The payload for all that changes the log; empty when nothing does.
pub(super) fn encode(batches: &[Batch]) -> Vec<u8> {
    let changes = batches
        .iter()
        .filter(|batch| batch.log.is_some() || batch.decided.is_some());
    WireGroup {
        changes: changes.map(change).collect(),
    }
    .encode_to_vec()
}

fn change(batch: &Batch) -> WireChange {
    let (first, entries, synced) = match &batch.log {
        None => (None, &[][..], None),
        Some(LogChange::Append { first, entries }) => (Some(first.0), &entries[..], None),
        Some(LogChange::Adopt {
            first,
            entries,
            synced,
        }) => (Some(first.0), &entries[..], Some((*synced).into())),
    };
    WireChange {
        first,
        entries: entries.iter().map(entry).collect(),
        synced,
        decided: batch.decided.map(|slot| slot.0),
    }
}

fn entry(entry: &Entry) -> WireEntry {
    let command = match &entry.payload {
        Payload::Barrier => None,
        Payload::Command(command) => Some(command.clone()),
    };
    WireEntry {
        ballot: Some(entry.ballot.into()),
        command,
    }
}

/// The batches of a payload.
pub(super) fn decode(payload: Bytes) -> Result<Vec<Batch>, &'static str> {
    let group = WireGroup::decode(payload).map_err(|_| "a record's payload cannot be decoded")?;
    group.changes.into_iter().map(batch).collect()
}

fn batch(change: WireChange) -> Result<Batch, &'static str> {
    let entries: Vec<Entry> = change
        .entries
        .into_iter()
        .map(|wire| {
            let ballot = wire.ballot.ok_or("an entry has no ballot")?.into();
            Ok(Entry {
                ballot,
                payload: wire.command.map_or(Payload::Barrier, Payload::Command),
            })
        })
        .collect::<Result<_, &'static str>>()?;
    let log = match (change.first.map(Slot), change.synced) {
        (None, None) if entries.is_empty() => None,
        (None, _) => return Err("entries have no slot"),
        (Some(first), None) => Some(LogChange::Append { first, entries }),
        (Some(first), Some(synced)) => Some(LogChange::Adopt {
            first,
            entries,
            synced: synced.into(),
        }),
    };
    Ok(Batch {
        promised: None,
        log,
        decided: change.decided.map(Slot),
    })
}

/// The log as the records so far make it.
#[derive(Debug, Clone)]
pub(super) struct Replay {
    /// The slot of `entries[0]`.
    pub(super) start: Slot,
    pub(super) entries: Vec<Entry>,
    pub(super) synced: Option<Ballot>,
    pub(super) decided: Slot,
}

impl Replay {
    /// The slot of the last entry.
    pub(super) fn last(&self) -> Slot {
        self.start.plus(self.entries.len()).previous()
    }

    /// Applies a batch that `follow` let pass.
    pub(super) fn apply(&mut self, batch: Batch) {
        match batch.log {
            None => {}
            Some(LogChange::Append { entries, .. }) => self.entries.extend(entries),
            Some(LogChange::Adopt {
                first,
                entries,
                synced,
            }) => {
                self.entries.truncate(first.since(self.start) as usize);
                self.entries.extend(entries);
                self.synced = Some(synced);
            }
        }
        self.decided = self.decided.max(batch.decided.unwrap_or_default());
    }
}

/// Whether the batches, one after the other, fit a log of the slots `start` to `last`; its last slot after them.
pub(super) fn follow(start: Slot, last: Slot, batches: &[Batch]) -> Result<Slot, &'static str> {
    let mut changes = batches.iter().filter_map(|batch| batch.log.as_ref());
    changes.try_fold(last, |last, change| match change {
        LogChange::Append { first, .. } if *first != last.next() => {
            Err("entries do not continue the log")
        }
        LogChange::Adopt { first, .. } if *first < start || *first > last.next() => {
            Err("an adopted log does not join the one before")
        }
        LogChange::Append { first, entries } | LogChange::Adopt { first, entries, .. } => {
            Ok(first.plus(entries.len()).previous())
        }
    })
}
