//! The members of a balancer, and who of them is open when chance, rotation or hash do not soon hit upon one.
//!
//! A small pool is walked. A big one has trees: the weight of those that are available, of those that are open (they
//! have room too), and, where requests go by load, the lightest. Whoever changes anything of this tells the pool
//! (`runtime`), which has the trees of the revision in force follow. Those of one before it are told nothing more:
//! requests that still hold it walk. These are few, but for the moment in which the next one is followed already and
//! not in force yet. What a tree says is a hint like every pick: the member is looked at before it is picked, and
//! admission looks once more.

use std::ops::Deref;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use super::Member;
use super::draw::{draw, mixed};
use super::lightest::Lightest;
use super::sums::Sum;
use super::tree::Tree;
use crate::backend::member::Backend;

/// Pools above this have trees.
const WALKED: usize = 32;

/// Draws among those that are open, in which who warms takes its part.
const DRAWS: usize = 8;

/// Those a balancer picks from, in its order.
#[derive(Debug)]
pub(in crate::backend) struct Members {
    list: Box<[Member]>,
    trees: Option<Trees>,
}

#[derive(Debug)]
struct Trees {
    /// Whether they are told of changes.
    followed: AtomicBool,
    /// The index of a member, by the slot of its backend.
    indices: OnceLock<Box<[u32]>>,
    available: Tree<Sum>,
    open: Tree<Sum>,
    lightest: Option<Tree<Lightest>>,
}

impl Members {
    pub(super) fn new(list: Vec<Member>) -> Self {
        let needed = list.len() > WALKED;
        Self::with_trees(list, needed, false)
    }

    /// The lightest of which is asked for.
    pub(super) fn by_load(list: Vec<Member>) -> Self {
        let needed = list.len() > WALKED;
        Self::with_trees(list, needed, true)
    }

    /// The weight of which is asked for with each pick.
    pub(super) fn weighed(list: Vec<Member>) -> Self {
        let needed = !list.is_empty();
        Self::with_trees(list, needed, false)
    }

    fn with_trees(list: Vec<Member>, needed: bool, by_load: bool) -> Self {
        let sum = |of| Tree::new(Sum(of), list.len());
        let trees = needed.then(|| Trees {
            followed: AtomicBool::new(false),
            indices: OnceLock::new(),
            available: sum(Backend::is_available),
            open: sum(Backend::is_open),
            lightest: by_load.then(|| Tree::new(Lightest, list.len())),
        });
        Self {
            list: list.into(),
            trees,
        }
    }

    /// One that is open and not among `tried`: that at this part, of 2^64, of their weight.
    pub(super) fn at_part(&self, part: u64, tried: &[u64]) -> Option<usize> {
        let unit = |all: u64| ((u128::from(part) * u128::from(all)) >> 64) as u64;
        if let Some(trees) = self.followed_trees() {
            let unit = unit(trees.open.total(self));
            return trees.open.find(self, unit, tried);
        }
        let open = || (0..self.len()).filter(|index| self[*index].open_to(tried));
        let weight = |index: usize| u64::from(self[index].weight);
        let mut unit = unit(open().map(weight).sum());
        let mut last = None;
        for index in open() {
            last = Some(index);
            let weight = weight(index);
            if unit < weight {
                break;
            }
            unit -= weight;
        }
        last
    }

    /// By chance and weight; who warms gets its part as long as there is a choice.
    pub(super) fn by_chance(&self, tried: &[u64]) -> Option<usize> {
        if self.followed_trees().is_some() {
            for _ in 0..DRAWS {
                let index = self.at_part(draw(), &[])?;
                if self[index].open_to_by(tried, draw) {
                    return Some(index);
                }
            }
        }
        self.at_part(draw(), tried)
    }

    /// The first from `index` on, counted around, that is open and not among `tried`.
    pub(super) fn from(&self, index: usize, tried: &[u64]) -> Option<usize> {
        if let Some(trees) = self.followed_trees() {
            let unit = trees.open.before(self, index);
            return trees.open.find(self, unit, tried);
        }
        let mut around = (index..self.len()).chain(0..index);
        around.find(|index| self[*index].open_to(tried))
    }

    /// One that is open and not among `tried`, for a key: the same one until it is not open, and then no other key's
    /// changes.
    pub(super) fn for_key(&self, hash: u64, tried: &[u64]) -> Option<usize> {
        if let Some(trees) = self.followed_trees() {
            let first = trees.open.of_key(self, hash)?;
            return self.from(first, tried);
        }
        let open = (0..self.len()).filter(|index| self[*index].open_to(tried));
        open.max_by_key(|index| mixed(hash ^ mixed(*index as u64)))
    }

    /// The one with the least in flight for its weight that is open and not among `tried`.
    pub(super) fn lightest(&self, tried: &[u64]) -> Option<usize> {
        if let Some(tree) = self
            .followed_trees()
            .and_then(|trees| trees.lightest.as_ref())
        {
            return tree.lightest(self, tried);
        }
        let mut best: Option<usize> = None;
        for (index, member) in self.iter().enumerate() {
            let better = best.is_none_or(|best| member.lighter_than(&self[best]));
            if better && member.open_to(tried) {
                best = Some(index);
            }
        }
        best
    }

