//! The retry budget of a pool: how much a pool in trouble may be asked again.
//!
//! Retries under way may be a share of the requests under way, so that a failing pool sees at most that much more
//! load; below that, a few a second are always allowed, so that a quiet pool can retry at all. Atomics only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::telemetry::Padded;

/// Requests and retries under way in a pool, over revisions. The limits come from the pool's settings with each call.
#[derive(Debug)]
pub struct Budget {
    active: Padded<AtomicU32>,
    retrying: AtomicU32,
    denied: AtomicU64,
    /// When the floor's bucket is full again, in nanoseconds since `origin` (GCRA's theoretical arrival time).
    full_at: AtomicU64,
    origin: Instant,
}

impl Budget {
    /// Nothing is under way.
    pub fn new() -> Self {
        Self {
            active: Padded::default(),
            retrying: AtomicU32::new(0),
            denied: AtomicU64::new(0),
            full_at: AtomicU64::new(0),
            origin: Instant::now(),
        }
    }

    /// Requests under way in the pool.
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Leave for one retry, kept until it is over; `None` when the budget is spent. `percent` is the share of active
    /// requests, `per_second` what is allowed in any case.
    pub fn withdraw(
        self: &Arc<Self>,
        now: Instant,
        percent: u32,
        per_second: u32,
    ) -> Option<Retry> {
        let allowed = u64::from(self.active()) * u64::from(percent) / 100;
        let retrying = self.retrying.fetch_add(1, Ordering::AcqRel);
        let retry = Retry {
            budget: self.clone(),
        };
        if u64::from(retrying) < allowed || self.take_from_floor(now, per_second) {
            return Some(retry);
        }
        self.denied.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Retries that there was no leave for so far.
    pub fn denied(&self) -> u64 {
        self.denied.load(Ordering::Relaxed)
    }

    /// GCRA: a bucket of `per_second`, filled evenly.
    fn take_from_floor(&self, now: Instant, per_second: u32) -> bool {
        if per_second == 0 {
            return false;
        }
        let second = Duration::from_secs(1).as_nanos() as u64;
        let step = second / u64::from(per_second);
        let now = now.saturating_duration_since(self.origin).as_nanos() as u64;
        let take = |full_at: u64| {
            let next = full_at.max(now) + step;
            (next <= now + second).then_some(next)
        };
        self.full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }

    pub(super) fn began(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one more request if fewer than `most` are under way; tells whether it did.
    pub(super) fn try_began(&self, most: u32) -> bool {
        let enter = |active| (active < most).then_some(active + 1);
        let entered = self
            .active
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, enter);
        entered.is_ok()
    }

    pub(super) fn ended(&self) {
        self.active.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

/// A retry under way.
#[derive(Debug)]
pub struct Retry {
    budget: Arc<Budget>,
}

impl Drop for Retry {
    fn drop(&mut self) {
        self.budget.retrying.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(active: u32) -> Arc<Budget> {
        let budget = Arc::new(Budget::new());
        (0..active).for_each(|_| budget.began());
        budget
    }

    #[test]
    fn a_fifth_of_the_active_requests_may_be_retries() {
        let budget = budget(50);
        let now = Instant::now();
        let retries: Vec<_> = (0..11).map(|_| budget.withdraw(now, 20, 0)).collect();
        assert_eq!(retries.iter().flatten().count(), 10);
        drop(retries);
        assert!(
            budget.withdraw(now, 20, 0).is_some(),
            "ended retries count no more"
        );
    }

    #[test]
    fn a_quiet_pool_may_retry_ten_times_a_second() {
        let budget = budget(1);
        let start = Instant::now();
        let allowed = |at: Instant| {
            (0..100)
                .filter(|_| budget.withdraw(at, 20, 10).is_some())
                .count()
        };
        assert_eq!(allowed(start), 10);
        assert_eq!(allowed(start), 0);
        assert_eq!(allowed(start + Duration::from_millis(300)), 3);
        assert_eq!(allowed(start + Duration::from_secs(9)), 10);
    }

    #[test]
    fn a_budget_of_nothing_allows_nothing() {
        assert!(budget(100).withdraw(Instant::now(), 0, 0).is_none());
    }

    #[test]
    fn the_share_and_the_floor_add_up_over_threads() {
        let budget = budget(100);
        let now = Instant::now();
        let kept = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let retry = budget.withdraw(now, 20, 10);
                        kept.lock().unwrap().extend(retry);
                    }
                });
            }
        });
        // A refused withdrawal counts for an instant, so another may take from the floor a little early: never more.
        let kept = kept.lock().unwrap().len();
        assert!((20..=30).contains(&kept), "{kept}");
    }
}
