//! What the log's thread does: all that waits with one write, then what waited for it.

use std::collections::VecDeque;

use rand::RngExt;
use synod::paxos::{Batch, Input, LogChange, NodeId, PersistId};
use synod::replication::storage::Storage;

use crate::mix::MS;
use crate::world::{Event, World};

/// How long a full disk is left alone.
const FULL_PAUSE: u64 = 50 * MS;

impl World {
    pub(crate) fn begin_write(&mut self, node: NodeId) {
        let it = self.node(node);
        let (boot, longest) = (it.boot, it.sync);
        let Some(process) = &mut it.process else {
            return;
        };
        if process.writing.is_empty() && !process.waiting.is_empty() {
            (process.named, process.writing) = process.waiting.drain(..).unzip();
            let adopts = |batch: &Batch| match batch.log {
                Some(LogChange::Adopt { base, .. }) => Some(base.is_some()),
                _ => None,
            };
            let adopted = process.writing.iter().filter_map(adopts);
            let (chance, steps) = match adopted.max() {
                Some(true) => (0.35, 6),
                Some(false) => (0.1, 2),
                None => (0.0, 1),
            };
            let delay = self.rng.random_range(50..=longest.max(50));
            self.endanger(node, chance, steps);
            self.after(delay, Event::Written { node, boot });
        }
    }

    /// What is about to be done takes so many syncs: its disk may fail between any two of them.
    pub(crate) fn endanger(&mut self, node: NodeId, chance: f64, syncs: u64) {
        let fails = self.rng.random_bool(chance);
        let n = self.rng.random_range(0..syncs);
        let it = self.node(node);
        if fails && !it.spared {
            it.memory.fail_sync_after(n);
        }
    }

    /// The log's thread has written what it took.
    pub(crate) fn written(&mut self, node: NodeId, boot: u64) {
        let it = self.node(node);
        let (current, paused) = (it.boot, it.paused.is_some());
        let Some(process) = it.process.as_mut().filter(|_| current == boot) else {
            return;
        };
        if paused {
            return self.after(10 * MS, Event::Written { node, boot });
        }
        match process.wal.write(&process.writing) {
            Ok(()) => {}
            Err(error) if error.is_full() => {
                self.after(FULL_PAUSE, Event::Written { node, boot });
                // A leader hands over, and asks again as long as its disk is full.
                return self.input(node, Input::Transfer { to: None });
            }
            Err(error) => {
                // The replica ends; the process may live on without it, or end too.
                self.note(format_args!("{node} fails: {error}"));
                self.input(node, Input::Abdicate);
                self.handle(node);
                let power = self.rng.random();
                return self.end(node, power);
            }
        }
        let written = std::mem::take(&mut process.writing);
        let named = std::mem::take(&mut process.named);
        let last = named.last().copied().unwrap_or(PersistId(0));
        for (id, batch) in named.into_iter().zip(&written) {
            self.oracle.durable(node, batch);
            self.release(node, id);
        }
        self.note(format_args!("{node} holds {last:?}"));
        if !self.keep_drafts(node) {
            return;
        }
        self.input(node, Input::Persisted(last));
    }

    /// Sends what waited for this batch.
    fn release(&mut self, node: NodeId, durable: PersistId) {
        let process = self.process(node);
        process.durable = durable;
        let due = |(after, ..): &(PersistId, _, _)| *after <= durable;
        if !process.withheld.iter().any(due) {
            return;
        }
        let (now, later): (VecDeque<_>, _) = process.withheld.drain(..).partition(due);
        process.withheld = later;
        for (_, to, message) in now {
            self.send(node, to, message);
        }
    }
}
