//! A value on cache lines of its own, so that threads writing to it do not slow readers of its neighbours.

use std::ops::Deref;

/// Two lines, for the prefetcher fetches pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> Deref for Padded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
