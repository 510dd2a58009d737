//! What a voter has made durable, kept beside it: the truth that its log is held to.

use synod::paxos::{Ballot, Batch, Entry, LogChange, Recovered, Slot};

/// The durable state of one voter.
#[derive(Debug, Clone)]
pub(crate) struct Shadow {
    pub(crate) promised: Ballot,
    pub(crate) synced: Option<Ballot>,
    pub(crate) decided: Slot,
    pub(crate) entries: Vec<Entry>,
}

impl Shadow {
    pub(crate) fn new(initial: Ballot) -> Self {
        Shadow {
            promised: initial,
            synced: Some(initial),
            decided: Slot(0),
            entries: Vec::new(),
        }
    }

    pub(crate) fn last(&self) -> Slot {
        Slot(self.entries.len() as u64)
    }

    pub(crate) fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get((slot.0 as usize).checked_sub(1)?)
    }

    /// Applies a batch; gives the first slot that it wrote.
    pub(crate) fn apply(&mut self, batch: &Batch) -> Option<Slot> {
        if let Some(promised) = batch.promised {
            assert!(
                promised >= self.promised,
                "a promise fell from {} to {promised}",
                self.promised
            );
            self.promised = promised;
        }
        let changed = match &batch.log {
            None => None,
            Some(LogChange::Append { first, entries }) => {
                assert_eq!(
                    *first,
                    self.last().next(),
                    "an append leaves a gap or overlaps"
                );
                self.entries.extend(entries.iter().cloned());
                Some(*first)
            }
            Some(LogChange::Adopt {
                first,
                entries,
                synced,
            }) => {
                assert!(*first <= self.last().next(), "an adopted log leaves a gap");
                assert!(
                    self.synced.is_none_or(|before| before <= *synced),
                    "synced fell to {synced}"
                );
                let cut = self.entries.split_off(first.0 as usize - 1);
                self.entries.extend(entries.iter().cloned());
                let decided = self.decided.since(first.previous()) as usize;
                let kept = entries.get(..decided) == cut.get(..decided);
                assert!(kept, "a log of {synced} changes what is decided");
                self.synced = Some(*synced);
                Some(*first)
            }
        };
        if let Some(decided) = batch.decided {
            assert!(decided >= self.decided, "decided fell");
            self.decided = decided;
        }
        assert!(self.decided <= self.last(), "decided beyond the log");
        assert!(
            self.synced.is_none_or(|synced| synced <= self.promised),
            "synced above promised"
        );
        changed
    }

    /// Whether this is what was recovered, promise aside.
    pub(crate) fn is(&self, recovered: &Recovered) -> bool {
        (self.synced, self.decided) == (recovered.synced, recovered.decided)
            && self.entries == recovered.entries
    }
}
