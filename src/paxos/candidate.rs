//! Phase 1: a ballot of one's own, promised by a majority, and the log that must be led on from.

use std::collections::BTreeMap;
use std::time::Duration;

use super::acceptor::Acceptor;
use super::log::Log;
use super::outbox::Outbox;
use super::{
    Ballot, Base, Entry, Epoch, Membership, Message, NodeId, Output, Payload, PersistId, Slot,
    Summary, Time,
};
use crate::bugs::{Bug, broken};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Candidate {
    ballot: Ballot,
    /// The batch that makes the own promise durable.
    own: PersistId,
    promises: BTreeMap<NodeId, Promise>,
    pull: Option<Pull>,
    /// Whose checkpoint is needed, and what it must reach.
    wanted: Option<(NodeId, Slot)>,
    /// When to send again what was not answered.
    pub(super) resend_at: Time,
    /// When to give up, unless something comes in before.
    pub(super) give_up_at: Time,
}

/// What a voter promised with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Promise {
    pub(super) synced: Ballot,
    pub(super) log: Summary,
}

/// The best log on its way here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Pull {
    source: NodeId,
    /// It begins behind this checkpoint, and not in the own log.
    base: Option<Base>,
    from: Slot,
    through: Slot,
    entries: Vec<Entry>,
}

/// A phase 1 that is done: what to adopt, and who promised.
pub(super) struct Won {
    pub(super) base: Option<Base>,
    pub(super) first: Slot,
    pub(super) entries: Vec<Entry>,
    pub(super) promises: BTreeMap<NodeId, Promise>,
}

impl Candidate {
    pub(super) fn new(
        ballot: Ballot,
        own: PersistId,
        now: Time,
        heartbeat: Duration,
        patience: Duration,
    ) -> Self {
        Candidate {
            ballot,
            own,
            promises: BTreeMap::new(),
            pull: None,
            wanted: None,
            resend_at: now + heartbeat,
            give_up_at: now + patience,
        }
    }

    pub(super) fn ballot(&self) -> Ballot {
        self.ballot
    }

    /// Asks for promises, of those too that gave one: it tells them that somebody is at work.
    ///
    /// Not before the own promise is durable: else this node could forget the ballot, and come by it a second time.
    /// (`a_candidate_asks_only_when_its_own_promise_is_durable`)
    pub(super) fn prepare(
        &self,
        membership: &Membership,
        id: NodeId,
        acceptor: &Acceptor,
        out: &mut Outbox,
    ) {
        let after = (!acceptor.journal().is_durable(self.own)).then_some(self.own);
        for &voter in membership.voters.iter().filter(|&&voter| voter != id) {
            out.send_after(
                voter,
                Message::Prepare {
                    ballot: self.ballot,
                },
                after,
            );
        }
    }

    /// Sends again what may have been lost.
    pub(super) fn resend(
        &mut self,
        membership: &Membership,
        id: NodeId,
        acceptor: &Acceptor,
        out: &mut Outbox,
    ) {
        self.prepare(membership, id, acceptor, out);
        if let Some(pull) = &self.pull {
            pull.request(self.ballot, out);
        } else if let Some((from, start)) = self.wanted {
            out.push(Output::Fetch { from, start });
        }
    }

    pub(super) fn on_promise(
        &mut self,
        from: NodeId,
        promise: Promise,
        now: Time,
        patience: Duration,
    ) {
        assert!(
            promise.synced < self.ballot,
            "{from} is in sync with a ballot that was not won yet"
        );
        if self.promises.insert(from, promise).is_none() {
            self.give_up_at = now + patience;
        }
    }

    pub(super) fn on_chunk(
        &mut self,
        from: NodeId,
        first: Slot,
        entries: Vec<Entry>,
        now: Time,
        patience: Duration,
        out: &mut Outbox,
    ) {
        let Some(pull) = self
            .pull
            .as_mut()
            .filter(|pull| pull.source == from && pull.next() == first)
        else {
            return;
        };
        let missing = pull.through.next().since(first) as usize;
        pull.entries.extend(entries.into_iter().take(missing));
        self.give_up_at = now + patience;
        if pull.next() <= pull.through {
            pull.request(self.ballot, out);
        }
    }

