//! Which backends a pool uses besides those that are up.

use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::SeqCst;

/// What becomes of requests where too few backends are up. Being drained, in maintenance or without weight is never
/// overruled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recourse {
    /// Enough are up: they take all.
    #[default]
    None,
    /// No check has told of any yet, as in a pool that is new: the unknown are used, until enough are up.
    Unknown,
    /// Panic: too few are up, so those that are down or ejected are used too.
    Down,
}

impl Recourse {
    /// Whether backends that are down are used.
    pub fn is_panic(self) -> bool {
        self == Self::Down
    }

    /// Whether a backend that is not up is used; `unknown` tells one of which no check has told.
    pub fn lets_in(self, unknown: bool) -> bool {
        match self {
            Self::None => false,
            Self::Unknown => unknown,
            Self::Down => !unknown,
        }
    }
}

/// The recourse of a pool, as picks read it and whoever judges the pool changes it.
#[derive(Debug, Default)]
pub(super) struct SharedRecourse(AtomicU8);

impl SharedRecourse {
    pub(super) fn load(&self) -> Recourse {
        of(self.0.load(SeqCst))
    }

    /// Tells the one before.
    pub(super) fn swap(&self, recourse: Recourse) -> Recourse {
        of(self.0.swap(recourse as u8, SeqCst))
    }
}

fn of(byte: u8) -> Recourse {
    let others = [Recourse::Unknown, Recourse::Down];
    let found = others.into_iter().find(|recourse| *recourse as u8 == byte);
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Recourse::{Down, None, Unknown};
    use super::SharedRecourse;

    #[test]
    fn what_is_stored_is_read() {
        let shared = SharedRecourse::default();
        let mut before = None;
        for recourse in [Unknown, Down, None] {
            assert_eq!(shared.swap(recourse), before);
            assert_eq!(shared.load(), recourse);
            before = recourse;
        }
    }

    #[test]
    fn those_that_are_unknown_and_those_that_are_down_are_never_used_together() {
        for (recourse, unknown, down, panics) in [
            (None, false, false, false),
            (Unknown, true, false, false),
            (Down, false, true, true),
        ] {
            let lets = (recourse.lets_in(true), recourse.lets_in(false));
            assert_eq!(lets, (unknown, down), "{recourse:?}");
            assert_eq!(recourse.is_panic(), panics, "{recourse:?}");
        }
    }
}
