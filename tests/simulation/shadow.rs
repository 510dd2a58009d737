//! What a voter has made durable, kept beside it: the truth that its log is held to.

use synod::paxos::{Ballot, Batch, Entry, LogChange, Recovered, Slot};

/// The durable state of one voter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Shadow {
    pub(crate) promised: Ballot,
    pub(crate) synced: Option<Ballot>,
    pub(crate) decided: Slot,
    /// The slot of `entries[0]`: what lies before is in a checkpoint.
    pub(crate) start: Slot,
    pub(crate) entries: Vec<Entry>,
}

impl Shadow {
    pub(crate) fn new(initial: Ballot) -> Self {
        Shadow {
            promised: initial,
            synced: Some(initial),
            decided: Slot(0),
            start: Slot(1),
            entries: Vec::new(),
        }
    }

    pub(crate) fn last(&self) -> Slot {
        self.start.plus(self.entries.len()).previous()
    }

    pub(crate) fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(slot.0.checked_sub(self.start.0)? as usize)
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
                base,
                first,
                entries,
                synced,
            }) => {
                if let Some(base) = base {
                    assert!(
                        base.slot > self.decided,
                        "a checkpoint takes back what is decided"
                    );
                    self.entries.clear();
                    self.start = *first;
                    self.decided = base.slot;
                }
                assert!(*first <= self.last().next(), "an adopted log leaves a gap");
                assert!(
                    self.synced.is_none_or(|before| before <= *synced),
                    "synced fell to {synced}"
                );
                assert!(
                    *first >= self.start,
                    "an adopted log begins in a checkpoint"
                );
                let cut = self.entries.split_off(first.since(self.start) as usize);
                self.entries.extend(entries.iter().cloned());
                let decided = self.decided.since(first.previous()) as usize;
                let kept = entries.get(..decided) == cut.get(..decided);
                assert!(kept, "a log of {synced} changes what is decided");
                self.synced = Some(*synced);
                if synced.node.is_none() {
                    self.promised = self.promised.max(*synced);
                }
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

    /// Whether this is what was recovered, promise aside, and what a checkpoint sums up. A checkpoint that rotted may
    /// have been the only one to tell how far it is decided.
    pub(crate) fn is(&self, recovered: &Recovered, rotten: bool) -> bool {
        // What a checkpoint holds is decided, whatever else was told of it.
        let decided = self.decided.max(recovered.applied);
        self.synced == recovered.synced
            && (decided == recovered.decided || rotten && decided > recovered.decided)
            && self.start <= recovered.start
            && recovered.start <= recovered.applied.next()
            && self
                .entries
                .get(recovered.start.since(self.start) as usize..)
                == Some(&recovered.entries[..])
    }
}
