//! A place in a rotation that all threads of the node share and that outlives snapshots.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::telemetry::Padded;

/// Counts positions; whoever uses it takes them modulo the length of its rotation.
#[derive(Debug)]
pub struct Cursor(Padded<AtomicU64>);

impl Cursor {
    /// At a random place, so that nodes started together do not all begin with the first member.
    pub fn random() -> Self {
        Self::at(u64::from(rand::random::<u32>()))
    }

    /// At that place.
    pub fn at(position: u64) -> Self {
        Self(Padded(AtomicU64::new(position)))
    }

    /// The next position, given to nobody else.
    pub fn next(&self) -> u64 {
        self.skip(1)
    }

    /// Moves on by `count`; returns where it was.
    pub fn skip(&self, count: u64) -> u64 {
        self.0.fetch_add(count, Ordering::Relaxed)
    }
}
