//! Deadlines of one thread's connections, on a coarse clock.
//!
//! Setting one is a store: no timer is armed or disarmed per request. A ticker moves the clock and wakes the tasks
//! whose deadline has passed; a deadline is met late by up to two ticks, and early by no more than the thread had
//! been kept from running when it was set. All timeouts of the request path are seconds, so that is precise enough.

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

#[derive(Debug)]
struct Slot {
    at: u64,
    /// A request passes neither of these, whatever is set.
    total: u64,
    one_try: u64,
    task: Task,
    waker: Option<Waker>,
}

/// What the task of a deadline is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Task {
    /// A request.
    #[default]
    Busy,
    /// It waits for nothing but a next request.
    Idle,
    /// A tunnel.
    Tunnel,
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
        let slot = Slot::unset();
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
        for slot in entries
            .slots
            .iter_mut()
            .filter(|slot| slot.task == Task::Idle)
        {
            let after = rand::random_range(0..=within.as_millis() as u64);
            slot.at = slot.at.min(now + after);
        }
    }

    /// Has all tunnels look whether they still may last.
    pub(crate) fn wake_tunnels(&self) {
        for slot in self.entries.borrow_mut().tunnels() {
            slot.wake();
        }
    }

    /// Ends the time of all tunnels. Tells whether there are any.
    pub(crate) fn expire_tunnels(&self) -> bool {
        let mut any = false;
        for slot in self.entries.borrow_mut().tunnels() {
            slot.at = 0;
            slot.wake();
            any = true;
        }
        any
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
            slot.wake();
        }
    }
}

impl Entries {
    fn tunnels(&mut self) -> impl Iterator<Item = &mut Slot> {
        let slots = self.slots.iter_mut();
        slots.filter(|slot| slot.task == Task::Tunnel)
    }
}

impl Slot {
    fn unset() -> Self {
        Self {
            at: NEVER,
            total: NEVER,
            one_try: NEVER,
            task: Task::Busy,
            waker: None,
        }
    }

    /// Only schedules the task, so nothing borrows the entries meanwhile.
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
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
        self.put(after, Task::Busy);
    }

    /// As [`set`](Self::set), for a task that waits for nothing but a next request.
    pub(crate) fn set_idle(&self, after: Duration) {
        self.put(after, Task::Idle);
    }

    /// As [`set`](Self::set), for the task of a tunnel.
    pub(crate) fn set_tunnel(&self, after: Duration) {
        self.put(after, Task::Tunnel);
    }

    /// Has it pass no later than `after` from now as long as a request is under way, whatever it is set to: until
    /// [`release`](Self::release).
    pub(crate) fn bound_request(&self, after: Duration) {
        self.slot(|slot, now| slot.total = past(now, after));
    }

    /// Likewise, until [`end_try`](Self::end_try).
    pub(crate) fn bound_try(&self, after: Duration) {
        self.slot(|slot, now| slot.one_try = past(now, after));
    }

    /// The try has its answer. What is set stays.
    pub(crate) fn end_try(&self) {
        self.slot(|slot, _| slot.one_try = NEVER);
    }

    /// The request is over. What is set stays.
    pub(crate) fn release(&self) {
        self.slot(|slot, _| (slot.total, slot.one_try) = (NEVER, NEVER));
    }

    fn put(&self, after: Duration, task: Task) {
        self.slot(|slot, now| {
            slot.at = past(now, after);
            if task == Task::Busy {
                slot.at = slot.at.min(slot.total).min(slot.one_try);
            }
            slot.task = task;
        });
    }

    fn slot(&self, change: impl FnOnce(&mut Slot, u64)) {
        let now = self.owner.now.get();
        change(
            &mut self.owner.entries.borrow_mut().slots[self.index as usize],
            now,
        );
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

/// `after` from `now`. The clock of a thread that runs may be a tick behind, hence one more.
fn past(now: u64, after: Duration) -> u64 {
    now.saturating_add(after.saturating_add(TICK).as_millis() as u64)
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let mut entries = self.owner.entries.borrow_mut();
        entries.slots[self.index as usize] = Slot::unset();
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
    fn a_deadline_is_at_most_two_ticks_late_and_not_early_on_a_running_thread() {
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
    fn a_request_passes_neither_its_own_bound_nor_that_of_its_try() {
        let deadlines = Deadlines::new();
        let deadline = deadlines.register();
        let seconds = Duration::from_secs;
        deadline.bound_request(seconds(3));
        deadline.bound_try(seconds(1));
        deadline.set(seconds(60));
        deadlines.advance(seconds(1) + TICK);
        assert!(expired(&deadline));
        deadline.end_try();
        deadline.set(seconds(60));
        assert!(!expired(&deadline));
        deadlines.advance(seconds(3) + TICK);
        assert!(expired(&deadline));
        deadline.set_idle(seconds(60));
        assert!(!expired(&deadline), "between two requests");
        deadline.release();
        deadline.set(seconds(60));
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
