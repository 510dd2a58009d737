//! Entries, the batches that change what is durable, and what is found at start.

use bytes::Bytes;

use super::{Ballot, MAX_CHUNK_BYTES, MAX_RUNS, Run, Slot, Summary};

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
    /// Raises what is known decided. Losing it is harmless, for it is learned again; so a batch of nothing else may be
    /// held back for a moment to share the sync of the next.
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

/// The log in memory: contiguous from `start`, the ballots of its entries never falling.
///
/// An entry is named by its slot and the ballot it was first proposed in, for a ballot has one leader and that leader
/// one log. And as a log is only ever adopted whole, two logs that hold the same entry are the same up to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Log {
    start: Slot,
    entries: Vec<Entry>,
    runs: Vec<Run>,
}

impl Log {
    pub(super) fn new(start: Slot, entries: Vec<Entry>) -> Self {
        assert!(start > Slot::ZERO, "the first slot is 1");
        let mut log = Log {
            start,
            entries: Vec::with_capacity(entries.len()),
            runs: Vec::new(),
        };
        entries.into_iter().for_each(|entry| log.append(entry));
        log
    }

    pub(super) fn start(&self) -> Slot {
        self.start
    }

    /// The slot of the last entry; the one before `start` when there is none.
    pub(super) fn last(&self) -> Slot {
        self.start.plus(self.entries.len()).previous()
    }

    pub(super) fn append(&mut self, entry: Entry) {
        let slot = self.last().next();
        let newest = self.runs.last().map(|run| run.ballot);
        assert!(
            newest <= Some(entry.ballot),
            "an entry of {} behind one of {newest:?}",
            entry.ballot
        );
        if newest != Some(entry.ballot) {
            self.runs.push(Run {
                ballot: entry.ballot,
                first: slot,
            });
        }
        self.entries.push(entry);
    }

    /// Drops the entries from `first` on.
    pub(super) fn cut(&mut self, first: Slot) {
        assert!(first >= self.start, "cuts below the start of the log");
        self.entries.truncate(first.since(self.start) as usize);
        while self.runs.pop_if(|run| run.first >= first).is_some() {}
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Entry> {
        if slot < self.start {
            None
        } else {
            self.entries.get(slot.since(self.start) as usize)
        }
    }

    /// The entries from `first` through `last`; those not there are left out.
    pub(super) fn range(&self, first: Slot, last: Slot) -> &[Entry] {
        let end = (last.next().since(self.start) as usize).min(self.entries.len());
        let begin = (first.since(self.start) as usize).min(end);
        &self.entries[begin..end]
    }

    /// As many entries from `first` through `last` as fit into one message, but one at least.
    pub(super) fn chunk(&self, first: Slot, last: Slot) -> &[Entry] {
        let entries = self.range(first, last);
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += entry.payload.weight();
            bytes <= MAX_CHUNK_BYTES
        };
        let count = entries.iter().take_while(fits).count();
        &entries[..count.max(1).min(entries.len())]
    }

    /// What the entries from `first` through `last` weigh together.
    pub(super) fn weight(&self, first: Slot, last: Slot) -> usize {
        self.range(first, last)
            .iter()
            .map(|entry| entry.payload.weight())
            .sum()
    }

    /// The newest runs, ascending.
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs[self.runs.len().saturating_sub(MAX_RUNS)..]
    }

    /// The first slot at which this log differs from the one summed up; past the shorter one when it is the other's
    /// beginning.
    ///
    /// Runs too old to be listed are taken to be equal only if the oldest one listed begins with the same entry in both
    /// logs, which then are the same before it. (Guarded by `a_sync_starts_at_the_first_difference`.)
    pub(super) fn first_difference(&self, other: &Summary) -> Slot {
        let start = self.start.max(other.start);
        let Some(oldest) = other.runs.first() else {
            return start;
        };
        let base = start.max(oldest.first);
        if oldest.first > start && ballot_at(&self.runs, self.last(), base) != Some(oldest.ballot) {
            return start;
        }
        let end = self.last().min(other.last).next();
        let heads = self
            .runs
            .iter()
            .chain(&other.runs)
            .map(|run| run.first)
            .filter(|&slot| slot > base);
        let mut slots: Vec<Slot> = heads.chain([base]).filter(|&slot| slot < end).collect();
        slots.sort_unstable();
        let differs = |slot: &Slot| {
            ballot_at(&self.runs, self.last(), *slot) != ballot_at(&other.runs, other.last, *slot)
        };
        slots.into_iter().find(differs).unwrap_or(end.max(start))
    }
}

fn ballot_at(runs: &[Run], last: Slot, slot: Slot) -> Option<Ballot> {
    let behind = runs.partition_point(|run| run.first <= slot);
    runs[..behind]
        .last()
        .filter(|_| slot <= last)
        .map(|run| run.ballot)
}

#[cfg(test)]
mod tests;
