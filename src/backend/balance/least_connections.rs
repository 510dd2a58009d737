//! The member with the fewest requests in flight for its weight; equals take turns by weight.
//!
//! Up to 32 members are looked at one by one, which is exact and as fast as anything. Above that a tree keeps the
//! lightest of each group at hand, so that a pick and an end of a request cost the logarithm of the members.

use std::sync::Arc;

use super::Member;
use super::members::Members;
use crate::backend::member::Backend;
use crate::backend::runtime::PoolRuntime;

/// A pick is made anew this often when another thread took the same turn at the same time.
const REPICKS: usize = 3;

/// Members by load.
#[derive(Debug)]
pub struct LeastConnections {
    members: Arc<Members>,
    runtime: Arc<PoolRuntime>,
}

impl LeastConnections {
    pub(super) fn new(members: Vec<Member>, runtime: &Arc<PoolRuntime>) -> Self {
        Self {
            members: Arc::new(Members::by_load(members)),
            runtime: runtime.clone(),
        }
    }

    pub(super) fn members(&self) -> &Arc<Members> {
        &self.members
    }

    pub(super) fn pick(&self, tried: &[u64]) -> Option<&Arc<Backend>> {
        for attempt in 0.. {
            let index = self.members.lightest(tried)?;
            let member = &self.members[index];
            let taken = member.take_turn(self.runtime.clock());
            self.members.took_turn(index);
            if taken || attempt == REPICKS {
                return Some(&member.backend);
            }
        }
        None
    }
}
