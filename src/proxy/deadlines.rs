//! Deadlines of one thread's connections, on a coarse clock.
//!
//! Setting one is a store: no timer is armed or disarmed per request. A ticker moves the clock and wakes the tasks
//! whose deadline has passed; a deadline is met late by up to two ticks, and never early. All timeouts of the
//! request path are seconds, so that is precise enough.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How often the clock moves.
pub(crate) const TICK: Duration = Duration::from_millis(50);

const NEVER: u64 = u64::MAX;

/// The clock of one thread and the deadlines on it.
#[derive(Debug)]
pub(crate) struct Deadlines {
    origin: Instant,
    /// Milliseconds since the origin, as of the last tick.
    now: Cell<u64>,
    entries: RefCell<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct Slot {
    at: u64,
    /// Its task waits for nothing but a next request.
    idle: bool,
    waker: Option<Waker>,
}

impl Deadlines {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            origin: Instant::now(),
            now: Cell::new(0),
            entries: RefCell::default(),
        })
    }

    /// A deadline that is not set.
    pub(crate) fn register(self: &Rc<Self>) -> Deadline {
        let mut entries = self.entries.borrow_mut();
        let slot = Slot {
            at: NEVER,
            idle: false,
            waker: None,
        };
        let index = match entries.free.pop() {
            Some(index) => {
                entries.slots[index as usize] = slot;
                index
            }
            None => {
                entries.slots.push(slot);
                (entries.slots.len() - 1) as u32
            }
        };
        Deadline {
            owner: self.clone(),
            index,
        }
    }

    /// Brings the deadlines of idle tasks forward, each to a random time before `within` is over.
    pub(crate) fn hasten_idle(&self, within: Duration) {
        let now = self.now.get();
        let mut entries = self.entries.borrow_mut();
        for slot in entries.slots.iter_mut().filter(|slot| slot.idle) {
            let after = rand::random_range(0..=within.as_millis() as u64);
            slot.at = slot.at.min(now + after);
        }
    }

    /// Moves the clock for ever. Runs as one task of the thread.
    pub(crate) async fn run(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.advance(self.origin.elapsed());
        }
    }

    fn advance(&self, since_origin: Duration) {
        let now = since_origin.as_millis() as u64;
        self.now.set(now);
        let mut entries = self.entries.borrow_mut();
        for slot in entries.slots.iter_mut().filter(|slot| slot.at <= now) {
            // Waking only schedules the task, so nothing borrows the entries meanwhile.
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }
}

/// One deadline; unset at first, and gone when dropped.
#[derive(Debug)]
pub(crate) struct Deadline {
    owner: Rc<Deadlines>,
    index: u32,
}

/// The deadline passed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired;

impl Deadline {
    /// Sets it `after` from now, whatever it was.
    pub(crate) fn set(&self, after: Duration) {
        self.put(after, false);
    }

    /// As [`set`](Self::set), for a task that waits for nothing but a next request.
    pub(crate) fn set_idle(&self, after: Duration) {
        self.put(after, true);
    }

    fn put(&self, after: Duration, idle: bool) {
        // The clock may be a tick behind, hence one more: never early.
        let at = self
            .owner
            .now
            .get()
            .saturating_add(after.saturating_add(TICK).as_millis() as u64);
        let slot = &mut self.owner.entries.borrow_mut().slots[self.index as usize];
        (slot.at, slot.idle) = (at, idle);
    }

    /// Whether it has passed; if not, the task is woken when it has.
    pub(crate) fn poll_expired(&self, cx: &mut Context<'_>) -> bool {
        let mut entries = self.owner.entries.borrow_mut();
        let slot = &mut entries.slots[self.index as usize];
        if slot.at <= self.owner.now.get() {
            return true;
        }
        if !slot
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            slot.waker = Some(cx.waker().clone());
        }
        false
    }

    /// What `poll` comes to, unless the deadline passes first.
    pub(crate) async fn bound<T>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Expired> {
        poll_fn(|cx| match poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending if self.poll_expired(cx) => Poll::Ready(Err(Expired)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let mut entries = self.owner.entries.borrow_mut();
        entries.slots[self.index as usize] = Slot {
            at: NEVER,
            idle: false,
            waker: None,
        };
        entries.free.push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expired(deadline: &Deadline) -> bool {
        deadline.poll_expired(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_deadline_is_never_early_and_at_most_two_ticks_late() {
        let deadlines = Deadlines::new();
        let deadline = deadlines.register();
        assert!(!expired(&deadline));
        deadline.set(Duration::from_secs(2));
        deadlines.advance(Duration::from_secs(2));
        assert!(!expired(&deadline));
        deadlines.advance(Duration::from_secs(2) + TICK);
        assert!(expired(&deadline));
        deadline.set(Duration::from_secs(1));
        assert!(!expired(&deadline));
    }

    #[test]
    fn a_dropped_deadline_is_reused_unset() {
        let deadlines = Deadlines::new();
        let first = deadlines.register();
        first.set(Duration::ZERO);
        drop(first);
        deadlines.advance(Duration::from_secs(1));
        assert!(!expired(&deadlines.register()));
        assert_eq!(deadlines.entries.borrow().slots.len(), 1);
    }
}
