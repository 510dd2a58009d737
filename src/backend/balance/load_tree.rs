//! The lightest member of a big pool, found in O(log n) by many threads at once, without a lock.
//!
//! A tree of groups of four: each node names the lightest available member below it. Whoever changes a member's load
//! then refreshes the nodes above it, bottom up, each at most twice: a node is replaced only if nobody else did since
//! it was read (a version guards against reuse), and if that fails twice, another thread has read the change and stored
//! it (Jayanti, A Time Complexity Lower Bound and an Optimal f-array, 2002). So once all changes under way are done the
//! root is exact; during them it is as exact as a scan would be. The argument needs one order of all these accesses,
//! hence `SeqCst`, which costs nothing for loads on x86 and little elsewhere.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use super::Member;
use crate::backend::member::Backend;

const FAN: usize = 4;

/// The lightest of each group, over members whose order is fixed.
#[derive(Debug)]
pub(in crate::backend) struct LoadTree {
    members: Arc<[Member]>,
    /// From the groups of members up to the root. A node is a version and the index of a member.
    levels: Box<[Box<[AtomicU64]>]>,
}

impl LoadTree {
    /// Over `members`, of which there is at least one.
    pub(super) fn new(members: Arc<[Member]>) -> Self {
        let mut levels: Vec<Box<[AtomicU64]>> = Vec::new();
        let mut width = members.len();
        while width > 1 || levels.is_empty() {
            width = width.div_ceil(FAN);
            levels.push((0..width).map(|_| AtomicU64::new(0)).collect());
        }
        let tree = Self {
            members,
            levels: levels.into(),
        };
        tree.refresh_all();
        tree
    }

    /// Tells each member's backend its index here.
    pub(in crate::backend) fn number_members(&self) {
        for (index, member) in (0..).zip(self.members.iter()) {
            member.backend.slot().store(index, SeqCst);
        }
    }

    /// Takes in the loads of all members.
    pub(in crate::backend) fn refresh_all(&self) {
        for level in 0..self.levels.len() {
            for at in 0..self.levels[level].len() {
                self.refresh_twice(level, at);
            }
        }
    }

    /// Takes in the load of `backend`, if it is a member.
    pub(in crate::backend) fn changed(&self, backend: &Backend) {
        let index = backend.slot().load(SeqCst) as usize;
        if self
            .members
            .get(index)
            .is_some_and(|member| member.backend.key == backend.key)
        {
            self.refresh(index);
        }
    }

    /// Takes in the load of the member at `index`.
    pub(super) fn refresh(&self, index: usize) {
        let mut at = index;
        for level in 0..self.levels.len() {
            at /= FAN;
            self.refresh_twice(level, at);
        }
    }

    /// The lightest member that is available and not among `tried`.
    pub(super) fn lightest(&self, tried: &[u64]) -> Option<usize> {
        self.lightest_below(self.levels.len(), 0, tried)
    }

    /// Below the node `at` of the level that is `height` above the members. Goes down only where the lightest of all
    /// may not be picked.
    fn lightest_below(&self, height: usize, at: usize, tried: &[u64]) -> Option<usize> {
        let winner = self.winner(height, at)?;
        if self.members[winner].open_to(tried) {
            return Some(winner);
        }
        let below = height.checked_sub(1)?;
        let open =
            (at * FAN..at * FAN + FAN).filter_map(|child| self.lightest_below(below, child, tried));
        self.lightest_of(open)
    }

    fn refresh_twice(&self, level: usize, at: usize) {
        if !self.refresh_node(level, at) {
            self.refresh_node(level, at);
        }
    }

    fn refresh_node(&self, level: usize, at: usize) -> bool {
        let node = &self.levels[level][at];
        let seen = node.load(SeqCst);
        let children = (at * FAN..at * FAN + FAN).filter_map(|child| self.winner(level, child));
        let Some(winner) = self.lightest_of(children) else {
            return true;
        };
        let version = (seen >> 32).wrapping_add(1);
        let next = version << 32 | winner as u64;
        node.compare_exchange(seen, next, SeqCst, SeqCst).is_ok()
    }

    /// The member itself at height 0, or what the node above it says.
    fn winner(&self, height: usize, at: usize) -> Option<usize> {
        match height.checked_sub(1) {
            None => (at < self.members.len()).then_some(at),
            Some(level) => {
                let node = self.levels[level].get(at)?.load(SeqCst);
                Some((node & u64::from(u32::MAX)) as usize)
            }
        }
    }

    fn lightest_of(&self, members: impl Iterator<Item = usize>) -> Option<usize> {
        members.reduce(|best, other| {
            let (one, two) = (&self.members[other], &self.members[best]);
            // Who is down has no load and would stand at the root: every pick then looked through all who are.
            let better = match (one.backend.is_open(), two.backend.is_open()) {
                (true, false) => true,
                (false, true) => false,
                _ => one.lighter_than(two),
            };
            if better { other } else { best }
        })
    }
}
