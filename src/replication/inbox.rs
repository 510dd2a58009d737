//! A bounded queue into a plain thread, which takes all that waits at once.
//!
//! Taking everything is what makes batches: the driver handles a burst before it hands on any output, and the log
//! thread turns all that waits into one write. Some items are patient: they wait for more of their kind, so that a
//! crowd shares what a batch costs. The taker is woken once for what it waits for, not for each item: a wake costs more
//! than most items do.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    /// Those that wait for more, and since when the first of them does.
    patient: VecDeque<T>,
    since: Option<Instant>,
    /// The sum of all weights.
    weight: usize,
    /// While the taker waits: so many patient items are enough.
    enough: Option<usize>,
    open: bool,
}

/// How long patient items wait for more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gather {
    /// Until so many are there.
    pub(super) enough: usize,
    /// But no longer than this.
    pub(super) within: Duration,
}

impl Gather {
    /// Not at all.
    pub(super) const NONE: Self = Self {
        enough: 1,
        within: Duration::ZERO,
    };
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
            patient: VecDeque::new(),
            since: None,
            weight: 0,
            enough: None,
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
        if let Some(refused) = self.refuses(&queue) {
            return Err(Box::new((item, refused)));
        }
        queue.items.push_back(item);
        queue.weight += weight;
        self.wake(&mut queue);
        Ok(())
    }

    /// The same for an item that waits for more of its kind, as long as the taker says.
    pub(super) fn offer_patient(&self, item: T, weight: usize) -> Result<(), Refused<T>> {
        let mut queue = self.lock();
        if let Some(refused) = self.refuses(&queue) {
            return Err(Box::new((item, refused)));
        }
        queue.patient.push_back(item);
        queue.weight += weight;
        let first = queue.since.is_none();
        if first {
            queue.since = Some(Instant::now());
        }
        // The first one has the taker see until when it may wait.
        if first || queue.enough.is_some_and(|it| queue.patient.len() >= it) {
            self.wake(&mut queue);
        }
        Ok(())
    }

    fn refuses(&self, queue: &Queue<T>) -> Option<Full> {
        match () {
            () if !queue.open => Some(Full::Closed),
            () if queue.weight >= self.capacity => Some(Full::Full),
            () => None,
        }
    }

    /// Adds an item however much waits: for what the taker itself bounds, and for the order to stop.
    pub(super) fn push(&self, item: T) -> Result<(), Full> {
        let mut queue = self.lock();
        if !queue.open {
            return Err(Full::Closed);
        }
        queue.items.push_back(item);
        self.wake(&mut queue);
        Ok(())
    }

    /// Adds items however much waits, all at once: the taker sees all of them or none.
    pub(super) fn extend(&self, items: impl IntoIterator<Item = T>) {
        let mut queue = self.lock();
        if queue.open {
            queue.items.extend(items);
            self.wake(&mut queue);
        }
    }

    fn wake(&self, queue: &mut Queue<T>) {
        if queue.enough.take().is_some() {
            self.filled.notify_one();
        }
    }

    /// All that waits, waiting for something until `deadline` (for ever without one).
    pub(super) fn take(&self, deadline: Option<Instant>) -> VecDeque<T> {
        self.take_gathered(deadline, Gather::NONE)
    }

    /// All that waits, but patient items only once they have waited as `gather` says.
    pub(super) fn take_gathered(&self, deadline: Option<Instant>, gather: Gather) -> VecDeque<T> {
        let mut queue = self.lock();
        loop {
            let due = queue.since.map(|since| since + gather.within);
            let now = Instant::now();
            let enough = queue.patient.len() >= gather.enough || due.is_some_and(|due| due <= now);
            let ripe = !queue.patient.is_empty() && (enough || !queue.open);
            let late = deadline.is_some_and(|deadline| deadline <= now);
            if ripe || late || !queue.items.is_empty() || !queue.open {
                let mut taken = std::mem::take(&mut queue.items);
                if ripe {
                    taken.append(&mut queue.patient);
                    queue.since = None;
                }
                if queue.patient.is_empty() {
                    queue.weight = 0;
                }
                return taken;
            }
            queue.enough = Some(gather.enough);
            queue = self.wait(queue, deadline.into_iter().chain(due).min());
            queue.enough = None;
        }
    }

    /// How many patient items wait.
    pub(super) fn patient(&self) -> usize {
        self.lock().patient.len()
    }

    /// Waits until something waits, nothing more is admitted, or `until` has come; takes nothing.
    pub(super) fn pause(&self, until: Instant) {
        let mut queue = self.lock();
        while queue.items.is_empty() && queue.open && Instant::now() < until {
            queue.enough = Some(1);
            queue = self.wait(queue, Some(until));
            queue.enough = None;
        }
    }

    /// Waits until nothing more is admitted, or `until` has come.
    pub(super) fn pause_unless_finished(&self, until: Instant) {
        let mut queue = self.lock();
        while queue.open && Instant::now() < until {
            queue = self.wait(queue, Some(until));
        }
    }

    /// Whether something like this waits, however long the taker takes.
    pub(super) fn holds(&self, wanted: impl Fn(&T) -> bool) -> bool {
        self.lock().items.iter().any(wanted)
    }

    fn wait<'a>(
        &self,
        queue: MutexGuard<'a, Queue<T>>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, Queue<T>> {
        let Some(until) = until else {
            let waited = self.filled.wait(queue);
            return waited.unwrap_or_else(PoisonError::into_inner);
        };
        let left = until.saturating_duration_since(Instant::now());
        let waited = self.filled.wait_timeout(queue, left);
        waited.unwrap_or_else(PoisonError::into_inner).0
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
        let mut waited = std::mem::take(&mut queue.items);
        waited.append(&mut queue.patient);
        waited
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
    fn what_is_patient_waits_until_it_is_enough_and_keeps_nothing_else_waiting() {
        let (inbox, day) = (Inbox::new(usize::MAX), Duration::from_hours(24));
        let gather = Gather {
            enough: 3,
            within: day,
        };
        std::thread::scope(|scope| {
            let gathering = scope.spawn(|| inbox.take_gathered(None, gather));
            for item in 1..=3 {
                assert_eq!(inbox.offer_patient(item, 1), Ok(()));
            }
            assert_eq!(gathering.join().ok(), Some([1, 2, 3].into()));
        });
        assert_eq!(inbox.offer_patient(4, 1), Ok(()));
        assert_eq!(inbox.push(5), Ok(()));
        assert_eq!(inbox.take_gathered(None, gather), [5]);
        assert_eq!(inbox.patient(), 1);
        assert!(inbox.take_gathered(Some(Instant::now()), gather).is_empty());
        assert_eq!(inbox.take(None), [4], "who does not gather takes all");
        assert_eq!(inbox.offer_patient(6, 1), Ok(()));
        let moment = Gather {
            within: Duration::from_millis(1),
            ..gather
        };
        assert_eq!(inbox.take_gathered(None, moment), [6], "its time is up");
        assert_eq!(inbox.offer_patient(7, 1), Ok(()));
        inbox.finish();
        assert_eq!(inbox.take_gathered(None, gather), [7], "no more will come");
    }
}
