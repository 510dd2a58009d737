//! How a voter's log becomes a leader's: staged part by part, adopted whole in one batch.

use super::Acceptor;
use crate::bugs::{Bug, broken};
use crate::paxos::log::Log;
use crate::paxos::outbox::Outbox;
use crate::paxos::random::Random;
use crate::paxos::{
    Ballot, Base, Batch, Entry, Epoch, LogChange, Message, NodeId, PersistId, Slot, SyncId,
};

/// The part of a sync that has arrived, or of the decided log through a Seal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::paxos) struct Staging {
    /// The leader's, or the initial ballot of the epoch that the Seal begins.
    ballot: Ballot,
    sync: SyncId,
    /// It begins behind this checkpoint, and not in the log.
    pub(super) base: Option<Base>,
    from: Slot,
    through: Slot,
    entries: Vec<Entry>,
}

/// A part of a sync, as in [`Message::Sync`] and [`Message::Sealed`].
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
            Some(staging) if staging.ballot == ballot => Message::Staged {
                ballot,
                sync: staging.sync,
                next: staging.next(),
            },
            _ => Message::Behind {
                ballot,
                log: self.wanted(),
            },
        };
        out.send_after(leader, message, self.journal.barrier());
    }

    /// Takes a part of a sync, and adopts the leader's log when it was the last one.
    ///
    /// - Not twice in a ballot: once in sync this log only grows, so a late copy can not take back what was
    ///   acknowledged since. (`a_sync_of_the_same_ballot_never_truncates`) But it may go on behind a checkpoint that
    ///   lies beyond its end: that is growing, too.
    /// - Only if it answers this voter as it is since it started and promised: a sync sent before it lost its log would
    ///   end before entries it had acknowledged. (`a_damaged_voter_is_not_made_whole_by_an_old_sync`)
    /// - In one batch, at the end: half a sync is a log that no leader ever had. (`a_sync_counts_whole_or_not_at_all`)
    pub(in crate::paxos) fn stage(&mut self, leader: NodeId, part: Part, out: &mut Outbox) {
        let (ballot, sync, last) = (part.ballot, part.sync, part.through);
        if self.promised != ballot {
            return;
        }
        match self.collect(part) {
            Some(Collected::Whole((base, first, entries))) => {
                let id = self.adopt(base, first, entries, out);
                let durable = Some(id).filter(|_| !broken(Bug::ZooKeeper4646));
                out.send_after(leader, Message::Accepted { ballot, last }, durable);
            }
            Some(Collected::Next(next)) => {
                out.send(leader, Message::Staged { ballot, sync, next });
            }
            None => {}
        }
    }

    /// Puts a part to those before it; nothing where it does not continue them.
    pub(in crate::paxos) fn collect(&mut self, part: Part) -> Option<Collected> {
        let Part {
            ballot,
            sync,
            from,
            through,
            first,
            entries,
        } = part;
        if through < from || entries.is_empty() {
            return None;
        }
        let fetched = self.fetched.as_ref().filter(|fetched| fetched.sync == sync);
        // A leader sends its last entry at least, which a checkpoint may have summed up already: the one at hand, or
        // that which this log begins behind, and that may have come since it asked.
        // (`a_sync_may_begin_within_a_checkpoint`)
        let base = match (fetched, self.useful_for(ballot)) {
            (Some(_), Some(base)) if from <= base.slot.next() && through >= base.slot => Some(base),
            (Some(_), _) => return None,
            (None, _) => {
                let joins = from <= self.log.last().next() && self.log.start() <= through.next();
                if self.synced == Some(ballot) || self.sync != sync || !joins {
                    return None;
                }
                None
            }
        };
        let is_same = |it: &Staging| {
            (it.ballot, it.sync, it.from, it.through) == (ballot, sync, from, through)
        };
        if !self.staging.as_ref().is_some_and(is_same) {
            self.staging = Some(Staging {
                ballot,
                sync,
                base,
                from,
                through,
                entries: Vec::new(),
            });
        }
        let staging = self.staging.as_mut()?;
        if first != staging.next() || first.plus(entries.len()).previous() > through {
            return None;
        }
        staging.entries.extend(entries);
        let next = staging.next();
        if next <= through {
            return Some(Collected::Next(next));
        }
        let mut staging = self.staging.take()?;
        let start = staging
            .base
            .map_or(self.log.start(), |base| base.slot.next());
        let first = from.max(start);
        let entries = staging.entries.split_off(first.since(from) as usize);
        Some(Collected::Whole((staging.base, first, entries)))
    }

    /// Makes this log the decided one through the Seal that `entries`, or the log before them, ends with, and enters
    /// the epoch it begins: one atomic batch. Nothing more is said or promised before that is durable.
    ///
    /// All members begin the epoch with one log, so that its initial ballot is one they are all in sync with. What this
    /// voter held above is void: nothing is chosen above a Seal in its epoch. A damaged voter is whole by it, for it
    /// has accepted nothing in the epoch it enters. (`a_voter_enters_an_epoch_with_the_decided_log_alone`)
    ///
    /// A checkpoint may stand for the beginning of that log, or for all of it: then of a later epoch than the next,
    /// too, and further along the log that all members begin that epoch with. (`a_checkpoint_leads_into_a_later_epoch`)
    pub(in crate::paxos) fn enter(
        &mut self,
        (base, first, entries): Beginning,
        epoch: Epoch,
        random: &mut Random,
        out: &mut Outbox,
    ) -> PersistId {
        let ballot = Ballot::initial(epoch);
        assert!(
            self.synced < Some(ballot),
            "enters epoch {} a second time",
            epoch.0
        );
        assert!(
            self.promised <= ballot || self.promised.node.is_none(),
            "enters epoch {} with {} promised",
            epoch.0,
            self.promised
        );
        self.promised = self.promised.max(ballot);
        self.sync = SyncId(random.draw());
        self.keeps_decided(first, &entries);
        self.journal
            .note_decided(first.plus(entries.len()).previous());
        self.replace(base, first, entries, ballot, out)
    }

    /// Makes this log identical with that of the leader of the ballot promised, through the end of `entries`.
    ///
    /// No decided entry is lost by it or changed: it is in the log of every later leader. With a `base` the log goes
    /// whole and begins anew behind that checkpoint. What of it was past the checkpoint is in `entries` or was never
    /// chosen: it would be in every later leader's log.
    pub(in crate::paxos) fn adopt(
        &mut self,
        base: Option<Base>,
        first: Slot,
        entries: Vec<Entry>,
        out: &mut Outbox,
    ) -> PersistId {
        let grows = base.is_some_and(|base| base.slot > self.log.last());
        assert!(
            self.synced < Some(self.promised) || grows,
            "adopts a log twice in one ballot"
        );
        if let Some(base) = base {
            assert!(
                first == base.slot.next() && base.slot > self.journal.decided(),
                "adopts a log that does not join its checkpoint"
            );
        }
        self.keeps_decided(first, &entries);
        if let Some(base) = base {
            self.journal.note_decided(base.slot);
        }
        self.replace(base, first, entries, self.promised, out)
    }

    /// No decided entry may be lost or changed where the log from `first` on is replaced.
    fn keeps_decided(&self, first: Slot, entries: &[Entry]) {
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
    }

    /// Replaces the log from `first` on, or whole behind a checkpoint, and stamps it with `synced`, in one batch.
    fn replace(
        &mut self,
        base: Option<Base>,
        first: Slot,
        mut entries: Vec<Entry>,
        synced: Ballot,
        out: &mut Outbox,
    ) -> PersistId {
        match base {
            Some(base) => {
                if broken(Bug::OpenRaft559) {
                    let mut kept = self.log.range(first, self.log.last()).to_vec();
                    kept.extend(entries.into_iter().skip(kept.len()));
                    entries = kept;
                }
                self.log = Log::new(first, base.ballot, Vec::new());
                self.fetched = None;
            }
            None => {
                assert!(
                    first <= self.log.last().next(),
                    "a log is replaced behind a gap"
                );
                self.log.cut(first);
            }
        }
        entries
            .iter()
            .for_each(|entry| self.log.append(entry.clone()));
        self.synced = Some(synced);
        self.staging = None;
        let change = LogChange::Adopt {
            base,
            first,
            entries,
            synced,
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

/// What a log is replaced by: the checkpoint it begins behind, the slot of the first entry, and the entries.
pub(in crate::paxos) type Beginning = (Option<Base>, Slot, Vec<Entry>);

/// What parts have come to.
pub(in crate::paxos) enum Collected {
    /// All is here.
    Whole(Beginning),
    /// This slot is wanted next.
    Next(Slot),
}

impl Staging {
    fn next(&self) -> Slot {
        self.from.plus(self.entries.len())
    }
}
