//! Feeds decided entries to the state machine and publishes what came of them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::shared::{Committed, Shared};
use super::status::State;
use crate::config::Config;
use crate::paxos::{Entry, Payload, Slot};
use crate::state::{Applied, Machine, Outcome};

/// The only writer of the state machine.
pub(super) struct Applier {
    shared: Arc<Shared>,
    /// Decided and not yet applied, and the slot of the first of them.
    backlog: VecDeque<Entry>,
    next: Slot,
    /// A command of a newer build was met: nothing behind it may be applied.
    stopped: bool,
    execute: Execute,
}

/// Runs the command of a slot; it may panic.
type Execute = fn(&mut Machine, u64, &[u8]) -> Applied;

impl Applier {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let next = Slot(shared.inspect(Machine::applied)).next();
        Self {
            shared,
            backlog: VecDeque::new(),
            next,
            stopped: false,
            execute: Machine::apply,
        }
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
            return outcomes;
        }
        let (shared, began) = (self.shared.clone(), Instant::now());
        let mut machine = shared
            .machine
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let (mut config, mut broke) = (machine.config().clone(), None);
        while let Some(entry) = self.backlog.pop_front() {
            let slot = self.next;
            match entry.payload {
                Payload::Barrier => machine.skip(slot.0),
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
            config = machine.config().clone();
            self.next = slot.next();
            if began.elapsed() >= budget {
                break;
            }
        }
        drop(machine);
        self.publish(config, outcomes.len() as u64);
        if let Some(panic) = broke {
            tracing::error!(slot = %self.next, "a command could not be applied");
            resume_unwind(panic);
        }
        outcomes
    }

    /// Shows all who watch what is applied.
    fn publish(&self, config: Arc<Config>, commits: u64) {
        let shared = &self.shared;
        let revision = config.revision;
        shared.counters.commits.fetch_add(commits, Relaxed);
        shared.committed.send_if_modified(|committed| {
            let news = committed.revision != revision;
            if news {
                *committed = Committed { revision, config };
            }
            news
        });
        shared.applied.send_replace(self.next.previous().0);
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

#[cfg(test)]
mod tests {
    use super::super::group::Group;
    use super::super::reports::Reports;
    use super::super::running::standing;
    use super::super::tests::harness::put_pool;
    use super::*;
    use crate::config::Revision;
    use crate::paxos::{Ballot, Epoch, Recovered};

    #[test]
    fn what_comes_before_a_command_that_breaks_is_served() {
        let group = Group::alone("n1", [1; 16], [2; 16]);
        let initial = Ballot::initial(Epoch(1));
        let shared = Shared::new(
            group,
            standing(&Recovered::empty(initial)),
            Reports::new(None),
        );
        let mut applier = Applier::new(Arc::new(shared));
        applier.execute = |machine, slot, command| {
            assert!(slot < 3, "a bug");
            machine.apply(slot, command)
        };
        let entry = |name| Entry {
            ballot: initial,
            payload: Payload::Command(put_pool(name).encode()),
        };
        applier.decide(Slot(1), ["a", "b", "c"].map(entry).into());
        let run = AssertUnwindSafe(|| applier.apply(Duration::from_secs(60)));
        assert!(catch_unwind(run).is_err(), "the replica ends");
        assert_eq!(applier.shared.committed.borrow().revision, Revision(2));
        assert_eq!(*applier.shared.applied.borrow(), 2);
    }
}
