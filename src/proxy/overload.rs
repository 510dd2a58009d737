//! What the node takes as a whole: requests in flight, and connections.
//!
//! Beyond the requests it refuses at once, so that those it has taken are served; it says that it is busy before, for
//! whoever asks whether it is ready. A tunnel is one of them for as long as it lasts. A copy for a mirror is none:
//! nothing that happens to it matters to a request, and each pool bounds its own. Beyond the connections it accepts no
//! more: newcomers wait in the kernel's queue. A node without limits has none of this.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU32};

use super::options::NodeLimits;
use crate::telemetry::Padded;

/// Counts over all threads.
#[derive(Debug)]
pub(crate) struct Overload {
    requests: u32,
    connections: u32,
    in_flight: Padded<AtomicU32>,
    open: Padded<AtomicU32>,
    busy: Arc<AtomicBool>,
}

impl Overload {
    /// By these limits; none if there are none.
    pub(crate) fn new(limits: &NodeLimits) -> Option<Arc<Self>> {
        limits.requests.or(limits.connections)?;
        Some(Arc::new(Self {
            requests: limits.requests.unwrap_or(u32::MAX),
            connections: limits.connections.unwrap_or(u32::MAX),
            in_flight: Padded::default(),
            open: Padded::default(),
            busy: limits.busy.clone(),
        }))
    }

    /// Counts one more request until the guard is dropped; `None` if there are too many.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<UnderWay> {
        let enter = |in_flight| (in_flight < self.requests).then_some(in_flight + 1);
        let before = self.in_flight.fetch_update(AcqRel, Acquire, enter);
        // From nine tenths on; again free below eight.
        if before.map_or(u32::MAX, |before| before + 1) >= part(self.requests, 9) {
            self.tell(true);
            // All others may have gone before that was said; whoever is let in takes it back when it goes itself.
            if before.is_err() && self.in_flight.load(Acquire) < part(self.requests, 8) {
                self.tell(false);
            }
        }
        before.ok()?;
        Some(UnderWay(self.clone()))
    }

    /// Counts one more connection until the guard is dropped.
    pub(crate) fn connect(self: &Arc<Self>) -> Connected {
        self.open.fetch_add(1, AcqRel);
        Connected(self.clone())
    }

    /// Whether no more connections are to be accepted. Threads may each take one more at the same time.
    pub(crate) fn has_all_connections(&self) -> bool {
        self.open.load(Acquire) >= self.connections
    }

    fn tell(&self, busy: bool) {
        // Mostly there is nothing to write.
        if self.busy.load(Relaxed) != busy {
            self.busy.store(busy, Relaxed);
        }
    }
}

/// So many tenths, at least one.
fn part(of: u32, tenths: u32) -> u32 {
    (u64::from(of) * u64::from(tenths)).div_ceil(10).max(1) as u32
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Overload>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let before = self.0.in_flight.fetch_sub(1, AcqRel);
        if before <= part(self.0.requests, 8) {
            self.0.tell(false);
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connected(Arc<Overload>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_that_it_is_busy_before_it_refuses_and_is_free_well_below() {
        let limits = NodeLimits {
            requests: Some(10),
            ..NodeLimits::default()
        };
        let overload = Overload::new(&limits).unwrap();
        let busy = || limits.busy.load(Relaxed);
        let mut under_way: Vec<UnderWay> = (0..8).filter_map(|_| overload.begin()).collect();
        assert!(!busy());
        under_way.extend(overload.begin());
        assert!(busy(), "nine of ten");
        under_way.extend(overload.begin());
        assert!(overload.begin().is_none());
        under_way.truncate(8);
        assert!(busy(), "not back and forth");
        under_way.truncate(7);
        assert!(!busy());
        assert!(Overload::new(&NodeLimits::default()).is_none());
    }
}
