//! What is held of a backend's health, and how results of checks change it.
//!
//! The state sits in the byte that every pick reads (see `gate`); the reason for it and the counts beside it are for
//! those who look. Nothing in here checks anything: `crate::health` does, and tells.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Whether a backend is fit for requests, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Its pool has no checks, or had none while it took requests and none has told yet: taken to be up.
    Unchecked,
    /// The last checks were good.
    Healthy,
    /// New in a pool with checks, and none has told yet: gets nothing.
    Unknown,
    /// The last checks failed.
    Unhealthy,
}

impl Health {
    /// Whether it may get requests.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Unchecked | Self::Healthy)
    }

    /// As people and programs are told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Healthy => "up",
            Self::Unknown => "unknown",
            Self::Unhealthy => "down",
        }
    }
}

/// The results in a row that speak against the state held. Of one run of checks: it begins anew when they do.
///
/// The first check of an unknown backend decides at once. A backend taken to be up comes up with the first good check
/// and goes down as an up one does.
#[derive(Debug, Default)]
pub struct Tally(u32);

impl Tally {
    /// Takes in one result; the state after it.
    pub fn count(&mut self, held: Health, good: bool, rise: u32, fall: u32) -> Health {
        let (next, needed) = match (held, good) {
            (Health::Unchecked | Health::Unknown, true) => (Health::Healthy, 1),
            (Health::Unknown, false) => (Health::Unhealthy, 1),
            (Health::Healthy | Health::Unchecked, false) => (Health::Unhealthy, fall),
            (Health::Unhealthy, true) => (Health::Healthy, rise),
            (Health::Healthy, true) | (Health::Unhealthy, false) => {
                self.0 = 0;
                return held;
            }
        };
        self.0 += 1;
        if self.0 < needed {
            return held;
        }
        self.0 = 0;
        next
    }

    /// Whether results speak against the state held.
    pub fn is_counting(&self) -> bool {
        self.0 > 0
    }
}

/// What checks have told of one backend, beside its state.
#[derive(Debug, Default)]
pub(super) struct Told {
    reason: Mutex<Option<String>>,
    good: AtomicU64,
    failed: AtomicU64,
}

impl Told {
    pub(super) fn count(&self, good: bool) {
        let counter = if good { &self.good } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> (u64, u64) {
        (
            self.good.load(Ordering::Relaxed),
            self.failed.load(Ordering::Relaxed),
        )
    }

    pub(super) fn reason(&self) -> Option<String> {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        reason.clone()
    }

    pub(super) fn set_reason(&self, reason: Option<String>) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

#[cfg(test)]
mod tests {
    use super::Health::{Healthy, Unchecked, Unhealthy, Unknown};
    use super::*;

    #[test]
    fn results_change_the_state_after_rise_and_fall_in_a_row() {
        for (from, results, expected) in [
            (Unknown, "+", "u"),
            (Unknown, "-++", "ddu"),
            (Unchecked, "+", "u"),
            (Unchecked, "--+", "..u"),
            (Unchecked, "---", "..d"),
            (Healthy, "--+--+---", "uuuuuuuud"),
            (Unhealthy, "+-+-++", "dddddu"),
            (Healthy, "---++---", "uudduuud"),
        ] {
            let mut tally = Tally::default();
            let mut held = from;
            for (result, expected) in results.chars().zip(expected.chars()) {
                held = tally.count(held, result == '+', 2, 3);
                let shown = match held {
                    Healthy => 'u',
                    Unhealthy => 'd',
                    Unchecked => '.',
                    Unknown => '?',
                };
                assert_eq!(shown, expected, "{from:?} {results}");
            }
        }
    }

    #[test]
    fn a_result_that_agrees_ends_the_counting() {
        let mut tally = Tally::default();
        assert_eq!(tally.count(Healthy, false, 2, 3), Healthy);
        assert!(tally.is_counting());
        assert_eq!(tally.count(Healthy, true, 2, 3), Healthy);
        assert!(!tally.is_counting());
    }
}
