//! Whether a backend may be picked: two facts of different origin in one byte, so that a pick reads both at once.
//!
//! Publishing opens and closes it as the config says; checks say what is held of its health.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use super::health::Health;

/// Set while the config gives it a share.
const OPEN: u8 = 0b001;
/// Set while its health keeps requests from it.
const HELD: u8 = 0b100;
/// The bits of the health, `HELD` among them.
const HEALTH: u8 = 0b110;

const UNCHECKED: u8 = 0b000;
const HEALTHY: u8 = 0b010;
const UNKNOWN: u8 = 0b100;
const UNHEALTHY: u8 = 0b110;

/// Begins closed and unchecked.
#[derive(Default)]
pub(super) struct Gate(AtomicU8);

impl Gate {
    pub(super) fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) & OPEN != 0
    }

    pub(super) fn open(&self) {
        self.0.fetch_or(OPEN, Ordering::Release);
    }

    pub(super) fn close(&self) {
        self.0.fetch_and(!OPEN, Ordering::Release);
    }

    /// Open and not held back; or, if it is down and `panic` says so, open.
    pub(super) fn lets_in(&self, panic: impl FnOnce() -> bool) -> bool {
        match self.0.load(Ordering::Acquire) & (OPEN | HEALTH) {
            bits if bits & (OPEN | HELD) == OPEN => true,
            bits => bits == OPEN | UNHEALTHY && panic(),
        }
    }

    pub(super) fn health(&self) -> Health {
        health_of(self.0.load(Ordering::Acquire))
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
        let changed = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
        let (Ok(before) | Err(before)) = changed;
        health_of(before)
    }
}

fn health_of(bits: u8) -> Health {
    match bits & HEALTH {
        UNCHECKED => Health::Unchecked,
        HEALTHY => Health::Healthy,
        UNKNOWN => Health::Unknown,
        _ => Health::Unhealthy,
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "open: {}, {:?}", self.is_open(), self.health())
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
            assert!(!gate.lets_in(|| true), "closed: {health:?}");
            gate.open();
            assert_eq!((gate.is_open(), gate.health()), (true, health));
            assert_eq!(gate.lets_in(|| false), calm, "{health:?}");
            assert_eq!(gate.lets_in(|| true), panic, "{health:?}");
            assert_eq!(
                gate.change(|_, open| if open { Unknown } else { health }),
                health
            );
            gate.close();
            assert_eq!((gate.is_open(), gate.health()), (false, Unknown));
        }
    }
}
