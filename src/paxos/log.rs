//! Entries, the batches that change what is durable, and what is found at start.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Ballot, Epoch, MAX_CHUNK_BYTES, MAX_RUNS, Membership, NodeId, Run, Slot, Summary};
use crate::bugs::{Bug, broken};

/// What is agreed on in one slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Marks the start of a leadership; no command.
    Barrier,
    /// A command of the state machine, opaque here.
    Command(Bytes),
    /// Ends the epoch it is proposed in: nothing is above it there, and the log goes on in the next epoch.
    Seal(Seal),
}

/// Who votes in the next epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seal {
    /// The next voters, at least one.
    pub voters: BTreeSet<NodeId>,
    /// What the embedder must know of them, opaque here.
    pub details: Bytes,
}

/// An epoch after the first, and how it came to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Succession {
    /// The epoch.
    pub epoch: Epoch,
    /// The Seal that ended the one before it.
    pub seal: Seal,
}

impl Succession {
    /// Who votes in it.
    pub fn membership(&self) -> Membership {
        Membership {
            epoch: self.epoch,
            voters: self.seal.voters.clone(),
        }
    }
}

impl Payload {
    /// What it weighs in messages and windows, in bytes.
    pub fn weight(&self) -> usize {
        match self {
            Payload::Barrier => super::ENTRY_OVERHEAD_BYTES,
            Payload::Command(command) => super::ENTRY_OVERHEAD_BYTES + command.len(),
            Payload::Seal(seal) => super::ENTRY_OVERHEAD_BYTES + seal.details.len(),
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

impl Entry {
    /// Whether it ends this epoch.
    pub fn is_seal_of(&self, epoch: Epoch) -> bool {
        self.ballot.epoch == epoch && matches!(self.payload, Payload::Seal(_))
    }

    /// The epoch that it begins, if it is a Seal.
    pub fn begins(&self) -> Option<Succession> {
        match &self.payload {
            Payload::Seal(seal) => Some(Succession {
                epoch: self.ballot.epoch.next(),
                seal: seal.clone(),
            }),
            _ => None,
        }
    }
}

/// Where a log begins: all through `slot` is decided, and summed up by a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Base {
    /// The slot before the first entry.
    pub slot: Slot,
    /// The ballot that the entry in it was first proposed in: with its slot it names the log before it, whole.
    pub ballot: Ballot,
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
        /// Present: the whole log goes, and begins anew behind this checkpoint, which was fetched.
        base: Option<Base>,
        /// The slot of the first of `entries`; at most the slot after the last, or the one after `base`.
        first: Slot,
        /// May be none.
        entries: Vec<Entry>,
        /// The ballot with whose leader's log this one is now identical. The initial ballot of an epoch enters that
        /// epoch: it is then the highest promised, too.
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
    /// Handed on as decided before, and part of the state that the embedder goes on from: that of its checkpoint.
    pub applied: Slot,
    /// The epoch of what follows `applied`, as that checkpoint says it: none before the first Seal.
    pub succession: Option<Succession>,
    /// The slot of `entries[0]`.
    pub start: Slot,
    /// The ballot of the entry before that, which a checkpoint sums up; means nothing where `start` is 1.
    pub base: Ballot,
    /// The log.
    pub entries: Vec<Entry>,
}

impl Recovered {
    /// How this voter came into its epoch: that of its promise, as far as log and checkpoint tell of it.
    ///
    /// The checkpoint may know of a later one: a damaged log has lost that it was entered.
    pub fn entered_by(&self) -> Option<Succession> {
        let entered = self.promised.epoch;
        let known = self.succession.as_ref().filter(|it| it.epoch >= entered);
        if let Some(known) = known.filter(|_| !broken(Bug::Etcd19557)) {
            return Some(known.clone());
        }
        let decided = self.decided.next().since(self.start) as usize;
        let known = self.entries.iter().take(decided).rev();
        let mut begun = known.filter_map(Entry::begins);
        begun.find(|it| it.epoch == entered)
    }

    /// The embedder goes on from a state that has applied this slot, which is further than its checkpoint, and may be
    /// further than what is known here to be decided.
    pub fn go_on_from(&mut self, applied: Slot) {
        let last = self.start.plus(self.entries.len()).previous();
        assert!(applied <= last, "what is applied is in the log");
        let known = applied.next().since(self.start) as usize;
        let mut known = self.entries.iter().take(known).rev();
        let newest = known.find_map(Entry::begins);
        self.succession = newest.or(self.succession.take());
        (self.applied, self.decided) = (applied, self.decided.max(applied));
    }

    /// What a voter that has never run holds, in a group whose first epoch is `ballot`'s.
    pub fn empty(ballot: Ballot) -> Self {
        Recovered {
            promised: ballot,
            synced: Some(ballot),
            decided: Slot::ZERO,
            applied: Slot::ZERO,
            succession: None,
            start: Slot(1),
            base: ballot,
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
    /// The ballot of the entry before `start`.
    base: Ballot,
    entries: Vec<Entry>,
    runs: Vec<Run>,
}

impl Log {
    pub(super) fn new(start: Slot, base: Ballot, entries: Vec<Entry>) -> Self {
        assert!(start > Slot::ZERO, "the first slot is 1");
        let mut log = Log {
            start,
            base,
            entries: Vec::with_capacity(entries.len()),
            runs: Vec::new(),
        };
        entries.into_iter().for_each(|entry| log.append(entry));
        log
    }

    pub(super) fn start(&self) -> Slot {
        self.start
    }

    /// What lies before the first entry.
    pub(super) fn base(&self) -> Base {
        Base {
            slot: self.start.previous(),
            ballot: self.base,
        }
    }

    /// Forgets the entries through `through`, which a checkpoint sums up.
    pub(super) fn compact(&mut self, through: Slot) {
        let Some(entry) = self.get(through) else {
            return;
        };
        self.base = entry.ballot;
        self.entries
            .drain(..through.next().since(self.start) as usize);
        self.start = through.next();
        let first = self.runs.partition_point(|run| run.first <= self.start);
        self.runs.drain(..first.saturating_sub(1));
        match self.runs.first_mut() {
            Some(run) if !self.entries.is_empty() => run.first = run.first.max(self.start),
            _ => self.runs.clear(),
        }
    }

    /// The slot of the last entry; the one before `start` when there is none.
    pub(super) fn last(&self) -> Slot {
        self.start.plus(self.entries.len()).previous()
    }

    pub(super) fn append(&mut self, entry: Entry) {
        let slot = self.last().next();
        let newest = self.runs.last().map(|run| run.ballot);
        let before = newest.unwrap_or(self.base);
        assert!(
            before <= entry.ballot,
            "an entry of {} behind one of {before}",
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

    /// The Seal of `epoch`, if the log ends with it.
    pub(super) fn ending(&self, epoch: Epoch) -> Option<&Entry> {
        self.entries.last().filter(|last| last.is_seal_of(epoch))
    }

    /// The slot of the Seal of `epoch`, as far as the log still holds it. What follows it is of a later epoch.
    pub(super) fn seal_of(&self, epoch: Epoch) -> Option<Slot> {
        let later = self.runs.partition_point(|run| run.ballot.epoch <= epoch);
        let end = self
            .runs
            .get(later)
            .map_or(self.last(), |run| run.first.previous());
        let sealed = |entry: &Entry| entry.is_seal_of(epoch);
        self.get(end).is_some_and(sealed).then_some(end)
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

    /// Of a leader's log: the first slot to be sent to a voter with that log; `None` where it needs a checkpoint.
    pub(super) fn meets(&self, voter: &Summary) -> Option<Slot> {
        let own = self.start.previous();
        let known = ballot_at(&voter.runs, voter.last, own);
        // What a voter compacted is decided, so it is in this log; but who leads no more may not have it.
        let foreign = voter.start > self.start
            && ballot_at(&self.runs, self.last(), voter.start.previous()) != Some(voter.base);
        let joins = voter.start >= self.start || voter.decided >= own || known == Some(self.base);
        (joins && !foreign).then(|| self.first_difference(voter))
    }

    /// Of a candidate's log, decided through `decided`: the first slot to be pulled of the best log there is; `None`
    /// where a checkpoint must be fetched first.
    ///
    /// That a log is long enough does not mean that it is the same: its end may be a dead leader's, below where the
    /// other begins. (`a_log_that_differs_below_the_others_start_needs_a_checkpoint`)
    pub(super) fn met_by(&self, decided: Slot, best: &Summary) -> Option<Slot> {
        let base = best.start.previous();
        let known = ballot_at(&self.runs, self.last(), base);
        let joins = self.start >= best.start || decided >= base || known == Some(best.base);
        joins.then(|| self.first_difference(best))
    }

    /// Whether the log summed up is known to hold the last entry of a checkpoint, and so all that it sums up.
    pub(super) fn holds(of: &Summary, base: Base) -> bool {
        let known = match base.slot.next() == of.start {
            true => Some(of.base),
            false => ballot_at(&of.runs, of.last, base.slot),
        };
        known == Some(base.ballot)
    }

    /// The first slot at which this log differs from the one summed up; past the shorter one when it is the other's
    /// beginning.
    ///
    /// Runs too old to be listed are taken to be equal only if the oldest one listed begins with the same entry in both
    /// logs, which then are the same before it. (Guarded by `a_sync_starts_at_the_first_difference`.)
    pub(super) fn first_difference(&self, other: &Summary) -> Slot {
        let start = self.start.max(other.start);
        if broken(Bug::Neon295) {
            return self.last().min(other.last).next().max(start);
        }
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
