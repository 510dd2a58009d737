//! Counts what matching looks at, for the tests that bound it; outside of tests there is nothing here.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

/// One look: at a node, a name or a route.
#[inline(always)]
pub(super) fn step() {
    #[cfg(test)]
    STEPS.set(STEPS.get() + 1);
}

/// The looks that `work` takes.
#[cfg(test)]
pub(super) fn count<T>(work: impl FnOnce() -> T) -> (T, usize) {
    STEPS.set(0);
    let result = work();
    (result, STEPS.get())
}
