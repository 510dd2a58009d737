//! Takes checkpoints as the log grows, so that a start has little to replay; and when all is quiet, so that a log that
//! rots leaves something to serve.
//!
//! The applier tells what it applied. When enough has gathered, the machine is cloned, which is cheap, and a thread of
//! its own encodes the clone, writes it aside and syncs it; the log's thread then makes it count, in turn with the
//! batches. One at a time. One that cannot be written is no failure of the replica: the next is tried later.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::inbox::Inbox;
use super::log::{Work, chain};
use super::storage::Shelf;
use super::storage::checkpoint::Meta;
use crate::paxos::{Ballot, Slot, Succession};
use crate::state::{Machine, checkpoint as encode};

/// How often a checkpoint is taken: when one of these has gathered since the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Entries applied.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What was applied is in a checkpoint once nothing has followed it for so long, and none was taken for so long: of a
/// state of so many bytes at most, for whoever was away meanwhile may be sent all of it.
const QUIET: Duration = Duration::from_secs(10);
const SELDOM: Duration = Duration::from_secs(60);
const SMALL: u64 = 4 << 20;

/// The taking of checkpoints, for the applier alone.
pub(super) struct Checkpoints {
    pace: Pace,
    shelf: Arc<dyn Shelf>,
    log: Arc<Inbox<Work>>,
    state: State,
    /// Applied since the last one was begun.
    entries: u64,
    bytes: u64,
    /// When the last of them was.
    grown: Instant,
    /// Of the last one.
    size: u64,
    begun: Instant,
}

enum State {
    Idle,
    /// The thread gives whether the log was handed a checkpoint.
    Writing(JoinHandle<bool>),
    /// The log has it.
    Handed,
}

impl Checkpoints {
    pub(super) fn new(pace: Pace, shelf: Arc<dyn Shelf>, log: Arc<Inbox<Work>>) -> Self {
        Self {
            pace,
            shelf,
            log,
            state: State::Idle,
            entries: 0,
            bytes: 0,
            grown: Instant::now(),
            size: 0,
            begun: Instant::now(),
        }
    }

    /// So much was applied.
    pub(super) fn grow(&mut self, entries: u64, bytes: u64) {
        self.entries += entries;
        self.bytes += bytes;
        self.grown = Instant::now();
    }

    /// Whether one is to be taken now.
    pub(super) fn due(&mut self) -> bool {
        let enough = self.entries >= self.pace.entries || self.bytes >= self.pace.bytes;
        // It is a whole image of the state: of a large one no more is written than of the log. A start then reads at
        // most as much of the log as it reads of the checkpoint.
        let grown = enough && self.bytes >= self.size;
        if !grown && !self.is_quiet() {
            return false;
        }
        if let State::Writing(thread) = &self.state
            && thread.is_finished()
        {
            self.join();
        }
        matches!(self.state, State::Idle)
    }

    fn is_quiet(&self) -> bool {
        let small = self.entries > 0 && self.size <= SMALL;
        small && self.grown.elapsed() >= QUIET && self.begun.elapsed() >= SELDOM
    }

    /// Takes one of this machine, whose last entry was proposed in `ballot`, and behind which `succession` votes.
    pub(super) fn take(
        &mut self,
        machine: Machine,
        ballot: Ballot,
        succession: Option<Succession>,
    ) {
        (self.entries, self.bytes) = (0, 0);
        self.begun = Instant::now();
        let (shelf, log) = (self.shelf.clone(), self.log.clone());
        let thread = std::thread::Builder::new().name("synod-checkpoint".to_owned());
        let spawned = thread.spawn(move || {
            let slot = Slot(machine.applied());
            match shelf.write(slot, ballot, succession.as_ref(), &encode(&machine)) {
                Ok(meta) => log.push(Work::Keep(meta)).is_ok(),
                Err(error) => {
                    tracing::warn!(%slot, "no checkpoint could be taken: {}", chain(&error));
                    false
                }
            }
        });
        match spawned {
            Ok(thread) => self.state = State::Writing(thread),
            Err(error) => tracing::warn!("no checkpoint could be taken: {error}"),
        }
    }

    /// This one counts now.
    pub(super) fn kept(&mut self, meta: &Meta) {
        self.join();
        self.state = State::Idle;
        self.size = meta.size;
        tracing::info!(slot = %meta.slot, bytes = meta.size, "a checkpoint was taken");
    }

    /// The state is that of a peer's checkpoint now.
    pub(super) fn installed(&mut self, meta: &Meta) {
        (self.entries, self.bytes, self.size) = (0, 0, meta.size);
    }

    fn join(&mut self) {
        if let State::Writing(thread) = std::mem::replace(&mut self.state, State::Idle)
            && thread.join().unwrap_or(false)
        {
            self.state = State::Handed;
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        // It holds the data directory.
        self.join();
    }
}

#[cfg(test)]
impl Checkpoints {
    /// As if nothing had come for so long.
    pub(super) fn rest(&mut self, long: Duration) {
        self.grown -= long;
        self.begun -= long;
    }

    /// None is ever taken.
    pub(super) fn never() -> Self {
        let disk = super::storage::Memory::new(1).boot().expect("it is new");
        let pace = Pace {
            entries: u64::MAX,
            bytes: u64::MAX,
        };
        Self::new(pace, Arc::new(disk), Arc::new(Inbox::new(1)))
    }
}
