//! How a voter's log becomes a leader's: staged part by part, adopted whole in one batch.

use super::Acceptor;
use crate::paxos::outbox::Outbox;
use crate::paxos::{Ballot, Batch, Entry, LogChange, Message, NodeId, PersistId, Slot, SyncId};

/// The part of a sync that has arrived.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::paxos) struct Staging {
    from: Slot,
    through: Slot,
    entries: Vec<Entry>,
}

/// A part of a sync, as in [`Message::Sync`].
pub(in crate::paxos) struct Part {
    pub(in crate::paxos) ballot: Ballot,
    pub(in crate::paxos) sync: SyncId,
    pub(in crate::paxos) from: Slot,
    pub(in crate::paxos) through: Slot,
    pub(in crate::paxos) first: Slot,
    pub(in crate::paxos) entries: Vec<Entry>,
}

impl Acceptor {
    /// Answers a leader it is not in sync with: where its sync stands, or that it needs one.
    pub(in crate::paxos) fn ask_for_sync(&self, leader: NodeId, out: &mut Outbox) {
        let ballot = self.promised;
        let message = match &self.staging {
            Some(staging) => Message::Staged {
                ballot,
                sync: self.sync,
                next: staging.next(),
            },
            None => Message::Behind {
                ballot,
                log: self.summary(),
            },
        };
        out.send_after(leader, message, self.journal.barrier());
    }

    /// Takes a part of a sync, and adopts the leader's log when it was the last one.
    ///
    /// - Not twice in a ballot: once in sync this log only grows, so a late copy can not take back what was
    ///   acknowledged since. (`a_sync_of_the_same_ballot_never_truncates`)
    /// - Only if it answers this voter as it is since it started and promised: a sync sent before it lost its log would
    ///   end before entries it had acknowledged. (`a_damaged_voter_is_not_made_whole_by_an_old_sync`)
    /// - In one batch, at the end: half a sync is a log that no leader ever had. (`a_sync_counts_whole_or_not_at_all`)
    pub(in crate::paxos) fn stage(&mut self, leader: NodeId, part: Part, out: &mut Outbox) {
        let Part {
            ballot,
            sync,
            from,
            through,
            first,
            entries,
        } = part;
        if self.promised != ballot || self.synced == Some(ballot) || self.sync != sync {
            return;
        }
        if from < self.log.start()
            || from > self.log.last().next()
            || through < from
            || entries.is_empty()
        {
            return;
        }
        let same = self
            .staging
            .as_ref()
            .is_some_and(|staging| (staging.from, staging.through) == (from, through));
        if !same {
            self.staging = Some(Staging {
                from,
                through,
                entries: Vec::new(),
            });
        }
        let Some(staging) = &mut self.staging else {
            return;
        };
        if first != staging.next() || first.plus(entries.len()).previous() > through {
            return;
        }
        staging.entries.extend(entries);
        let next = staging.next();
        if next <= through {
            out.send(leader, Message::Staged { ballot, sync, next });
        } else if let Some(staging) = self.staging.take() {
            let id = self.adopt(staging.from, staging.entries, out);
            out.send_after(
                leader,
                Message::Accepted {
                    ballot,
                    last: through,
                },
                Some(id),
            );
        }
    }

    /// Makes this log identical with that of the leader of the ballot promised, through the end of `entries`.
    ///
    /// No decided entry is lost by it or changed: it is in the log of every later leader.
    pub(in crate::paxos) fn adopt(
        &mut self,
        first: Slot,
        entries: Vec<Entry>,
        out: &mut Outbox,
    ) -> PersistId {
        assert!(
            self.synced < Some(self.promised),
            "adopts a log twice in one ballot"
        );
        assert!(
            first <= self.log.last().next() && !entries.is_empty(),
            "adopts a log with a gap, or nothing"
        );
        let mut slot = first;
        while slot <= self.journal.decided() {
            let entry = entries.get(slot.since(first) as usize);
            assert_eq!(
                entry,
                self.log.get(slot),
                "the decided slot {slot} is lost or changed by {}",
                self.promised
            );
            slot = slot.next();
        }
        self.log.cut(first);
        entries
            .iter()
            .for_each(|entry| self.log.append(entry.clone()));
        self.synced = Some(self.promised);
        self.staging = None;
        let change = LogChange::Adopt {
            first,
            entries,
            synced: self.promised,
        };
        let held = self.held();
        self.journal.persist(
            Batch {
                log: Some(change),
                ..Batch::default()
            },
            held,
            out,
        )
    }
}

impl Staging {
    fn next(&self) -> Slot {
        self.from.plus(self.entries.len())
    }
}
