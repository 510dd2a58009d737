//! The member with the fewest requests in flight for its weight; equals take turns by weight.
//!
//! Up to 32 members are looked at one by one, which is exact and as fast as anything. Above that a [`LoadTree`] keeps
//! the lightest of each group at hand, so that a pick and an end of a request cost the logarithm of the members.

use std::sync::Arc;

use super::Member;
use super::load_tree::LoadTree;
use crate::backend::member::Backend;
use crate::backend::runtime::PoolRuntime;

/// Pools above this have a tree.
const SCANNED: usize = 32;

/// A pick is made anew this often when another thread took the same turn at the same time.
const REPICKS: usize = 3;

/// Members by load.
#[derive(Debug)]
pub struct LeastConnections {
    members: Arc<[Member]>,
    runtime: Arc<PoolRuntime>,
    tree: Option<Arc<LoadTree>>,
}

impl LeastConnections {
    pub(super) fn new(members: Vec<Member>, runtime: &Arc<PoolRuntime>) -> Self {
        let members: Arc<[Member]> = members.into();
        let tree = (members.len() > SCANNED).then(|| Arc::new(LoadTree::new(members.clone())));
        Self {
            members,
            runtime: runtime.clone(),
            tree,
        }
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// What is to be told of every request, if the pool is that big.
    pub(super) fn tree(&self) -> Option<Arc<LoadTree>> {
        self.tree.clone()
    }

    pub(super) fn pick(&self, tried: &[u64]) -> Option<&Arc<Backend>> {
        for attempt in 0.. {
            let index = match &self.tree {
                None => self.lightest(tried)?,
                Some(tree) => tree.lightest(tried)?,
            };
            let member = &self.members[index];
            let taken = member.take_turn(self.runtime.clock());
            if let Some(tree) = &self.tree {
                tree.refresh(index);
            }
            if taken || attempt == REPICKS {
                return Some(&member.backend);
            }
        }
        None
    }

    fn lightest(&self, tried: &[u64]) -> Option<usize> {
        let mut best: Option<usize> = None;
        for (index, member) in self.members.iter().enumerate() {
            let better = best.is_none_or(|best| member.lighter_than(&self.members[best]));
            if better && member.open_to(tried) {
                best = Some(index);
            }
        }
        best
    }
}
