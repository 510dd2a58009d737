//! How two members compare by load, and how equals take turns.
//!
//! Turns are weighted fair queuing: each pick moves a member ahead by a stride over its weight, and among equally
//! loaded ones the middle of whose turn comes first is picked, so that weights 5 and 1 mix. A pool's clock is the
//! turn picked last; who is behind it, being new or long busy, is lifted to it and so does not catch up in a burst.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use super::Member;

/// What a turn moves a member of weight 1 ahead. Turns wrap around, and are compared by their distance.
const STRIDE: u64 = 1 << 28;

impl Member {
    /// Less in flight for its weight, by cross-multiplication; then the earlier turn.
    pub(super) fn lighter_than(&self, other: &Self) -> bool {
        let own = u64::from(self.backend.in_flight()) * other.share();
        let others = u64::from(other.backend.in_flight()) * self.share();
        own < others || own == others && before(self.middle_of_turn(), other.middle_of_turn())
    }

    /// Moves on by one turn. False if another thread did at the same time, and this one has not.
    pub(super) fn take_turn(&self, clock: &AtomicU64) -> bool {
        let stride = self.stride();
        let turn = self.backend.turn().load(SeqCst);
        let now = clock.load(SeqCst);
        let middle = turn.wrapping_add(stride / 2);
        let middle = if before(middle, now) { now } else { middle };
        let next = middle.wrapping_sub(stride / 2).wrapping_add(stride);
        let taken = self
            .backend
            .turn()
            .compare_exchange(turn, next, SeqCst, SeqCst)
            .is_ok();
        if taken {
            clock.store(middle, SeqCst);
        }
        taken
    }

    fn middle_of_turn(&self) -> u64 {
        self.backend
            .turn()
            .load(SeqCst)
            .wrapping_add(self.stride() / 2)
    }

    fn stride(&self) -> u64 {
        STRIDE * 100 / self.share()
    }
}

fn before(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) < 0
}
