//! Counters that a request may touch: one shard a data-plane thread, each on cache lines of its own.
//!
//! A thread adds to its own shard with a relaxed add, so two threads never pull one line back and forth; whoever
//! scrapes adds the shards up. The sum may be a request behind, never torn or going back.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Padded;

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(0) };
}

/// The index of this data-plane thread; 0 on threads that are none.
pub fn worker_index() -> usize {
    WORKER.get()
}

/// Names this thread the data-plane thread `index`, once, at its start.
pub fn set_worker_index(index: usize) {
    WORKER.set(index);
}

/// One `T` a data-plane thread.
#[derive(Debug)]
pub(crate) struct Shards<T>(Box<[Padded<T>]>);

impl<T: Default> Shards<T> {
    pub(crate) fn new(count: usize) -> Self {
        Self((0..count.max(1)).map(|_| Padded::default()).collect())
    }

    /// This thread's shard.
    pub(crate) fn own(&self) -> &T {
        let count = self.0.len();
        let index = worker_index();
        &self.0[if index < count { index } else { index % count }].0
    }

    /// The sum over all shards of what `read` takes from each.
    pub(crate) fn sum(&self, read: impl Fn(&T) -> u64) -> u64 {
        self.0
            .iter()
            .map(|shard| read(&shard.0))
            .fold(0, u64::wrapping_add)
    }
}

/// A count that only rises.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        // Bodies are often empty, and even an uncontended add is a locked instruction.
        if n > 0 {
            self.0.fetch_add(n, Relaxed);
        }
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_add_up_over_threads() {
        let shards: Shards<Count> = Shards::new(2);
        std::thread::scope(|scope| {
            for index in 0..5 {
                let shards = &shards;
                scope.spawn(move || {
                    set_worker_index(index);
                    shards.own().add(index as u64);
                });
            }
        });
        assert_eq!(shards.sum(Count::read), 10);
    }
}
