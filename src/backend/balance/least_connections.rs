//! The member with the fewest requests in flight for its weight; equals take turns by weight.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Member;
use crate::backend::member::Backend;
use crate::backend::registry::PoolRuntime;

/// What a turn moves a member of weight 1 ahead. Turns wrap around, and are compared by their distance.
const STRIDE: u64 = 1 << 28;

/// Members by load.
#[derive(Debug)]
pub struct LeastConnections {
    members: Box<[Member]>,
    runtime: Arc<PoolRuntime>,
}

impl LeastConnections {
    pub(super) fn new(members: Vec<Member>, runtime: &Arc<PoolRuntime>) -> Self {
        Self {
            members: members.into(),
            runtime: runtime.clone(),
        }
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn pick(&self, tried: &[u64]) -> Option<&Arc<Backend>> {
        let open = self.members.iter().filter(|member| member.open_to(tried));
        let best = open.min_by(|a, b| lighter(a, b))?;
        self.take_turn(best);
        Some(&best.backend)
    }

    /// Start-time fair queuing: a turn begins at the pool's clock or the member's own last end, whichever is later,
    /// so one that was away does not catch up in a burst.
    fn take_turn(&self, member: &Member) {
        let clock = self.runtime.clock();
        let turn = member.backend.turn();
        let own = turn.load(Relaxed);
        let start = later(own, clock.load(Relaxed));
        turn.store(
            start.wrapping_add(STRIDE / u64::from(member.weight)),
            Relaxed,
        );
        clock.store(start, Relaxed);
    }
}

/// Less in flight for its weight, then the earlier turn.
fn lighter(a: &Member, b: &Member) -> Ordering {
    let a_load = u64::from(a.backend.in_flight()) * u64::from(b.weight);
    let b_load = u64::from(b.backend.in_flight()) * u64::from(a.weight);
    a_load.cmp(&b_load).then_with(|| {
        let ahead = a
            .backend
            .turn()
            .load(Relaxed)
            .wrapping_sub(b.backend.turn().load(Relaxed));
        (ahead as i64).cmp(&0)
    })
}

fn later(a: u64, b: u64) -> u64 {
    if (a.wrapping_sub(b) as i64) < 0 { b } else { a }
}
