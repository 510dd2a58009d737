//! Batches of the core as the payload of a record, and what replaying them gives.
//!
//! A record is there whole or not at all, and so is each batch in it: no truncation, entry or `synced` counts alone.
//! Fields may be added (prost), and a payload that this build cannot read is damage, not a guess.

use bytes::Bytes;
use prost::Message;

use crate::paxos::{
    Ballot, Base, Batch, Entry, Epoch, LogChange, NodeId, Payload, Seal, Slot, Succession,
};
use crate::replication::codec::WireBallot;

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
    /// Present in an adoption that begins behind a checkpoint.
    #[prost(message, optional, tag = "5")]
    base: Option<WireBase>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct WireBase {
    #[prost(uint64, tag = "1")]
    slot: u64,
    #[prost(message, optional, tag = "2")]
    ballot: Option<WireBallot>,
}

#[derive(Clone, PartialEq, Message)]
struct WireEntry {
    #[prost(message, optional, tag = "1")]
    ballot: Option<WireBallot>,
    /// Absent, as the next one: a barrier.
    #[prost(bytes = "bytes", optional, tag = "2")]
    command: Option<Bytes>,
    #[prost(message, optional, tag = "3")]
    seal: Option<WireSeal>,
}

#[derive(Clone, PartialEq, Message)]
struct WireSeal {
    #[prost(uint32, repeated, tag = "1")]
    voters: Vec<u32>,
    #[prost(bytes = "bytes", tag = "2")]
    details: Bytes,
}

/// Who votes behind a checkpoint, after the first Seal.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WireSuccession {
    #[prost(uint32, tag = "1")]
    epoch: u32,
    #[prost(message, optional, tag = "2")]
    seal: Option<WireSeal>,
}

impl From<&Succession> for WireSuccession {
    fn from(succession: &Succession) -> Self {
        WireSuccession {
            epoch: succession.epoch.0,
            seal: Some((&succession.seal).into()),
        }
    }
}

impl WireSuccession {
    pub(super) fn read(self) -> Option<Succession> {
        Some(Succession {
            epoch: Epoch(self.epoch),
            seal: self.seal?.read()?,
        })
    }
}

impl From<&Seal> for WireSeal {
    fn from(seal: &Seal) -> Self {
        WireSeal {
            voters: seal.voters.iter().map(|voter| voter.0).collect(),
            details: seal.details.clone(),
        }
    }
}

impl WireSeal {
    fn read(self) -> Option<Seal> {
        let voters = self.voters.into_iter().map(NodeId).collect();
        let details = self.details;
        let seal = Seal { voters, details };
        (!seal.voters.is_empty()).then_some(seal)
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
    let (base, first, entries, synced) = match &batch.log {
        None => (None, None, &[][..], None),
        Some(LogChange::Append { first, entries }) => (None, Some(first.0), &entries[..], None),
        Some(LogChange::Adopt {
            base,
            first,
            entries,
            synced,
        }) => (*base, Some(first.0), &entries[..], Some((*synced).into())),
    };
    let base = base.map(|base| WireBase {
        slot: base.slot.0,
        ballot: Some(base.ballot.into()),
    });
    WireChange {
        first,
        entries: entries.iter().map(entry).collect(),
        synced,
        decided: batch.decided.map(|slot| slot.0),
        base,
    }
}

fn entry(entry: &Entry) -> WireEntry {
    let (command, seal) = match &entry.payload {
        Payload::Barrier => (None, None),
        Payload::Command(command) => (Some(command.clone()), None),
        Payload::Seal(seal) => (None, Some(seal.into())),
    };
    WireEntry {
        ballot: Some(entry.ballot.into()),
        command,
        seal,
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
            let payload = match (wire.command, wire.seal) {
                (None, None) => Payload::Barrier,
                (Some(command), None) => Payload::Command(command),
                (None, Some(seal)) => Payload::Seal(seal.read().ok_or("a Seal names nobody")?),
                _ => return Err("an entry is of no kind"),
            };
            Ok(Entry { ballot, payload })
        })
        .collect::<Result<_, &'static str>>()?;
    let base = match change.base {
        None => None,
        Some(base) => Some(Base {
            slot: Slot(base.slot),
            ballot: base.ballot.ok_or("a checkpoint has no ballot")?.into(),
        }),
    };
    let log = match (change.first.map(Slot), change.synced) {
        (None, None) if entries.is_empty() => None,
        (None, _) => return Err("entries have no slot"),
        (Some(first), None) => Some(LogChange::Append { first, entries }),
        (Some(first), Some(synced)) => Some(LogChange::Adopt {
            base,
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

    /// Goes on behind `last`, without what is missing up to there.
    pub(super) fn skip(&mut self, last: Slot) {
        if last > self.last() {
            self.start = last.next();
            self.entries.clear();
        }
    }

    /// Goes on behind `last`, whatever is here: it is not known to lead there.
    pub(super) fn restart(&mut self, last: Slot) {
        self.start = last.next();
        self.entries.clear();
    }

    /// The entry in a slot, if it is here.
    pub(super) fn entry(&self, slot: Slot) -> Option<&Entry> {
        let index = slot.0.checked_sub(self.start.0)?;
        self.entries.get(usize::try_from(index).ok()?)
    }

    /// Applies a batch that `follow` let pass.
    pub(super) fn apply(&mut self, batch: Batch) {
        match batch.log {
            None => {}
            Some(LogChange::Append { entries, .. }) => self.entries.extend(entries),
            Some(LogChange::Adopt {
                base,
                first,
                entries,
                synced,
            }) => {
                // Below the start lies what a checkpoint sums up: it may be written again all the same.
                if base.is_some() || first < self.start {
                    self.start = first;
                    self.entries.clear();
                }
                self.decided = self.decided.max(base.map_or(Slot::ZERO, |base| base.slot));
                self.entries.truncate(first.since(self.start) as usize);
                self.entries.extend(entries);
                self.synced = Some(synced);
            }
        }
        self.decided = self.decided.max(batch.decided.unwrap_or_default());
    }
}

/// Whether the batches, one after the other, fit a log that ends with `last`; its last slot after them.
pub(super) fn follow(last: Slot, batches: &[Batch]) -> Result<Slot, &'static str> {
    let mut changes = batches.iter().filter_map(|batch| batch.log.as_ref());
    changes.try_fold(last, |last, change| match change {
        LogChange::Append { first, .. } if *first != last.next() => {
            Err("entries do not continue the log")
        }
        LogChange::Adopt {
            base: Some(base),
            first,
            ..
        } if *first != base.slot.next() => Err("an adopted log does not join its checkpoint"),
        LogChange::Adopt {
            base: None, first, ..
        } if *first == Slot::ZERO || *first > last.next() => {
            Err("an adopted log does not join the one before")
        }
        LogChange::Append { first, entries } | LogChange::Adopt { first, entries, .. } => {
            Ok(first.plus(entries.len()).previous())
        }
    })
}
