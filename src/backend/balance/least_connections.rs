//! The member with the fewest requests in flight for its weight; equals take turns by weight.
//!
//! Up to 32 members are looked at one by one, which is exact and as fast as anything. Above that a tree keeps the
//! lightest of each group at hand, so that a pick and an end of a request cost the logarithm of the members.

use std::sync::Arc;

use super::members::Members;
use crate::backend::runtime::PoolRuntime;

/// A pick is made anew this often when another thread took the same turn at the same time.
const REPICKS: usize = 3;

#[derive(Debug)]
pub(super) struct LeastConnections(Arc<PoolRuntime>);

impl LeastConnections {
    pub(super) fn new(runtime: &Arc<PoolRuntime>) -> Self {
        Self(runtime.clone())
    }

    pub(super) fn pick(&self, members: &Members, tried: &[u64]) -> Option<usize> {
        for attempt in 0.. {
            let index = members.lightest(tried)?;
            let taken = members[index].take_turn(self.0.clock());
            members.took_turn(index);
            if taken || attempt == REPICKS {
                return Some(index);
            }
        }
        None
    }
}
