//! Slow start: who has just come up takes a tenth of its share, and more by steps until it takes all.
//!
//! How far it is sits in the gate, where every pick sees it; the steps are taken off the request path
//! (`crate::health`), by the pool's window. Nothing warms at the start of a node: somebody has to carry the load.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::member::Backend;

/// What a backend that has just come up takes of its share, in percent.
const FIRST: u32 = 10;
pub(super) const ALL: u32 = 100;

#[derive(Debug, Default)]
pub(super) struct Warming {
    /// While it warms.
    began: Mutex<Option<Instant>>,
    /// It came with its pool and was not checked yet: no newcomer.
    founder: AtomicBool,
}

impl Warming {
    fn began(&self) -> MutexGuard<'_, Option<Instant>> {
        self.began.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend {
    /// How much of its share it takes, in percent: 100 unless it warms.
    pub fn pace(&self) -> u32 {
        self.gate().pace()
    }

    /// Has it warm from `now` on.
    pub fn warm_up(&self, now: Instant) {
        *self.warming().began() = Some(now);
        self.gate().set_pace(FIRST);
        self.runtime().warming(self);
    }

    /// One step, by the window of its pool; without one it takes all at once. Tells whether it still warms.
    pub fn take_step(&self, now: Instant, window: Option<Duration>) -> bool {
        let mut began = self.warming().began();
        let Some(at) = *began else {
            return false;
        };
        let pace = window.map_or(ALL, |window| {
            let part = now.saturating_duration_since(at).as_secs_f64() / window.as_secs_f64();
            // Of a window of nothing that may be no number, which becomes 0.
            FIRST + (f64::from(ALL - FIRST) * part.clamp(0.0, 1.0)) as u32
        });
        self.gate().set_pace(pace);
        self.runtime().eligibility_changed(self);
        self.let_in();
        if pace == ALL {
            *began = None;
        }
        pace < ALL
    }

    /// Says that it came with its pool. Such a one does not warm when it comes up for the first time.
    pub fn set_founder(&self) {
        self.warming().founder.store(true, Relaxed);
    }

    /// Whether it came with its pool and this is the first time that somebody asks.
    pub fn was_founder(&self) -> bool {
        self.warming().founder.swap(false, Relaxed)
    }
}