    /// Counts the promises; with a majority of them, settles on a log and gets it here. Done when it is here.
    pub(super) fn advance(
        &mut self,
        membership: &Membership,
        id: NodeId,
        acceptor: &Acceptor,
        out: &mut Outbox,
    ) -> Option<Won> {
        if acceptor.journal().is_durable(self.own) && !self.promises.contains_key(&id) {
            let synced = acceptor.synced().expect("a damaged voter does not stand");
            self.promises.insert(
                id,
                Promise {
                    synced,
                    log: acceptor.summary(),
                },
            );
        }
        if self.promises.len() < membership.quorum() || !self.promises.contains_key(&id) {
            return None;
        }
        if self.pull.is_none() {
            let pull = self.pull_best(id, acceptor, out)?;
            if pull.next() <= pull.through {
                pull.request(self.ballot, out);
            }
            self.pull = Some(pull);
        }
        let pull = self.pull.take_if(|pull| pull.next() > pull.through)?;
        if pull.base.is_some() && pull.base != acceptor.useful() {
            // Another checkpoint has come meanwhile: the pull begins again, perhaps behind that one.
            return None;
        }
        // Behind a Seal nothing may be in its epoch: whoever adopts one decides it again, and ends.
        let ends = pull.ends_with_seal(acceptor.log(), self.ballot.epoch);
        let mut entries = pull.entries;
        if !ends {
            entries.push(Entry {
                ballot: self.ballot,
                payload: Payload::Barrier,
            });
        }
        Some(Won {
            base: pull.base,
            first: pull.from,
            entries,
            promises: std::mem::take(&mut self.promises),
        })
    }

    /// The log with the greatest (synced, last) of those promised, whole; the own one if it is as good.
    ///
    /// It holds every chosen entry. One chosen in ballot b was durable at a majority in sync with b, of which one
    /// promised here; so the greatest synced is b or above. If it is b, the longest of them has the entry; if above,
    /// the leader of that ballot had it, by the same argument. Picking slot by slot instead would put a dead leader's
    /// tail behind newer entries. (`phase_one_takes_the_best_log_whole`, `random_schedules_agree`)
    fn best(&self, id: NodeId) -> (NodeId, &Promise) {
        let rank = |node: NodeId, promise: &Promise| {
            let synced = Some(promise.synced).filter(|_| !broken(Bug::LongestLog));
            (synced, promise.log.last, node == id)
        };
        let (&source, best) = self
            .promises
            .iter()
            .max_by_key(|(node, promise)| rank(**node, promise))
            .expect("a majority has promised");
        for (node, promise) in &self.promises {
            assert!(
                promise.log.decided <= best.log.last,
                "what {node} knows decided is missing from the best log"
            );
        }
        (source, best)
    }

    /// How to get the best log here. `None` while a checkpoint is missing: the best log starts beyond the own one, or
    /// beyond where they are known to be the same.
    fn pull_best(&mut self, id: NodeId, acceptor: &Acceptor, out: &mut Outbox) -> Option<Pull> {
        let (source, best) = self.best(id);
        if broken(Bug::ConstrainedElection) && source != id {
            return None;
        }
        let (start, through) = (best.log.start, best.log.last);
        let decided = acceptor.journal().decided();
        let joins = match source == id {
            true => Some(acceptor.log().last().next()),
            false => acceptor.log().met_by(decided, &best.log),
        };
        let fetched = acceptor
            .useful()
            .filter(|base| base.slot.next() >= start && Log::holds(&best.log, *base));
        let (base, from) = match (joins, fetched) {
            (Some(from), _) => (None, from),
            (None, Some(base)) => (Some(base), base.slot.next()),
            (None, None) => {
                if self.wanted.replace((source, start)).is_none() {
                    out.push(Output::Fetch {
                        from: source,
                        start,
                    });
                }
                return None;
            }
        };
        Some(Pull {
            source,
            base,
            from,
            through,
            entries: Vec::new(),
        })
    }
}

impl Pull {
    /// Whether the log that it makes of the own one ends with the Seal of `epoch`. What of the own one is not kept says
    /// nothing, nor does a checkpoint: one that ended this epoch would have led into the next.
    /// (`a_seal_that_is_cut_off_ends_no_log`)
    fn ends_with_seal(&self, own: &Log, epoch: Epoch) -> bool {
        let kept = || match self.base {
            Some(_) => None,
            None => own.get(self.from.previous()),
        };
        let last = self.entries.last().or_else(kept);
        last.is_some_and(|last| last.is_seal_of(epoch))
    }

    fn next(&self) -> Slot {
        self.from.plus(self.entries.len())
    }

    fn request(&self, ballot: Ballot, out: &mut Outbox) {
        out.send(
            self.source,
            Message::Pull {
                ballot,
                first: self.next(),
            },
        );
    }
}
