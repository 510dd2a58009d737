//! Feeds decided entries to the state machine and publishes what came of them.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use super::shared::{Committed, Shared};
use super::status::State;
use crate::paxos::{Entry, Payload, Slot};
use crate::state::{Applied, Machine, Outcome};

/// The only writer of the state machine.
pub(super) struct Applier {
    shared: Arc<Shared>,
    /// A command of a newer release was met: nothing behind it may be applied.
    stopped: bool,
}

impl Applier {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            stopped: false,
        }
    }

    /// Whether nothing more is applied until an upgrade.
    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Applies what is decided from `first` on; gives the commands and their outcomes. When this returns, whoever
    /// watches sees the new state: an answer sent afterwards is never ahead of it.
    pub(super) fn apply(&mut self, first: Slot, entries: Vec<Entry>) -> Vec<(Bytes, Outcome)> {
        let mut outcomes = Vec::with_capacity(entries.len());
        let shared = self.shared.clone();
        let mut machine = shared
            .machine
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for (entry, slot) in entries.into_iter().zip(first.0..) {
            if self.stopped {
                break;
            }
            match entry.payload {
                Payload::Barrier => machine.skip(slot),
                Payload::Command(command) => {
                    let outcome = self.command(&mut machine, slot, &command);
                    outcomes.extend(outcome.map(|outcome| (command, outcome)));
                }
            }
        }
        let (applied, revision) = (machine.applied(), machine.revision());
        let config = machine.config().clone();
        drop(machine);
        shared
            .counters
            .commits
            .fetch_add(outcomes.len() as u64, Relaxed);
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

    fn command(&mut self, machine: &mut Machine, slot: u64, command: &[u8]) -> Option<Outcome> {
        match machine.apply(slot, command) {
            Applied::Command { outcome, .. } => Some(outcome),
            Applied::Undecodable(error) => {
                tracing::error!(slot, "passed over what was decided: {error}");
                None
            }
            Applied::UnknownLevel { level } => {
                tracing::error!(
                    slot,
                    level,
                    "a newer release is needed: nothing more is applied"
                );
                self.stopped = true;
                self.shared
                    .stand(|standing| standing.state = State::Upgrade { level });
                None
            }
        }
    }
}
