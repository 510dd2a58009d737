//! The machine: decided commands in, state and outcomes out; total, deterministic, single-threaded.

use std::hash::Hasher;
use std::sync::Arc;

use twox_hash::XxHash3_64;

use super::command::Envelope;
use super::keys::Keys;
use super::{Body, DecodeError, History, Key, Outcome, Stamp};
use crate::config::{Config, Rejection, Revision};

/// What applying one entry of the log came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// It was a command.
    Command {
        /// By which whoever proposed it waits for it.
        key: Key,
        /// What became of it.
        outcome: Outcome,
    },
    /// It was none; it is passed over, on every node alike.
    Undecodable(DecodeError),
    /// It needs a newer build: it was not applied, and nothing behind it may be. The machine stays where it is.
    UnknownLevel {
        /// The level it needs.
        level: u32,
    },
}

/// The replicated state. Equal bytes at equal slots give equal machines.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    config: Arc<Config>,
    history: History,
    keys: Keys,
    applied: u64,
    now: Stamp,
}

impl Machine {
    /// Before the first slot.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies the command decided at `slot`, which follows the last one.
    pub fn apply(&mut self, slot: u64, command: &[u8]) -> Applied {
        let command = match Envelope::decode(command) {
            Ok(command) => command,
            Err(DecodeError::UnknownLevel { level }) => return Applied::UnknownLevel { level },
            Err(error) => {
                self.skip(slot);
                return Applied::Undecodable(error);
            }
        };
        self.skip(slot);
        self.now = self.now.max(command.stamp);
        self.keys.forget(self.now);
        let outcome = self.once(&command);
        Applied::Command {
            key: command.key,
            outcome,
        }
    }

    /// Passes over `slot`, which holds no command.
    pub fn skip(&mut self, slot: u64) {
        assert_eq!(
            slot,
            self.applied + 1,
            "slots are applied one after the other, each once"
        );
        self.applied = slot;
    }

    /// Runs a command unless it ran before.
    fn once(&mut self, command: &Envelope) -> Outcome {
        let body = command.digest();
        if let Some(outcome) = self.keys.answer(&command.key, &body, self.now) {
            return outcome;
        }
        let outcome = match self.run(command) {
            Ok(done) => done,
            Err(rejection) => Outcome::Rejected(rejection),
        };
        self.keys
            .remember(command.key.clone(), body, self.now, &outcome);
        self.keys.forget(self.now);
        outcome
    }

    fn run(&mut self, command: &Envelope) -> Result<Outcome, Rejection> {
        let Body::Config(transaction) = command.body().map_err(Rejection::Invalid)?;
        let next = self.config.apply(Revision(self.applied), &transaction)?;
        let changed = next.config.revision != self.config.revision;
        if changed {
            self.config = Arc::new(next.config);
            self.history.push(
                Arc::clone(&self.config),
                self.now,
                &command.author,
                &command.comment,
            );
        }
        Ok(Outcome::Done {
            revision: self.config.revision,
            changed,
            effects: next.effects,
        })
    }

    /// The config now.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Of the config now.
    pub fn revision(&self) -> Revision {
        self.config.revision
    }

    /// The last slot applied; 0 before the first.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// State time: the greatest stamp seen.
    pub fn now(&self) -> Stamp {
        self.now
    }

    /// Who changed what, when and why.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Over the whole state: equal on every node at equal slots.
    pub fn digest(&self) -> u64 {
        let mut hasher = XxHash3_64::with_seed(0);
        for number in [
            self.applied,
            self.now.0,
            self.config.digest(),
            self.history.compacted().0,
            self.keys.digest(),
        ] {
            hasher.write(&number.to_le_bytes());
        }
        hasher.write(&self.history.digest());
        hasher.finish()
    }
}
