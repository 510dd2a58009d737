//! A disk for one voter: what is durable, by the contract of batches, each checked as it becomes so.

use crate::paxos::{Ballot, Base, Batch, Entry, Epoch, LogChange, Recovered, Slot};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Disk(pub(super) Recovered);

impl Disk {
    pub(super) fn empty() -> Self {
        Disk(Recovered::empty(Ballot::initial(Epoch(0))))
    }

    pub(super) fn last(&self) -> Slot {
        self.0.start.plus(self.0.entries.len()).previous()
    }

    pub(super) fn write(&mut self, batch: Batch) {
        let disk = &mut self.0;
        if let Some(promised) = batch.promised {
            assert!(promised > disk.promised, "the promise falls");
            disk.promised = promised;
        }
        match batch.log {
            Some(LogChange::Append { first, entries }) => {
                assert_eq!(
                    disk.synced,
                    Some(disk.promised),
                    "appends in a ballot not promised or not synced with"
                );
                self.splice(first, entries);
            }
            Some(LogChange::Adopt {
                base,
                first,
                entries,
                synced,
            }) => {
                assert_eq!(
                    synced, disk.promised,
                    "adopts a log of a ballot not promised"
                );
                let last = disk.start.plus(disk.entries.len()).previous();
                let grows = base.is_some_and(|base| base.slot > last);
                assert!(
                    disk.synced < Some(synced) || grows,
                    "adopts twice in a ballot"
                );
                disk.synced = Some(synced);
                if let Some(base) = base {
                    assert!(base.slot > disk.decided, "goes back behind what is decided");
                    disk.entries.clear();
                    (disk.start, disk.base) = (base.slot.next(), base.ballot);
                    (disk.applied, disk.decided) = (base.slot, base.slot);
                }
                self.0.entries.truncate(first.since(self.0.start) as usize);
                if base.is_none() || !entries.is_empty() {
                    self.splice(first, entries);
                }
            }
            None => {}
        }
        if let Some(decided) = batch.decided {
            assert!(
                decided >= self.0.decided && decided <= self.last(),
                "decided goes back or beyond the log"
            );
            self.0.decided = decided;
        }
    }

    fn splice(&mut self, first: Slot, entries: Vec<Entry>) {
        assert_eq!(first, self.last().next(), "a gap in the log");
        assert!(!entries.is_empty(), "an empty change");
        self.0.entries.extend(entries);
    }

    /// Takes a checkpoint of all through `applied`, and forgets the log through `through`.
    pub(super) fn compact(&mut self, applied: Slot, through: Slot) {
        let disk = &mut self.0;
        let count = through.next().since(disk.start) as usize;
        if count > 0 {
            disk.base = disk.entries[count - 1].ballot;
            disk.entries.drain(..count);
            disk.start = through.next();
        }
        disk.applied = applied;
    }

    /// The checkpoint a peer may fetch.
    pub(super) fn checkpoint(&self) -> Option<Base> {
        let (slot, disk) = (self.0.applied, &self.0);
        let before = slot.next() == disk.start;
        let at = slot.0.checked_sub(disk.start.0).map(|at| at as usize);
        let ballot = match at.and_then(|at| disk.entries.get(at)) {
            Some(entry) => entry.ballot,
            None if before => disk.base,
            None => return None,
        };
        (slot > Slot::ZERO).then_some(Base { slot, ballot })
    }

    /// Loses the end of the log, and knows it: what a storage reports that finds damage.
    pub(super) fn damage(&mut self, keep: usize) {
        let kept = self.checkpoint();
        self.0.entries.truncate(keep);
        self.0.synced = None;
        if self.last() < self.0.applied {
            // What the checkpoint holds is not lost; a storage goes on behind it.
            self.0.base = kept.expect("what was applied has a checkpoint").ballot;
            self.0.entries.clear();
            self.0.start = self.0.applied.next();
        }
        self.0.decided = self.0.decided.min(self.last());
    }
}
