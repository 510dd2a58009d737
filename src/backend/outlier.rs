//! What requests have met at a backend: failures in a row, and the ejections that came of them.
//!
//! The request path counts, and tells of a backend that failed often enough; whether it is ejected is judged off the
//! request path (`crate::health`), where the pool can be looked at whole.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::config::{self, Name};

/// Suspects that wait to be judged; one more is told again after as many failures.
pub(super) const SUSPECTS: usize = 1_024;

/// A backend that failed often enough in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Its pool.
    pub pool: Name,
    /// Its key.
    pub key: u64,
}

/// Where suspects are told.
pub(super) type Suspects = mpsc::Sender<Suspect>;

/// Failures since the last success.
#[derive(Debug, Default)]
pub(super) struct Row(AtomicU32);

impl Row {
    pub(super) fn succeeded(&self) {
        // Mostly there is nothing to write.
        if self.0.load(Relaxed) != 0 {
            self.0.store(0, Relaxed);
        }
    }

    /// Whether this failure completes `enough` of them, or as many once more; 0 is never enough.
    pub(super) fn failed(&self, enough: u32) -> bool {
        let failures = self.0.fetch_add(1, Relaxed).wrapping_add(1);
        enough > 0 && failures.is_multiple_of(enough)
    }
}

/// The ejections of one backend.
#[derive(Debug, Default)]
pub(super) struct Ejections(Mutex<History>);

#[derive(Debug, Default)]
struct History {
    /// All there were.
    total: u64,
    /// Those that the next one is the longer for: one is forgotten for each ejection time of good conduct.
    times: u32,
    ended: Option<Instant>,
    current: Option<Ejection>,
}

/// An ejection that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// What it is for.
    pub why: String,
    /// When it began.
    pub began: Instant,
    /// When it ends by itself.
    pub until: Instant,
}

impl Ejections {
    /// Begins one; when it will end. There is none yet.
    pub(super) fn begin(&self, now: Instant, rule: &config::Outlier, why: String) -> Instant {
        let mut history = self.lock();
        let behaved = history
            .ended
            .map_or(Duration::ZERO, |ended| now.saturating_duration_since(ended));
        let forgotten = behaved.as_nanos() / rule.ejection_time.as_nanos().max(1);
        let forgotten = u32::try_from(forgotten).unwrap_or(u32::MAX);
        history.times = history.times.saturating_sub(forgotten).saturating_add(1);
        history.total += 1;
        let lasts = rule.ejection_time.saturating_mul(history.times);
        let until = now + lasts.min(rule.max_ejection_time);
        history.current = Some(Ejection {
            why,
            began: now,
            until,
        });
        until
    }

    /// Ends the current one if `ends` says so; tells whether it did.
    pub(super) fn end(&self, now: Instant, ends: impl FnOnce(&Ejection) -> bool) -> bool {
        let mut history = self.lock();
        if !history.current.as_ref().is_some_and(ends) {
            return false;
        }
        history.current = None;
        history.ended = Some(now);
        true
    }

    pub(super) fn current(&self) -> Option<Ejection> {
        self.lock().current.clone()
    }

    pub(super) fn total(&self) -> u64 {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_ends_the_row() {
        let row = Row::default();
        let failed = |times: u32| (0..times).filter(|_| row.failed(5)).count();
        assert_eq!(failed(4), 0);
        row.succeeded();
        assert_eq!(failed(5), 1);
        assert_eq!(failed(10), 2, "and once more after as many");
        assert!((0..10).all(|_| !row.failed(0)), "switched off");
    }

    #[test]
    fn an_ejection_is_longer_for_each_before_and_good_conduct_is_remembered() {
        let ejections = Ejections::default();
        let rule = config::Outlier::default();
        let mut now = Instant::now();
        // Seconds of good conduct before an ejection, and how long that one is.
        for (behaved, lasts) in [(0, 30), (0, 60), (29, 90), (30, 90), (65, 60), (10_000, 30)] {
            now += Duration::from_secs(behaved);
            let until = ejections.begin(now, &rule, "five".to_owned());
            assert_eq!((until - now).as_secs(), lasts, "after {behaved}");
            assert!(!ejections.end(now, |ejection| ejection.until <= now));
            now = until;
            assert!(ejections.end(now, |ejection| ejection.until <= now));
        }
        for _ in 0..100 {
            let until = ejections.begin(now, &rule, "five".to_owned());
            assert!(until - now <= Duration::from_secs(300));
            assert!(ejections.end(now, |_| true));
        }
        assert_eq!((ejections.total(), ejections.current()), (106, None));
    }
}
