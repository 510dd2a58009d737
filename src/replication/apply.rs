//! Feeds decided entries to the state machine and publishes what came of them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::checkpoints::Checkpoints;
use super::shared::{Committed, Image, Shared};
use super::status::State;
use super::storage::checkpoint::Meta;
use crate::paxos::{Ballot, Entry, Payload, Slot, Succession};
use crate::state::{Applied, Glance, Machine, Outcome, Term};

/// The only writer of the state machine.
pub(super) struct Applier {
    shared: Arc<Shared>,
    /// Decided and not yet applied, and the slot of the first of them.
    backlog: VecDeque<Entry>,
    next: Slot,
    /// A command of a newer build was met: nothing behind it may be applied.
    stopped: bool,
    /// Who votes behind what is applied; none before the first Seal. And whether that is news.
    succession: Option<Succession>,
    succeeded: bool,
    execute: Execute,
    checkpoints: Checkpoints,
    /// The ballot that the last entry applied was proposed in.
    ballot: Option<Ballot>,
}

/// Runs the command of a slot; it may panic.
type Execute = fn(&mut Machine, u64, &[u8]) -> Applied;

impl Applier {
    /// Goes on from the state that is shared, behind which `succession` votes.
    pub(super) fn new(
        shared: Arc<Shared>,
        checkpoints: Checkpoints,
        succession: Option<Succession>,
    ) -> Self {
        let next = Slot(shared.inspect(Machine::applied)).next();
        Self {
            shared,
            backlog: VecDeque::new(),
            next,
            stopped: false,
            succeeded: succession.is_some(),
            succession,
            execute: Machine::apply,
            checkpoints,
            ballot: None,
        }
    }

    /// The newest membership met since this was asked last.
    pub(super) fn membership(&mut self) -> Option<Succession> {
        let news = std::mem::take(&mut self.succeeded);
        self.succession.clone().filter(|_| news)
    }

    /// Whether nothing more is applied until an upgrade.
    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Whether all that is decided is applied, as far as this build can.
    pub(super) fn idle(&self) -> bool {
        self.backlog.is_empty()
    }

    /// Takes in what is decided from `first` on.
    pub(super) fn decide(&mut self, first: Slot, entries: Vec<Entry>) {
        if self.stopped {
            return;
        }
        assert_eq!(
            first,
            self.next.plus(self.backlog.len()),
            "decided entries follow each other"
        );
        self.backlog.extend(entries);
        let decided = Slot(self.next.plus(self.backlog.len()).0 - 1);
        self.shared.decided.send_replace(decided);
    }

    /// Applies for about `budget`, so that a long backlog keeps no vote or heartbeat waiting; gives the commands and
    /// their outcomes. Whoever watches sees the new state before this returns: no answer is ever ahead of it.
    ///
    /// A panic in a command goes on from here, but what was applied before it is seen first: it comes again at each
    /// start, and the node serves on what it had. (`what_comes_before_a_command_that_breaks_is_served`)
    pub(super) fn apply(&mut self, budget: Duration) -> Vec<(Bytes, Outcome)> {
        let mut outcomes = Vec::new();
        if self.backlog.is_empty() {
            self.take_checkpoint();
            return outcomes;
        }
        let (shared, began) = (self.shared.clone(), Instant::now());
        let mut machine = shared
            .machine
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let (mut glance, mut broke) = (machine.glance(), None);
        let (mut entries, mut bytes) = (0, 0);
        while let Some(entry) = self.backlog.pop_front() {
            let (slot, weight) = (self.next, entry.payload.weight());
            if let Some(next) = entry.begins() {
                self.succession = Some(next);
                self.succeeded = true;
            }
            match entry.payload {
                Payload::Barrier => machine.lead(slot.0, entry.ballot.into()),
                Payload::Seal(_) => machine.skip(slot.0),
                Payload::Command(command) => {
                    let run = || self.command(&mut machine, slot, &command);
                    match catch_unwind(AssertUnwindSafe(run)) {
                        Ok(outcome) => outcomes.extend(outcome.map(|outcome| (command, outcome))),
                        Err(panic) => {
                            broke = Some(panic);
                            break;
                        }
                    }
                }
            }
            if self.stopped {
                // Kept out of sight: a start on a newer build finds it in the log.
                self.backlog.clear();
                break;
            }
            glance = machine.glance();
            self.next = slot.next();
            (entries, bytes) = (entries + 1, bytes + weight as u64);
            self.ballot = Some(entry.ballot);
            if began.elapsed() >= budget {
                break;
            }
        }
        let locked = machine.locks().changed();
        drop(machine);
        self.publish(glance, locked, outcomes.len() as u64);
        self.checkpoints.grow(entries, bytes);
        self.take_checkpoint();
        if let Some(panic) = broke {
            tracing::error!(slot = %self.next, "a command could not be applied");
            resume_unwind(panic);
        }
        outcomes
    }

    /// Takes a checkpoint if one is due, of what is applied.
    fn take_checkpoint(&mut self) {
        if let Some(ballot) = self.ballot
            && self.checkpoints.due()
        {
            let machine = self.shared.inspect(Machine::clone);
            self.checkpoints
                .take(machine, ballot, self.succession.clone());
        }
    }

