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
    /// No check has told anything yet: those that are unknown are used until one does.
    Unknown,
    /// Panic: some are up, but too few, so those that are down or ejected are used too.
    Down,
    /// Panic: none is up, so all are used, for one that is unknown is no worse than one that is down.
    All,
}

impl Recourse {
    /// Whether backends that are down are used.
    pub fn is_panic(self) -> bool {
        matches!(self, Self::Down | Self::All)
    }

    /// Whether one is used that is not up: its health is `unknown`, or it is down or ejected.
    pub fn lets_in(self, unknown: bool) -> bool {
        match self {
            Self::None => false,
            Self::Unknown | Self::All => true,
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
    let all = [Recourse::Unknown, Recourse::Down, Recourse::All];
    let found = all.into_iter().find(|recourse| *recourse as u8 == byte);
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Recourse::{All, Down, None, Unknown};
    use super::SharedRecourse;

    #[test]
    fn what_is_stored_is_read() {
        let shared = SharedRecourse::default();
        let mut before = None;
        for recourse in [Unknown, Down, All, None] {
            assert_eq!(shared.swap(recourse), before);
            assert_eq!(shared.load(), recourse);
            before = recourse;
        }
    }

    #[test]
    fn the_unknown_are_used_only_where_nobody_is_up() {
        for (recourse, unknown, down, panics) in [
            (None, false, false, false),
            (Unknown, true, true, false),
            (Down, false, true, true),
            (All, true, true, true),
        ] {
            let lets = (recourse.lets_in(true), recourse.lets_in(false));
            assert_eq!(lets, (unknown, down), "{recourse:?}");
            assert_eq!(recourse.is_panic(), panics, "{recourse:?}");
        }
    }
}
