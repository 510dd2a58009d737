//! The machine: decided commands in, state and outcomes out; total, deterministic, single-threaded.

use std::hash::Hasher;
use std::sync::Arc;

use twox_hash::XxHash3_64;

use super::command::{Envelope, LEVEL};
use super::keys::Keys;
use super::{Body, DecodeError, History, Key, Locks, Outcome, Stamp, Term};
use crate::bugs::{Bug, broken};
use crate::config::level::FIRST_LEVEL;
use crate::config::{Config, Rejection, Revision, Transaction};

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
#[derive(Clone, Debug)]
pub struct Machine {
    pub(super) config: Arc<Config>,
    pub(super) history: History,
    pub(super) keys: Keys,
    pub(super) locks: Locks,
    pub(super) applied: u64,
    pub(super) now: Stamp,
    /// The greatest feature level of any command applied: whoever is to go on from here must know it.
    pub(super) level: u32,
    /// The feature level that this build knows; no part of the state.
    pub(super) knows: u32,
}

/// A machine at a glance: what every write looks at, wherever it comes in.
#[derive(Clone, Debug)]
pub struct Glance {
    /// The config.
    pub config: Arc<Config>,
    /// The last slot applied; 0 before the first.
    pub applied: u64,
    /// State time.
    pub now: Stamp,
    /// The greatest feature level of any command applied.
    pub level: u32,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            config: Arc::default(),
            history: History::default(),
            keys: Keys::default(),
            locks: Locks::default(),
            applied: 0,
            now: Stamp::default(),
            level: FIRST_LEVEL,
            knows: LEVEL,
        }
    }
}

impl Machine {
    /// Before the first slot.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same machine in a build that knows this feature level.
    pub fn knowing(self, level: u32) -> Self {
        Self {
            knows: level,
            ..self
        }
    }

    /// The greatest feature level of any command applied.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// The feature level that it knows.
    pub fn knows(&self) -> u32 {
        self.knows
    }

    /// Applies the command decided at `slot`, which follows the last one.
    pub fn apply(&mut self, slot: u64, command: &[u8]) -> Applied {
        let command = match Envelope::decode(command, self.knows) {
            Ok(command) => command,
            Err(DecodeError::UnknownLevel { level }) => return Applied::UnknownLevel { level },
            Err(error) => {
                self.skip(slot);
                return Applied::Undecodable(error);
            }
        };
        self.skip(slot);
        self.level = self.level.max(command.level);
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

    /// Passes over `slot`, which holds the barrier of a leadership.
    pub fn lead(&mut self, slot: u64, term: Term) {
        self.skip(slot);
        self.locks.lead(term);
    }

    /// Hands this state to a new group, whose log goes on behind `slot`: no slot that the old one may have reached may
    /// come again, for revisions and tokens are slots. Who led the old group means nothing there.
    ///
    /// # Panics
    /// When `slot` is one that was applied.
    pub fn refound(&mut self, slot: u64) {
        assert!(slot > self.applied, "the new group's log goes back");
        self.applied = slot;
        self.locks.refound();
    }

    /// Runs a command unless it ran before.
    fn once(&mut self, command: &Envelope) -> Outcome {
        if !command.is_keyed() {
            return self.run(command).unwrap_or_else(Outcome::Rejected);
        }
        let body = command.digest();
        if let Some(outcome) = self.keys.answer(&command.key, &body, self.now)
            && !broken(Bug::Jetcd082)
        {
            return self.again(command, outcome);
        }
        let outcome = self.run(command).unwrap_or_else(Outcome::Rejected);
        self.keys
            .remember(command.key.clone(), body, self.now, &outcome);
        self.keys.forget(self.now);
        outcome
    }

    /// What a retry is told: what the command came to when it ran, unless that would promise what is no longer so.
    fn again(&self, command: &Envelope, outcome: Outcome) -> Outcome {
        match (outcome, command.body()) {
            (Outcome::Locks(answer), Ok(Body::Locks(operation))) => {
                Outcome::Locks(self.locks.again(&operation, answer))
            }
            (outcome, _) => outcome,
        }
    }

    fn run(&mut self, command: &Envelope) -> Result<Outcome, Rejection> {
        let (slot, now) = (self.applied, self.now);
        match command.body().map_err(Rejection::Invalid)? {
            Body::Config(transaction) => self.configure(command, &transaction),
            Body::Locks(operation) => Ok(Outcome::Locks(self.locks.apply(
                slot,
                now,
                &command.author,
                operation,
            ))),
            Body::Expiry(expiry) => Ok(Outcome::Locks(self.locks.expire(slot, now, &expiry))),
        }
    }

    fn configure(
        &mut self,
        command: &Envelope,
        transaction: &Transaction,
    ) -> Result<Outcome, Rejection> {
        let mut next = self.config.apply(Revision(self.applied), transaction)?;
        let changed = next.config.revision != self.config.revision;
        if changed {
            next.config.sticky_key = self.config.sticky_key.or(command.sticky_key);
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

    /// What it is now, at a glance.
    pub fn glance(&self) -> Glance {
        Glance {
            config: self.config.clone(),
            applied: self.applied,
            now: self.now,
            level: self.level,
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

    /// Sessions and the locks they hold and wait for.
    pub fn locks(&self) -> &Locks {
        &self.locks
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
            self.locks.digest(),
        ] {
            hasher.write(&number.to_le_bytes());
        }
        hasher.write(&self.history.digest());
        hasher.finish()
    }
}
