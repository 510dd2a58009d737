//! A bounded queue into a plain thread, which takes all that waits at once.
//!
//! Taking everything is what makes batches: the driver handles a burst before it hands on any output, and the log
//! thread turns all that waits into one write.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Many senders, one taker.
pub(super) struct Inbox<T> {
    queue: Mutex<Queue<T>>,
    filled: Condvar,
    capacity: usize,
}

struct Queue<T> {
    items: VecDeque<T>,
    /// The sum of the weights of `items`.
    weight: usize,
    open: bool,
}

/// Why an item was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// As much waits already as may wait.
    Full,
    /// The taker has ended.
    Closed,
}

impl<T> Inbox<T> {
    /// A queue that admits items as long as less than `capacity` of weight waits.
    pub(super) fn new(capacity: usize) -> Self {
        let queue = Queue {
            items: VecDeque::new(),
            weight: 0,
            open: true,
        };
        Self {
            queue: Mutex::new(queue),
            filled: Condvar::new(),
            capacity,
        }
    }

    /// Adds an item of `weight`, unless too much waits.
    pub(super) fn offer(&self, item: T, weight: usize) -> Result<(), Full> {
        let mut queue = self.lock();
        if queue.open && queue.weight >= self.capacity {
            return Err(Full::Full);
        }
        self.add(&mut queue, item, weight)
    }

    /// Adds an item however much waits: for what the taker itself bounds, and for the order to stop.
    pub(super) fn push(&self, item: T) -> Result<(), Full> {
        self.add(&mut self.lock(), item, 0)
    }

    fn add(&self, queue: &mut Queue<T>, item: T, weight: usize) -> Result<(), Full> {
        if !queue.open {
            return Err(Full::Closed);
        }
        queue.items.push_back(item);
        queue.weight += weight;
        self.filled.notify_one();
        Ok(())
    }

    /// Adds items however much waits, all at once: the taker sees all of them or none.
    pub(super) fn extend(&self, items: impl IntoIterator<Item = T>) {
        let mut queue = self.lock();
        if queue.open {
            queue.items.extend(items);
            self.filled.notify_one();
        }
    }

    /// All that waits, waiting for something until `deadline` (for ever without one).
    pub(super) fn take(&self, deadline: Option<Instant>) -> VecDeque<T> {
        let mut queue = self.wait(1, deadline);
        queue.weight = 0;
        std::mem::take(&mut queue.items)
    }

    /// Waits until `count` items wait, nothing more is admitted, or `until` has come; takes nothing.
    pub(super) fn gather(&self, count: usize, until: Option<Instant>) {
        drop(self.wait(count, until));
    }

    fn wait(&self, count: usize, until: Option<Instant>) -> MutexGuard<'_, Queue<T>> {
        let mut queue = self.lock();
        while queue.items.len() < count && queue.open {
            queue = match until {
                None => self
                    .filled
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    let waited = self.filled.wait_timeout(queue, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        queue
    }

    /// Admits nothing more; what waits can still be taken.
    pub(super) fn finish(&self) {
        self.lock().open = false;
        self.filled.notify_all();
    }

    /// Whether nothing more is admitted.
    pub(super) fn finished(&self) -> bool {
        !self.lock().open
    }

    /// Admits nothing more, and gives what waited.
    pub(super) fn close(&self) -> VecDeque<T> {
        let mut queue = self.lock();
        queue.open = false;
        self.filled.notify_all();
        std::mem::take(&mut queue.items)
    }

    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        // No code of a user runs under this lock: a poisoned queue is whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_all_that_waits_in_order() {
        let inbox = Inbox::new(10);
        assert_eq!(
            (inbox.offer(1, 1), inbox.push(2), inbox.offer(3, 1)),
            (Ok(()), Ok(()), Ok(()))
        );
        assert_eq!(inbox.take(None), [1, 2, 3]);
        assert!(inbox.take(Some(Instant::now())).is_empty());
    }

    #[test]
    fn refuses_above_its_capacity_and_after_its_end() {
        let inbox = Inbox::new(2);
        assert_eq!(
            inbox.offer(1, 5),
            Ok(()),
            "one item of any weight is admitted into an empty queue"
        );
        assert_eq!(inbox.offer(2, 1), Err(Full::Full));
        assert_eq!(inbox.push(3), Ok(()), "what the taker bounds always fits");
        assert_eq!(inbox.close(), [1, 3]);
        assert_eq!(inbox.push(4), Err(Full::Closed));
        assert!(inbox.take(None).is_empty());
    }
}
