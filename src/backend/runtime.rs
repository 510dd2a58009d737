//! What a pool keeps over revisions: its place in rotation, its clock of turns, its retry budget, whether it panics.

use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, fence};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use super::balance::{Cursor, LoadTree};
use super::budget::Budget;
use super::member::Backend;
use crate::telemetry::Padded;

/// What a pool keeps over revisions. Held by its snapshots and its backends.
#[derive(Debug)]
pub struct PoolRuntime {
    cursor: Arc<Cursor>,
    clock: Padded<AtomicU64>,
    budget: Arc<Budget>,
    panics: AtomicBool,
    judging: Mutex<()>,
    /// Whether there is a tree: spares small pools the look.
    indexed: AtomicBool,
    /// The tree of the snapshot published last, so that a request begun under an older one still ends in it. Not a
    /// second way to learn of a config: a view of the counts, and nobody picks from it but by a snapshot.
    tree: ArcSwapOption<LoadTree>,
}

impl PoolRuntime {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            cursor: Arc::new(Cursor::random()),
            clock: Padded::default(),
            budget: Arc::new(Budget::new()),
            panics: AtomicBool::new(false),
            judging: Mutex::new(()),
            indexed: AtomicBool::new(false),
            tree: ArcSwapOption::empty(),
        })
    }

    /// The place in the pool's rotation.
    pub fn cursor(&self) -> &Arc<Cursor> {
        &self.cursor
    }

    /// The budget for retries in this pool.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Whether too few of its backends are up, so that those that are down are picked too.
    pub fn panics(&self) -> bool {
        self.panics.load(Acquire)
    }

    /// Has it panic or not, as `judge` says; tells whether that is another than before. To be called off the request
    /// path after whatever `judge` looks at has changed: judging is one at a time, so the last one saw all changes.
    pub fn judge_panic(&self, judge: impl FnOnce() -> bool) -> bool {
        let _one = self.judging.lock().unwrap_or_else(PoisonError::into_inner);
        let panics = judge();
        let changed = self.panics.swap(panics, SeqCst) != panics;
        if changed && let Some(tree) = &*self.tree.load() {
            tree.refresh_all();
        }
        changed
    }

    /// The turn picked last; see `balance::turn`.
    pub(super) fn clock(&self) -> &AtomicU64 {
        &self.clock
    }

    /// Has `tree` follow the loads from now on.
    ///
    /// A change of load and this are each a write and then a read of what the other writes, so one of them sees the
    /// other: a change either tells the new tree, or is there when all loads are taken in.
    pub(super) fn index_loads(&self, tree: Option<Arc<LoadTree>>) {
        let Some(tree) = tree else {
            self.indexed.store(false, SeqCst);
            self.tree.store(None);
            return;
        };
        tree.number_members();
        self.tree.store(Some(tree.clone()));
        self.indexed.store(true, SeqCst);
        fence(SeqCst);
        tree.refresh_all();
    }

    /// To be called after a change of the requests in flight at `backend`, or of its health.
    pub(super) fn load_changed(&self, backend: &Backend) {
        if self.indexed.load(SeqCst) {
            fence(SeqCst);
            if let Some(tree) = &*self.tree.load() {
                tree.changed(backend);
            }
        }
    }
}