    /// Takes in that the member has taken its turn.
    pub(super) fn took_turn(&self, index: usize) {
        if let Some(trees) = &self.trees
            && let Some(tree) = &trees.lightest
        {
            tree.refresh(self, index);
        }
    }

    /// The weight of all that are available, as they were when this was last told.
    pub(super) fn available_weight(&self) -> u64 {
        let trees = self.trees.as_ref();
        trees.map_or(0, |trees| trees.available.total(self))
    }

    /// Whether any that is not among `tried` is available.
    pub(super) fn any_available(&self, tried: &[u64]) -> bool {
        match self.followed_trees() {
            Some(trees) => trees.available.find(self, 0, tried).is_some(),
            None => {
                let mut others = self.iter().filter(|it| !tried.contains(&it.backend.key));
                others.any(|member| member.backend.is_available())
            }
        }
    }

    /// Of those that are available and of those that are open, by the trees.
    #[cfg(test)]
    pub(super) fn weights(&self) -> [u64; 2] {
        let trees = self.trees.as_ref().unwrap();
        [&trees.available, &trees.open].map(|tree| tree.total(self))
    }

    /// If they are told of changes.
    fn followed_trees(&self) -> Option<&Trees> {
        let trees = self.trees.as_ref()?;
        trees.followed.load(SeqCst).then_some(trees)
    }
}

/// How they follow.
impl Members {
    pub(in crate::backend) fn has_trees(&self) -> bool {
        self.trees.is_some()
    }

    pub(in crate::backend) fn go_by_load(&self) -> bool {
        let trees = self.trees.as_ref();
        trees.is_some_and(|trees| trees.lightest.is_some())
    }

    /// Gives each backend its index here for a slot.
    pub(in crate::backend) fn give_slots(&self) {
        for (slot, member) in (0..).zip(self.iter()) {
            member.backend.slot().store(slot, SeqCst);
        }
    }

    /// Learns the slots that were given, below `slots`.
    pub(in crate::backend) fn learn_slots(&self, slots: usize) {
        let Some(trees) = &self.trees else { return };
        let mut indices = vec![u32::MAX; slots];
        for (index, member) in (0..).zip(self.iter()) {
            let slot = member.backend.slot().load(SeqCst) as usize;
            if let Some(at) = indices.get_mut(slot) {
                *at = index;
            }
        }
        // They follow only once.
        let _ = trees.indices.set(indices.into());
    }

    /// Says whether all changes are told from now on. What was changed before is to be taken in first.
    pub(in crate::backend) fn set_followed(&self, followed: bool) {
        if let Some(trees) = &self.trees {
            trees.followed.store(followed, SeqCst);
        }
    }

    /// Takes in all members.
    pub(in crate::backend) fn refresh_all(&self) {
        if let Some(trees) = &self.trees {
            trees.available.refresh_all(self);
            trees.open.refresh_all(self);
            if let Some(tree) = &trees.lightest {
                tree.refresh_all(self);
            }
        }
    }

    /// Takes in that another request is in flight there, or one less, if it is a member.
    pub(in crate::backend) fn load_changed(&self, backend: &Backend) {
        if let Some((trees, index)) = self.place(backend)
            && let Some(tree) = &trees.lightest
        {
            tree.refresh(self, index);
        }
    }

    /// Takes in that it may be picked now, or not any more, if it is a member.
    pub(in crate::backend) fn eligibility_changed(&self, backend: &Backend) {
        if let Some((trees, index)) = self.place(backend) {
            trees.available.refresh(self, index);
            trees.open.refresh(self, index);
            if let Some(tree) = &trees.lightest {
                tree.refresh(self, index);
            }
        }
    }

    fn place(&self, backend: &Backend) -> Option<(&Trees, usize)> {
        let trees = self.trees.as_ref()?;
        let slot = backend.slot().load(SeqCst) as usize;
        let index = *trees.indices.get()?.get(slot)? as usize;
        let member = self.get(index)?;
        (member.backend.key == backend.key).then_some((trees, index))
    }
}

impl Deref for Members {
    type Target = [Member];

    fn deref(&self) -> &[Member] {
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use super::super::draw::tests::members;
    use super::*;

    #[test]
    fn a_walk_by_chance_keeps_the_proportion() {
        let members = members(&[1, 2, 5]);
        members.iter().for_each(|member| member.backend.open());
        let members = Members::new(members);
        let mut picks = [0_i32; 3];
        (0..8_000).for_each(|_| picks[members.by_chance(&[]).unwrap()] += 1);
        for (picks, expected) in picks.iter().zip([1_000, 2_000, 5_000]) {
            assert!((picks - expected).abs() < 300, "{picks} not {expected}");
        }
    }
}