    /// A checkpoint that was taken counts now.
    pub(super) fn kept(&mut self, meta: &Meta) {
        self.checkpoints.kept(meta);
        self.shared.checkpoint.fetch_max(meta.slot.0, Relaxed);
    }

    /// Goes on from the state of a peer's checkpoint. What was decided before and not applied is part of it.
    pub(super) fn install(&mut self, image: Image) {
        let slot = image.meta.slot;
        assert!(slot >= self.next, "the state would go back");
        tracing::info!(%slot, "this node goes on from a peer's checkpoint");
        self.backlog.clear();
        self.next = slot.next();
        self.succeeded |= image.succession != self.succession;
        self.succession = image.succession;
        self.checkpoints.installed(&image.meta);
        self.shared.go_on_from(image.machine);
        self.shared.counters.installed.fetch_add(1, Relaxed);
    }

    /// Shows all who watch what is applied.
    fn publish(&self, glance: Glance, locked: u64, commits: u64) {
        let (shared, config) = (&self.shared, glance.config.clone());
        let revision = config.revision;
        shared.show(glance);
        shared.counters.commits.fetch_add(commits, Relaxed);
        shared.committed.send_if_modified(|committed| {
            let news = committed.revision != revision;
            if news {
                *committed = Committed { revision, config };
            }
            news
        });
        shared.applied.send_replace(self.next.previous().0);
        shared
            .locked
            .send_if_modified(|changed| std::mem::replace(changed, locked) != locked);
    }

    fn command(&mut self, machine: &mut Machine, slot: Slot, command: &[u8]) -> Option<Outcome> {
        match (self.execute)(machine, slot.0, command) {
            Applied::Command { outcome, .. } => Some(outcome),
            Applied::Undecodable(error) => {
                tracing::error!(%slot, "passed over what was decided: {error}");
                None
            }
            Applied::UnknownLevel { level } => {
                tracing::error!(%slot, level, "a newer build is needed: nothing more is applied");
                self.stopped = true;
                self.shared
                    .stand(|standing| standing.state = State::Upgrade { level });
                None
            }
        }
    }
}

impl From<Ballot> for Term {
    fn from(ballot: Ballot) -> Self {
        Self {
            epoch: ballot.epoch.0,
            round: ballot.round,
            node: ballot.node.map_or(0, |node| node.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::checkpoints::Pace;
    use super::super::group::Group;
    use super::super::inbox::Inbox;
    use super::super::log::Work;
    use super::super::reports::Reports;
    use super::super::running::standing;
    use super::super::storage::Memory;
    use super::super::tests::harness::put_pool;
    use super::*;
    use crate::config::Revision;
    use crate::paxos::{Epoch, Recovered};

    fn applier(checkpoints: Checkpoints) -> Applier {
        let group = Group::alone("n1", [1; 16], [2; 16]);
        let recovered = Recovered::empty(Ballot::initial(Epoch(1)));
        let shared = Shared::new(group, standing(&recovered), Reports::new(None));
        Applier::new(Arc::new(shared), checkpoints, None)
    }

    fn entry(name: &str) -> Entry {
        Entry {
            ballot: Ballot::initial(Epoch(1)),
            payload: Payload::Command(put_pool(name).encode()),
        }
    }

    #[test]
    fn what_nothing_follows_comes_into_a_checkpoint() {
        let disk = Memory::new(1).boot().expect("it is new");
        let log = Arc::new(Inbox::new(1 << 20));
        let pace = Pace {
            entries: 1000,
            bytes: 1 << 20,
        };
        let mut applier = applier(Checkpoints::new(pace, Arc::new(disk), log.clone()));
        applier.decide(Slot(1), vec![entry("a")]);
        applier.apply(Duration::from_secs(60));
        applier.checkpoints.rest(Duration::from_secs(59));
        applier.apply(Duration::from_secs(60));
        assert!(!applier.checkpoints.due(), "too soon");
        applier.checkpoints.rest(Duration::from_secs(1));
        applier.apply(Duration::from_secs(60));
        let deadline = Instant::now() + Duration::from_secs(60);
        let handed = log.take(Some(deadline));
        let Some(Work::Keep(meta)) = handed.front() else {
            panic!("no checkpoint was taken");
        };
        assert_eq!(meta.slot, Slot(1));
    }

    #[test]
    fn what_comes_before_a_command_that_breaks_is_served() {
        let mut applier = applier(Checkpoints::never());
        applier.execute = |machine, slot, command| {
            assert!(slot < 3, "a bug");
            machine.apply(slot, command)
        };
        applier.decide(Slot(1), ["a", "b", "c"].map(entry).into());
        let run = AssertUnwindSafe(|| applier.apply(Duration::from_secs(60)));
        assert!(catch_unwind(run).is_err(), "the replica ends");
        assert_eq!(applier.shared.committed.borrow().revision, Revision(2));
        assert_eq!(*applier.shared.applied.borrow(), 2);
    }
}
