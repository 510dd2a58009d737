//! Feeds decided entries to the state machine and publishes what came of them.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::shared::{Committed, Shared};
use super::status::State;
use crate::paxos::{Entry, Payload, Slot};
use crate::state::{Applied, Machine, Outcome};

/// The only writer of the state machine.
pub(super) struct Applier {
    shared: Arc<Shared>,
    /// Decided and not yet applied, and the slot of the first of them.
    backlog: VecDeque<Entry>,
    next: Slot,
    /// A command of a newer release was met: nothing behind it may be applied.
    stopped: bool,
}

impl Applier {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let next = Slot(shared.inspect(Machine::applied)).next();
        Self {
            shared,
            backlog: VecDeque::new(),
            next,
            stopped: false,
        }
    }

    /// Whether nothing more is applied until an upgrade.
    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Whether all that is decided is applied, as far as this release can.
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
    pub(super) fn apply(&mut self, budget: Duration) -> Vec<(Bytes, Outcome)> {
        let mut outcomes = Vec::new();
        if self.backlog.is_empty() {
            return outcomes;
        }
        let (shared, began) = (self.shared.clone(), Instant::now());
        let mut machine = shared
            .machine
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        while let Some(entry) = self.backlog.pop_front() {
            let slot = self.next;
            match entry.payload {
                Payload::Barrier => machine.skip(slot.0),
                Payload::Command(command) => {
                    let outcome = self.command(&mut machine, slot, &command);
                    outcomes.extend(outcome.map(|outcome| (command, outcome)));
                }
            }
            if self.stopped {
                // Kept out of sight: a start on a newer release finds it in the log.
                self.backlog.clear();
                break;
            }
            self.next = slot.next();
            if began.elapsed() >= budget {
                break;
            }
        }
        let (applied, revision) = (machine.applied(), machine.revision());
        let config = machine.config().clone();
        drop(machine);
        let commits = outcomes.len() as u64;
        shared.counters.commits.fetch_add(commits, Relaxed);
        shared.committed.send_if_modified(|committed| {
            let news = committed.revision != revision;
            if news {
                *committed = Committed { revision, config };
            }
            news
        });
        shared.applied.send_replace(applied);
        outcomes
    }

    fn command(&mut self, machine: &mut Machine, slot: Slot, command: &[u8]) -> Option<Outcome> {
        match machine.apply(slot.0, command) {
            Applied::Command { outcome, .. } => Some(outcome),
            Applied::Undecodable(error) => {
                tracing::error!(%slot, "passed over what was decided: {error}");
                None
            }
            Applied::UnknownLevel { level } => {
                tracing::error!(%slot, level, "a newer release is needed: nothing more is applied");
                self.stopped = true;
                self.shared
                    .stand(|standing| standing.state = State::Upgrade { level });
                None
            }
        }
    }
}
