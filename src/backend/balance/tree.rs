//! A value folded from all members of a big pool, kept in O(log n) by many threads at once, without a lock.
//!
//! A tree of groups of four: each node holds the value of all members below it. Whoever changes what a member counts
//! for then refreshes the nodes above it, bottom up, each at most twice: a node is replaced only if nobody else did
//! since it was read (a version guards against reuse), and if that fails twice, another thread has read the change and
//! stored it (Jayanti, A Time Complexity Lower Bound and an Optimal f-array, 2002). So once all changes under way are
//! done each node is exact; during them it is as exact as a walk would be. The argument needs one order of all these
//! accesses, hence `SeqCst`, which costs nothing for loads on x86 and little elsewhere.

use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use super::Member;
use crate::backend::gate::looked;

const FAN: usize = 4;

/// How often the path above a member that has changed, untold yet, is refreshed before none is taken to be fit.
pub(super) const HELPS: usize = 4;

/// What a tree holds of its members.
pub(super) trait Fold {
    /// The value of the member at `index`.
    fn leaf(&self, index: usize, member: &Member) -> u32;

    /// The value of a node above `some`, of which there is one at least.
    fn join(&self, members: &[Member], some: impl Iterator<Item = u32>) -> u32;
}

/// The values of each group, over members whose order is fixed and which are passed with each call.
#[derive(Debug)]
pub(super) struct Tree<F> {
    pub(super) fold: F,
    /// From the groups of members up to the root. A node is a version and a value.
    levels: Box<[Box<[AtomicU64]>]>,
}

impl<F: Fold> Tree<F> {
    /// Over so many members, of which it knows nothing yet.
    pub(super) fn new(fold: F, members: usize) -> Self {
        let mut levels: Vec<Box<[AtomicU64]>> = Vec::new();
        let mut width = members;
        while width > 1 || levels.is_empty() {
            width = width.div_ceil(FAN);
            levels.push((0..width).map(|_| AtomicU64::new(0)).collect());
        }
        Self {
            fold,
            levels: levels.into(),
        }
    }

    /// Takes in all members.
    pub(super) fn refresh_all(&self, members: &[Member]) {
        for level in 0..self.levels.len() {
            for at in 0..self.levels[level].len() {
                self.refresh_twice(members, level, at);
            }
        }
    }

    /// Takes in the member at `index`.
    pub(super) fn refresh(&self, members: &[Member], index: usize) {
        let mut at = index;
        for level in 0..self.levels.len() {
            at = parent(at);
            self.refresh_twice(members, level, at);
        }
    }

    /// Of the root above the members.
    pub(super) fn height(&self) -> usize {
        self.levels.len()
    }

    /// Of the member itself at height 0, or what the node above it holds; `None` if there is none.
    pub(super) fn value(&self, members: &[Member], height: usize, at: usize) -> Option<u32> {
        match height.checked_sub(1) {
            None => Some(self.fold.leaf(at, members.get(at)?)),
            Some(level) => {
                looked();
                Some(self.levels[level].get(at)?.load(SeqCst) as u32)
            }
        }
    }

    fn refresh_twice(&self, members: &[Member], level: usize, at: usize) {
        if !self.refresh_node(members, level, at) {
            self.refresh_node(members, level, at);
        }
    }

    fn refresh_node(&self, members: &[Member], level: usize, at: usize) -> bool {
        let Some(node) = self.levels[level].get(at) else {
            return true;
        };
        let seen = node.load(SeqCst);
        let below = children(at).filter_map(|child| self.value(members, level, child));
        let version = (seen >> 32).wrapping_add(1);
        let next = version << 32 | u64::from(self.fold.join(members, below));
        node.compare_exchange(seen, next, SeqCst, SeqCst).is_ok()
    }
}

/// What is above that node, or member, one level up.
pub(super) fn parent(at: usize) -> usize {
    at / FAN
}

/// What is below that node, one level down; the last node of a level may have fewer.
pub(super) fn children(at: usize) -> Range<usize> {
    at * FAN..at * FAN + FAN
}
