//! What a pool keeps over revisions: its place in rotation, its clock of turns, its retry budget, its recourse.

use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::balance::Cursor;
use super::budget::Budget;
use super::follow::Following;
use super::line::Line;
use super::member::Backend;
use super::outlier::{Suspect, Suspects};
use super::recourse::{Recourse, SharedRecourse};
use crate::telemetry::Padded;

/// What a pool keeps over revisions. Held by its snapshots and its backends.
#[derive(Debug)]
pub struct PoolRuntime {
    cursor: Cursor,
    spare: Cursor,
    clock: Padded<AtomicU64>,
    budget: Arc<Budget>,
    line: Padded<Line>,
    /// Of requests to other pools, under way to this one.
    copies: AtomicU32,
    recourse: SharedRecourse,
    /// The last tier in use.
    tier: AtomicUsize,
    judging: Mutex<()>,
    /// Failures in a row that make a backend a suspect; 0 is never.
    enough_failures: AtomicU32,
    suspects: Suspects,
    /// Woken when a backend begins to warm.
    warming: Arc<Notify>,
    /// Whether somebody wants to know how long answers take.
    measures: AtomicBool,
    following: Following,
}

impl PoolRuntime {
    pub(super) fn new(suspects: Suspects, warming: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            cursor: Cursor::random(),
            spare: Cursor::random(),
            clock: Padded::default(),
            budget: Arc::new(Budget::new()),
            line: Padded(Line::new()),
            copies: AtomicU32::new(0),
            recourse: SharedRecourse::default(),
            tier: AtomicUsize::new(0),
            judging: Mutex::new(()),
            enough_failures: AtomicU32::new(0),
            suspects,
            warming,
            measures: AtomicBool::new(false),
            following: Following::default(),
        })
    }

    /// The place in the pool's rotation.
    pub(super) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// A second rotation, for picks for which the first finds nobody near.
    pub(super) fn spare(&self) -> &Cursor {
        &self.spare
    }

    /// The budget for retries in this pool.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// What it takes at a time, and who waits.
    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    pub(super) fn copies(&self) -> &AtomicU32 {
        &self.copies
    }

    /// Which backends are picked besides those that are up.
    pub fn recourse(&self) -> Recourse {
        self.recourse.load()
    }

    /// The last tier in use; 0 is the first.
    pub fn tier(&self) -> usize {
        self.tier.load(Acquire)
    }

    /// Has the tiers up to `tier` used; the one before.
    pub fn use_tiers(&self, tier: usize) -> usize {
        self.tier.swap(tier, SeqCst)
    }

    /// Gives it the recourse that `judge` says; tells the one before, and this one. To be called off the request path
    /// after whatever `judge` looks at has changed: judging is one at a time, so the last one saw all changes.
    pub fn judge(&self, judge: impl FnOnce() -> Recourse) -> (Recourse, Recourse) {
        let _one = self.judging.lock().unwrap_or_else(PoisonError::into_inner);
        let recourse = judge();
        let before = self.recourse.swap(recourse);
        if before != recourse {
            self.all_changed();
        }
        (before, recourse)
    }

    /// Has so many failures in a row make a backend a suspect; 0 is never.
    pub fn suspect_after(&self, failures: u32) {
        self.enough_failures.store(failures, Relaxed);
    }

    pub(super) fn failures_that_eject(&self) -> u32 {
        self.enough_failures.load(Relaxed)
    }

    /// Has a backend judged. If too many wait to be, it is told again after as many failures.
    pub(super) fn suspect(&self, suspect: Suspect) {
        let _ = self.suspects.try_send(suspect);
    }

    /// To be called when `backend` begins to warm.
    pub(super) fn warming(&self, backend: &Backend) {
        self.eligibility_changed(backend);
        self.warming.notify_one();
    }

    /// Whether the latency of its backends is measured.
    pub(super) fn measures_latency(&self) -> bool {
        self.measures.load(Relaxed)
    }

    /// Has the latency of its backends measured or not.
    pub(super) fn measure_latency(&self, measures: bool) {
        self.measures.store(measures, Relaxed);
    }

    /// The turn picked last; see `balance::turn`.
    pub(super) fn clock(&self) -> &AtomicU64 {
        &self.clock
    }

    pub(super) fn following(&self) -> &Following {
        &self.following
    }
}
