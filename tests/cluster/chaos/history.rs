//! What clients did and saw, with the times of call and return: the history that is judged.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One operation of one client.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    /// In order of their calls.
    pub(super) id: u64,
    pub(super) client: String,
    /// Since the run began.
    pub(super) call: Duration,
    /// None while nobody knows what becomes of it: it may take effect at any time.
    pub(super) end: Option<Duration>,
    pub(super) act: Act,
}

/// What was done, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    Write {
        parts: Vec<Part>,
        outcome: Written,
    },
    /// Each register with what it was found to be, if it is there: all as of one moment.
    Read(Vec<(Register, Option<Found>)>),
    Lock {
        lock: String,
        session: u64,
        step: Step,
    },
}

/// One register of a write; all are written at one revision, or none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) register: Register,
    pub(super) value: u64,
    pub(super) expects: Expects,
}

/// A backend whose weight is the value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Register {
    pub(super) pool: &'static str,
    pub(super) id: String,
}

/// What a register is since a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) revision: u64,
    pub(super) value: u64,
}

/// What a register was found to be. No two writes write the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) value: u64,
    /// Where the answer told since when.
    pub(super) revision: Option<u64>,
}

/// What a write demands of the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expects {
    Anything,
    Absence,
    Unchanged(At),
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// At this revision.
    At(u64),
    /// A register was not as expected; nothing was written.
    LostRace,
    /// Surely nothing was written, for want of a node or a quorum.
    Nothing,
    Unknown,
}

/// What was done with a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Granted(u64),
    Released {
        token: u64,
    },
    /// Whether the token was found to be that of the present holder.
    Checked {
        token: u64,
        held: bool,
    },
}

impl Register {
    /// As the log names it; below `/v1` the API does too.
    pub(super) fn path(&self) -> String {
        format!("/pools/{}/backends/{}", self.pool, self.id)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.end.map_or("?".to_owned(), |end| format!("{end:.3?}"));
        let (id, client, call) = (self.id, &self.client, self.call);
        write!(
            f,
            "op-{id} of {client}, {call:.3?} to {end}: {:?}",
            self.act
        )
    }
}

/// Where clients note what they did.
#[derive(Clone)]
pub(super) struct Recorder {
    began: Instant,
    next: Arc<AtomicU64>,
    operations: Arc<Mutex<Vec<Operation>>>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            next: Arc::new(AtomicU64::new(1)),
            operations: Arc::default(),
        }
    }

    /// Since the run began.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The number of a new operation.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    pub(super) fn add(&self, operation: Operation) {
        self.operations.lock().unwrap().push(operation);
    }

    /// All that were noted, in order of their calls.
    pub(super) fn operations(&self) -> Vec<Operation> {
        let mut operations = self.operations.lock().unwrap().clone();
        operations.sort_by_key(|it| (it.call, it.id));
        operations
    }
}

/// What must not be, as it was met.
#[derive(Clone, Default)]
pub(super) struct Violations(Arc<Mutex<Vec<String>>>);

impl Violations {
    pub(super) fn add(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}
