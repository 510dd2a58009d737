//! The voter proper: what it promised, what it accepted, and how its log becomes a leader's.
//!
//! The safety of the group rests on these rules, each kept by one function below:
//! a promise never falls ([`Acceptor::promise`]); an entry is accepted only from the leader promised and synced with
//! ([`Acceptor::accept`]); a log is replaced only whole, atomically, and once a ballot (`adoption`).

use super::journal::{Held, Journal};
use super::log::Log;
use super::outbox::Outbox;
use super::random::Random;
use super::{
    Ballot, Batch, Entry, Epoch, LogChange, Message, NodeId, Payload, PersistId, Position,
    Recovered, Slot, Summary, SyncId,
};
use crate::bugs::{Bug, broken};

mod adoption;
mod fetched;

use adoption::Staging;
pub(super) use adoption::{Beginning, Collected, Part};
use fetched::Fetched;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Acceptor {
    promised: Ballot,
    synced: Option<Ballot>,
    /// What a sync must repeat.
    sync: SyncId,
    log: Log,
    staging: Option<Staging>,
    fetched: Option<Fetched>,
    journal: Journal,
}

impl Acceptor {
    pub(super) fn new(recovered: Recovered, random: &mut Random) -> Self {
        let Recovered {
            promised,
            synced,
            decided,
            start,
            base,
            entries,
            applied: _,
            succession: _,
        } = recovered;
        let log = Log::new(start, base, entries);
        assert!(
            synced <= Some(promised),
            "synced with a ballot above the promise"
        );
        assert!(
            synced.is_none() || decided <= log.last(),
            "an undamaged log ends before what is decided"
        );
        // A damaged log may have lost decided entries; what is left of it is still decided.
        let journal = Journal::new(
            Held {
                synced,
                last: log.last(),
            },
            decided.min(log.last()),
        );
        Acceptor {
            promised,
            synced,
            sync: SyncId(random.draw()),
            log,
            staging: None,
            fetched: None,
            journal,
        }
    }

    pub(super) fn promised(&self) -> Ballot {
        self.promised
    }

    pub(super) fn synced(&self) -> Option<Ballot> {
        self.synced
    }

    /// Whether this voter may ask for votes: its log is whole, and of the epoch that it promised in.
    pub(super) fn is_whole(&self) -> bool {
        let known = self.synced.map(|synced| synced.epoch);
        known == Some(self.promised.epoch)
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(super) fn journal_mut(&mut self) -> &mut Journal {
        &mut self.journal
    }

    fn held(&self) -> Held {
        Held {
            synced: self.synced,
            last: self.log.last(),
        }
    }

    pub(super) fn save_decided(&mut self, out: &mut Outbox) {
        let held = self.held();
        self.journal.save_decided(held, out);
    }

    /// The Seal of `epoch` is the last entry here, and is decided.
    pub(super) fn sealed(&self, epoch: Epoch) -> bool {
        self.log.ending(epoch).is_some() && self.journal.decided() == self.log.last()
    }

    /// Raises the promise. From here on nothing of a lower ballot is accepted, synced or handed over.
    ///
    /// What tells others of it leaves behind the batch returned, and thereby behind all that was accepted before: a
    /// promise on the wire is never lost, nor are the entries it reports. (`promise_is_durable_before_reply`)
    pub(super) fn promise(
        &mut self,
        ballot: Ballot,
        random: &mut Random,
        out: &mut Outbox,
    ) -> PersistId {
        assert!(
            ballot > self.promised,
            "the promise {} does not rise to {ballot}",
            self.promised
        );
        self.promised = ballot;
        self.sync = SyncId(random.draw());
        self.staging = None;
        if let Some(fetched) = &mut self.fetched {
            fetched.sync = SyncId(random.draw());
        }
        let held = self.held();
        self.journal.persist(
            Batch {
                promised: Some(ballot),
                ..Batch::default()
            },
            held,
            out,
        )
    }

    /// Somebody has promised this: of no meaning here.
    pub(super) fn met(&mut self, promised: Ballot) {
        if broken(Bug::OpenRaft1220) {
            self.promised = self.promised.max(promised);
        }
    }

    /// The log without its entries. It stays as it is until the leader of the ballot promised has synced it.
    pub(super) fn summary(&self) -> Summary {
        Summary {
            sync: self.sync,
            start: self.log.start(),
            last: self.log.last(),
            decided: self.journal.decided(),
            base: self.log.base().ballot,
            runs: self.log.runs().to_vec(),
        }
    }

    /// How far this voter follows the leader of `ballot`: none unless it is in sync with it.
    pub(super) fn position(&self, ballot: Ballot) -> Option<Position> {
        let held = self.journal.held();
        let accepted = if held.synced == Some(ballot) {
            held.last
        } else {
            Slot::ZERO
        };
        (self.synced == Some(ballot)).then(|| Position {
            accepted,
            received: self.log.last(),
        })
    }

    /// Accepts what continues the log of the leader promised *and* synced with.
    ///
    /// Promised alone is not enough: the log below would not be that leader's, and a later phase 1, which takes one log
    /// whole by (synced, last), would take it for such. A gap is not filled later but sent again: "accepted through
    /// `last`" must mean every slot up to it. (`nothing_is_accepted_before_the_sync`,
    /// `no_entry_is_accepted_behind_a_gap`)
    pub(super) fn accept(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        first: Slot,
        payloads: Vec<Payload>,
        out: &mut Outbox,
    ) {
        let next = self.log.last().next();
        if self.promised != ballot
            || (self.synced != Some(ballot) && !broken(Bug::UnsyncedAccept))
            || (first > next && !broken(Bug::ZooKeeper4925))
            || first < self.log.start()
        {
            return;
        }
        let mut fresh = Vec::new();
        for (offset, payload) in payloads.into_iter().enumerate() {
            let (slot, entry) = (first.plus(offset), Entry { ballot, payload });
            if slot < next {
                assert_eq!(
                    self.log.get(slot),
                    Some(&entry),
                    "two values in slot {slot} of ballot {ballot}"
                );
            } else {
                fresh.push(entry);
            }
        }
        if !fresh.is_empty() {
            let id = self.append(fresh, out);
            let accepted = Message::Accepted {
                ballot,
                last: self.log.last(),
            };
            out.send_after(from, accepted, Some(id));
        }
    }

    /// Continues the log, as its leader or in step with it.
    pub(super) fn append(&mut self, entries: Vec<Entry>, out: &mut Outbox) -> PersistId {
        assert_eq!(
            self.synced,
            Some(self.promised),
            "appends to a log that is not of the ballot promised"
        );
        let first = self.log.last().next();
        entries
            .iter()
            .for_each(|entry| self.log.append(entry.clone()));
        let held = self.held();
        self.journal.persist(
            Batch {
                log: Some(LogChange::Append { first, entries }),
                ..Batch::default()
            },
            held,
            out,
        )
    }

    /// Hands a part of the log to the candidate promised, and to no other: once a higher ballot is promised, the log
    /// may have moved on from what the promise reported. A damaged log is handed to nobody.
    pub(super) fn hand_over(
        &self,
        candidate: NodeId,
        ballot: Ballot,
        first: Slot,
        out: &mut Outbox,
    ) {
        if ballot != self.promised || self.synced.is_none_or(|synced| synced >= ballot) {
            return;
        }
        let entries = self.log.chunk(first, self.log.last());
        if first >= self.log.start() && !entries.is_empty() {
            out.send(
                candidate,
                Message::Chunk {
                    ballot,
                    first,
                    entries: entries.to_vec(),
                },
            );
        }
    }
}
