//! Whether a backend may be picked: facts of different origin in one word, so that a pick reads all at once.
//!
//! Publishing opens and closes it as the config says; checks say what is held of its health; what requests met there
//! may have it ejected; who has just come up takes a part of its share. `SeqCst` throughout: the trees of big pools
//! need one order of these changes and their own (`balance::tree`).

use std::fmt;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::SeqCst;

use super::health::Health;
use super::recourse::Recourse;
use super::warming::ALL;

/// Set while the config gives it a share.
const OPEN: u16 = 0b0001;
/// Set while its health keeps requests from it.
const HELD: u16 = 0b0100;
/// The bits of the health, `HELD` among them.
const HEALTH: u16 = 0b0110;
/// Set once the config no longer has it.
const REMOVED: u16 = 0b1000;
/// Set while it is ejected.
const EJECTED: u16 = 0b1_0000;
/// Set while what it takes at a time is limited.
const LIMITED: u16 = 0b10_0000;
/// Set while requests that stick to it may come, though the config gives it no share.
const STICKY: u16 = 0b100_0000;
/// The percentage of its share that it does not take.
const COLD: u16 = 0xff00;

const UNCHECKED: u16 = 0b0000;
const HEALTHY: u16 = 0b0010;
const UNKNOWN: u16 = 0b0100;
const UNHEALTHY: u16 = 0b0110;

/// Begins closed and unchecked.
#[derive(Default)]
pub(super) struct Gate(AtomicU16);

impl Gate {
    pub(super) fn is_open(&self) -> bool {
        self.0.load(SeqCst) & OPEN != 0
    }

    /// Tells whether it was closed.
    pub(super) fn open(&self) -> bool {
        !self.put(OPEN, true)
    }

    /// Tells whether it was open.
    pub(super) fn close(&self) -> bool {
        self.put(OPEN, false)
    }

    /// Whether it is open to requests that stick to it.
    pub(super) fn is_open_to_stuck(&self) -> bool {
        self.0.load(SeqCst) & (OPEN | STICKY) != 0
    }

    pub(super) fn set_sticky(&self, sticky: bool) {
        self.put(STICKY, sticky);
    }

    pub(super) fn is_removed(&self) -> bool {
        self.0.load(SeqCst) & REMOVED != 0
    }

    pub(super) fn set_removed(&self, removed: bool) {
        self.put(REMOVED, removed);
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.0.load(SeqCst) & EJECTED != 0
    }

    pub(super) fn set_ejected(&self, ejected: bool) {
        self.put(EJECTED, ejected);
    }

    /// In percent.
    pub(super) fn pace(&self) -> u32 {
        ALL - u32::from(self.0.load(SeqCst) >> 8)
    }

    pub(super) fn set_pace(&self, percent: u32) {
        let cold = (ALL.saturating_sub(percent) as u16) << 8;
        let change = |bits| Some(bits & !COLD | cold);
        // It always changes.
        let _ = self.0.fetch_update(SeqCst, SeqCst, change);
    }

    pub(super) fn is_limited(&self) -> bool {
        self.0.load(SeqCst) & LIMITED != 0
    }

    /// Tells whether that was different.
    pub(super) fn set_limited(&self, limited: bool) -> bool {
        self.put(LIMITED, limited) != limited
    }

    /// Sets or clears a bit; tells whether it was set.
    fn put(&self, bit: u16, on: bool) -> bool {
        let before = match on {
            true => self.0.fetch_or(bit, SeqCst),
            false => self.0.fetch_and(!bit, SeqCst),
        };
        before & bit != 0
    }

    /// Open, not held back, ejected, limited or warming: the answer for nearly all.
    pub(super) fn is_free(&self) -> bool {
        looked();
        self.0.load(SeqCst) & (OPEN | HELD | EJECTED | LIMITED | COLD) == OPEN
    }

    /// Whether one that warms takes what comes with this `chance`.
    pub(super) fn is_warm_for(&self, chance: impl FnOnce() -> u64) -> bool {
        let cold = u64::from(self.0.load(SeqCst) >> 8);
        cold == 0 || chance() % u64::from(ALL) >= cold
    }

