//! A bounded queue into a plain thread, which takes all that waits at once.
//!
//! Taking everything is what makes batches: the driver handles a burst before it hands on any output, and the log
//! thread turns all that waits into one write. The taker is woken once for what it waits for, not for each item: a wake
//! costs more than most items do.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// An item that was not taken in, and why.
pub(super) type Refused<T> = Box<(T, Full)>;

/// Many senders, one taker.
pub(super) struct Inbox<T> {
    queue: Mutex<Queue<T>>,
    filled: Condvar,
    capacity: usize,
}

struct Queue<T> {
    items: VecDeque<T>,
    /// The sum of the weights of `items`; each weighs something.
    weight: usize,
    /// The weight that the taker waits for, if it does.
    wanted: Option<usize>,
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
            wanted: None,
            open: true,
        };
        Self {
            queue: Mutex::new(queue),
            filled: Condvar::new(),
            capacity,
        }
    }

    /// Adds an item of `weight`, unless too much waits; then it is given back.
    pub(super) fn offer(&self, item: T, weight: usize) -> Result<(), Refused<T>> {
        let mut queue = self.lock();
        let refused = match () {
            () if !queue.open => Full::Closed,
            () if queue.weight >= self.capacity => Full::Full,
            () => {
                self.add(&mut queue, item, weight);
                return Ok(());
            }
        };
        Err(Box::new((item, refused)))
    }

    /// Adds an item however much waits: for what the taker itself bounds, and for the order to stop.
    pub(super) fn push(&self, item: T) -> Result<(), Full> {
        let mut queue = self.lock();
        if !queue.open {
            return Err(Full::Closed);
        }
        self.add(&mut queue, item, 1);
        Ok(())
    }

    /// Adds items with their weights however much waits, all at once: the taker sees all of them or none.
    pub(super) fn extend(&self, items: impl IntoIterator<Item = (T, usize)>) {
        let mut queue = self.lock();
        if queue.open {
            for (item, weight) in items {
                self.add(&mut queue, item, weight);
            }
        }
    }

    fn add(&self, queue: &mut Queue<T>, item: T, weight: usize) {
        queue.items.push_back(item);
        queue.weight += weight.max(1);
        if queue.wanted.is_some_and(|wanted| queue.weight >= wanted) {
            queue.wanted = None;
            self.filled.notify_one();
        }
    }

    /// All that waits, waiting for something until `deadline` (for ever without one).
    pub(super) fn take(&self, deadline: Option<Instant>) -> VecDeque<T> {
        let mut queue = self.wait(1, deadline);
        queue.weight = 0;
        std::mem::take(&mut queue.items)
    }

    /// Waits until items of this weight wait, nothing more is admitted, or `until` has come; takes nothing.
    pub(super) fn gather(&self, weight: usize, until: Option<Instant>) {
        drop(self.wait(weight, until));
    }

    fn wait(&self, weight: usize, until: Option<Instant>) -> MutexGuard<'_, Queue<T>> {
        let mut queue = self.lock();
        while queue.weight < weight && queue.open {
            queue.wanted = Some(weight);
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
        queue.wanted = None;
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
        assert_eq!(inbox.offer(2, 1), Err(Box::new((2, Full::Full))));
        assert_eq!(inbox.push(3), Ok(()), "what the taker bounds always fits");
        assert_eq!(inbox.close(), [1, 3]);
        assert_eq!(inbox.push(4), Err(Full::Closed));
        assert!(inbox.take(None).is_empty());
    }
    #[test]
    fn who_gathers_is_woken_by_the_weight_it_waits_for() {
        let inbox = Inbox::new(usize::MAX);
        std::thread::scope(|scope| {
            let gathering = scope.spawn(|| {
                inbox.gather(5, None);
                inbox.take(None)
            });
            for item in 0..4 {
                inbox.extend([(item, 1)]);
            }
            inbox.extend([(4, 3)]);
            assert_eq!(gathering.join().ok(), Some((0..5).collect()));
        });
    }
}
