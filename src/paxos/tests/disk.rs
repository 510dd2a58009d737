//! A disk for one voter: what is durable, by the contract of batches, each checked as it becomes so.

use crate::paxos::{Ballot, Batch, Entry, Epoch, LogChange, Recovered, Slot};

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
                first,
                entries,
                synced,
            }) => {
                assert_eq!(
                    synced, disk.promised,
                    "adopts a log of a ballot not promised"
                );
                assert!(disk.synced < Some(synced), "adopts twice in a ballot");
                disk.synced = Some(synced);
                self.0.entries.truncate(first.since(self.0.start) as usize);
                self.splice(first, entries);
            }
            None => {}
        }
        if let Some(decided) = batch.decided {
            assert!(
                decided > self.0.decided && decided <= self.last(),
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

    /// Loses the end of the log, and knows it: what a storage reports that finds damage.
    pub(super) fn damage(&mut self, keep: usize) {
        self.0.entries.truncate(keep);
        self.0.synced = None;
        self.0.decided = self.0.decided.min(self.last());
    }
}