    /// Open and not held back; or open, if `recourse` says so of one that is not up.
    pub(super) fn lets_in(&self, recourse: impl FnOnce() -> Recourse) -> bool {
        looked();
        let bits = self.0.load(SeqCst);
        if bits & (OPEN | HELD | EJECTED) == OPEN {
            return true;
        }
        bits & OPEN != 0 && recourse().lets_in(bits & HEALTH == UNKNOWN)
    }

    /// As [`lets_in`](Self::lets_in), for a request that sticks to it. What is not open is no matter of recourse.
    pub(super) fn lets_stick(&self, recourse: impl FnOnce() -> Recourse) -> bool {
        let bits = self.0.load(SeqCst);
        (bits & STICKY != 0 && bits & (HELD | EJECTED) == 0) || self.lets_in(recourse)
    }

    pub(super) fn health(&self) -> Health {
        health_of(self.0.load(SeqCst))
    }

    /// Changes the health alone, as `next` says of the one held and of whether it is open; tells the one before.
    pub(super) fn change(&self, next: impl Fn(Health, bool) -> Health) -> Health {
        let change = |bits| {
            let next = match next(health_of(bits), bits & OPEN != 0) {
                Health::Unchecked => UNCHECKED,
                Health::Healthy => HEALTHY,
                Health::Unknown => UNKNOWN,
                Health::Unhealthy => UNHEALTHY,
            };
            Some(bits & !HEALTH | next)
        };
        let changed = self.0.fetch_update(SeqCst, SeqCst, change);
        let (Ok(before) | Err(before)) = changed;
        health_of(before)
    }
}

/// Counts, in tests, how often a pick looks at anything that may grow with its pool.
#[inline]
pub(super) fn looked() {
    #[cfg(test)]
    LOOKS.set(LOOKS.get() + 1);
}

#[cfg(test)]
thread_local! {
    /// Looks of this thread.
    pub(crate) static LOOKS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

fn health_of(bits: u16) -> Health {
    match bits & HEALTH {
        UNCHECKED => Health::Unchecked,
        HEALTHY => Health::Healthy,
        UNKNOWN => Health::Unknown,
        _ => Health::Unhealthy,
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ejected = if self.is_ejected() { ", ejected" } else { "" };
        write!(f, "open: {}, {:?}{ejected}", self.is_open(), self.health())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_and_health_are_apart_and_both_must_let_in() {
        use Health::{Healthy, Unchecked, Unhealthy, Unknown};
        for (health, calm, panic) in [
            (Unchecked, true, true),
            (Healthy, true, true),
            (Unknown, false, false),
            (Unhealthy, false, true),
        ] {
            let gate = Gate::default();
            gate.change(|_, _| health);
            assert!(!gate.lets_in(|| Recourse::Down), "closed: {health:?}");
            gate.open();
            assert_eq!((gate.is_open(), gate.health()), (true, health));
            assert_eq!(gate.lets_in(|| Recourse::None), calm, "{health:?}");
            assert_eq!(gate.lets_in(|| Recourse::Down), panic, "{health:?}");
            gate.set_ejected(true);
            assert_eq!((gate.is_open(), gate.health()), (true, health));
            assert!(!gate.lets_in(|| Recourse::None), "ejected: {health:?}");
            assert_eq!(gate.lets_in(|| Recourse::Down), panic, "{health:?}");
            gate.set_ejected(false);
            gate.set_pace(30);
            assert_eq!((gate.is_open(), gate.health()), (true, health));
            let warm = (0..100).filter(|chance| gate.is_warm_for(|| *chance));
            assert_eq!((warm.count(), gate.is_free()), (30, false), "{health:?}");
            gate.set_pace(100);
            assert_eq!(gate.is_free(), calm, "{health:?}");
            gate.set_limited(true);
            assert!(!gate.is_free());
            assert_eq!(gate.lets_in(|| Recourse::None), calm, "{health:?}");
            gate.set_limited(false);
            assert_eq!(
                gate.change(|_, open| if open { Unknown } else { health }),
                health
            );
            gate.close();
            assert_eq!((gate.is_open(), gate.health()), (false, Unknown));
        }
    }
}
