//! What a follower takes of a stream of decided entries: what comes next, once, and as the log is to keep it.
//!
//! Pure, so that the simulation runs the same rules as the follower's thread. Streams of two connections may overlap,
//! and one may be behind the other.

use crate::paxos::{Ballot, Base, Batch, Entry, Epoch, LogChange, Recovered, Slot};

/// How far a follower has come.
#[derive(Clone, Debug)]
pub struct Intake {
    last: Slot,
    /// The one ballot of a follower's log.
    ballot: Ballot,
    /// The log's end was damaged, or not decided: what comes next is written so that it counts as whole again.
    adopt: Option<Ballot>,
}

impl Intake {
    /// Goes on from what the log and the checkpoint held; gives the entries to apply, and the slot of the first.
    ///
    /// All through `decided` is decided, whatever the damage behind it; of what lies beyond nobody knows that.
    pub fn new(recovered: Recovered) -> (Self, Slot, Vec<Entry>) {
        let known = recovered.decided.next().since(recovered.start) as usize;
        let mut entries = recovered.entries;
        let beyond = entries.len();
        entries.truncate(known);
        let last = recovered.start.plus(entries.len()).previous();
        let first = recovered.start.max(recovered.applied.next());
        let entries = entries.split_off(first.since(recovered.start) as usize);
        // Behind what is decided a voter, which it may have been, holds what came to nothing.
        let whole = recovered.synced.is_some() && known >= beyond;
        let adopt = (!whole).then_some(recovered.promised);
        let ballot = recovered.promised;
        let intake = Self {
            last,
            ballot,
            adopt,
        };
        (intake, first, entries)
    }

    /// Goes on behind a voter's checkpoint; the batch that keeps it. `None` where it is older than what is here.
    pub fn install(&mut self, base: Base) -> Option<Batch> {
        if base.slot <= self.last {
            return None;
        }
        (self.last, self.adopt) = (base.slot, None);
        let log = LogChange::Adopt {
            base: Some(base),
            first: base.slot.next(),
            entries: Vec::new(),
            synced: self.ballot,
        };
        Some(Batch {
            promised: None,
            log: Some(log),
            decided: Some(base.slot),
        })
    }

    /// The last slot taken in.
    pub fn last(&self) -> Slot {
        self.last
    }

    /// Of decided entries from `first` on, those it does not have, with the slot of the first of them and the batch
    /// that keeps them. `None` where there are none, or where they leave a gap: the connection they came by is at
    /// fault, and the next one begins at the right slot.
    pub fn take(
        &mut self,
        first: Slot,
        mut entries: Vec<Entry>,
    ) -> Option<(Slot, Vec<Entry>, Batch)> {
        let next = self.last.next();
        let known = next.since(first) as usize;
        if first > next || known >= entries.len() {
            return None;
        }
        let entries = entries.split_off(known);
        self.last = self.last.plus(entries.len());
        let kept = entries.clone();
        let log = match self.adopt.take() {
            None => LogChange::Append {
                first: next,
                entries: kept,
            },
            Some(synced) => LogChange::Adopt {
                base: None,
                first: next,
                entries: kept,
                synced,
            },
        };
        let batch = Batch {
            promised: None,
            log: Some(log),
            decided: Some(self.last),
        };
        Some((next, entries, batch))
    }
}

impl Intake {
    /// The batch by which a follower that a decided Seal names comes to its vote: all it holds is decided, so its log
    /// is the one that every member begins the epoch with, or further along it.
    pub fn enter(&self, epoch: Epoch) -> Batch {
        let change = LogChange::Adopt {
            base: None,
            first: self.last.next(),
            entries: Vec::new(),
            synced: Ballot::initial(epoch),
        };
        Batch {
            promised: None,
            log: Some(change),
            decided: Some(self.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::Payload;

    fn entries(count: usize) -> Vec<Entry> {
        let entry = Entry {
            ballot: Ballot::initial(Epoch(1)),
            payload: Payload::Barrier,
        };
        vec![entry; count]
    }

    #[test]
    fn each_slot_is_taken_once_and_in_order() {
        let initial = Ballot::initial(Epoch(1));
        let (mut intake, first, known) = Intake::new(Recovered::empty(initial));
        assert_eq!((first, known.len(), intake.last()), (Slot(1), 0, Slot(0)));
        let mut take = |first, count| {
            intake
                .take(Slot(first), entries(count))
                .map(|(first, entries, batch)| (first.0, entries.len(), batch.decided))
        };
        assert_eq!(take(1, 3), Some((1, 3, Some(Slot(3)))));
        assert_eq!(take(1, 3), None, "it has them");
        assert_eq!(take(2, 4), Some((4, 2, Some(Slot(5)))));
        assert_eq!(take(7, 1), None, "6 is missing");
    }

    #[test]
    fn a_damaged_log_is_taken_up_to_what_is_known_decided_and_made_whole() {
        let initial = Ballot::initial(Epoch(1));
        let recovered = Recovered {
            synced: None,
            decided: Slot(2),
            entries: entries(3),
            ..Recovered::empty(initial)
        };
        let (mut intake, _, known) = Intake::new(recovered);
        assert_eq!((known.len(), intake.last()), (2, Slot(2)));
        let (_, _, batch) = intake.take(Slot(3), entries(1)).expect("it is the next");
        assert!(matches!(
            batch.log,
            Some(LogChange::Adopt { first: Slot(3), .. })
        ));
        let (_, _, batch) = intake.take(Slot(4), entries(1)).expect("it is the next");
        assert!(matches!(batch.log, Some(LogChange::Append { .. })));
    }
}
