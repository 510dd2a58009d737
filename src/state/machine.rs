//! The machine: decided commands in, state and outcomes out; total, deterministic, single-threaded.

use std::hash::Hasher;
use std::sync::Arc;

use twox_hash::XxHash3_64;

use super::command::BodyDigest;
use super::keys::Keys;
use super::{Body, Command, DecodeError, History, Key, Outcome, Stamp};
use crate::config::{Config, Revision};

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
        let (command, body) = match Command::decode_with_digest(command) {
            Ok(decoded) => decoded,
            Err(DecodeError::UnknownLevel { level }) => return Applied::UnknownLevel { level },
            Err(error) => {
                self.skip(slot);
                return Applied::Undecodable(error);
            }
        };
        self.skip(slot);
        self.now = self.now.max(command.stamp);
        self.keys.forget(self.now);
        let outcome = self.once(&command, body);
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
    fn once(&mut self, command: &Command, body: BodyDigest) -> Outcome {
        if let Some(outcome) = self.keys.answer(&command.key, &body, self.now) {
            return outcome;
        }
        let outcome = self.run(command);
        self.keys
            .remember(command.key.clone(), body, self.now, &outcome);
        self.keys.forget(self.now);
        outcome
    }

    fn run(&mut self, command: &Command) -> Outcome {
        let Body::Config(transaction) = &command.body;
        let next = match self.config.apply(Revision(self.applied), transaction) {
            Ok(next) => next,
            Err(rejection) => return Outcome::Rejected(rejection),
        };
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
        Outcome::Done {
            revision: self.config.revision,
            changed,
            effects: next.effects,
        }
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
