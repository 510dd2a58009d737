//! The weight of those members of a big pool that are fit for something: each node of the tree holds the sum of those
//! below it, by which the one at any part of all their weight is found, and the next one behind any member.

use super::Member;
use super::draw::mixed;
use super::tree::{Fold, HELPS, Tree, children, parent};
use crate::backend::member::Backend;

/// Folds to the sum of the weights of the members of which that is true.
#[derive(Debug)]
pub(super) struct Sum(pub(super) fn(&Backend) -> bool);

impl Fold for Sum {
    fn leaf(&self, _: usize, member: &Member) -> u32 {
        if (self.0)(&member.backend) {
            u32::from(member.weight)
        } else {
            0
        }
    }

    /// Never too much: 65,536 members of the greatest weight have less.
    fn join(&self, _: &[Member], some: impl Iterator<Item = u32>) -> u32 {
        some.sum()
    }
}

impl Tree<Sum> {
    /// The weight of all.
    pub(super) fn total(&self, members: &[Member]) -> u64 {
        self.value(members, self.height(), 0).map_or(0, u64::from)
    }

    /// The weight of those before `index`.
    pub(super) fn before(&self, members: &[Member], index: usize) -> u64 {
        let mut sum = 0;
        let mut behind = index;
        for height in 0..self.height() {
            let group = parent(behind);
            let before = children(group).take_while(|child| *child < behind);
            let values = before.filter_map(|child| self.value(members, height, child));
            sum += values.map(u64::from).sum::<u64>();
            behind = group;
        }
        sum
    }

    /// The fit member not among `tried` that holds this unit of the weight, counted around; else the next one.
    pub(super) fn find(&self, members: &[Member], mut unit: u64, tried: &[u64]) -> Option<usize> {
        for _ in 0..=tried.len() + HELPS {
            let index = self.holder(members, unit)?;
            let member = &members[index];
            if !(self.fold.0)(&member.backend) {
                self.refresh(members, index);
            } else if !tried.contains(&member.backend.key) {
                return Some(index);
            } else {
                unit = self.before(members, index + 1);
            }
        }
        None
    }

    /// Who holds this unit of the weight, counted around. While changes are under way it may be a neighbour, or one
    /// that holds nothing any more.
    fn holder(&self, members: &[Member], unit: u64) -> Option<usize> {
        let mut unit = unit.checked_rem(self.total(members))?;
        let mut at = 0;
        for height in (0..self.height()).rev() {
            let mut last = None;
            for child in children(at) {
                let Some(value) = self.value(members, height, child).map(u64::from) else {
                    break;
                };
                if value > 0 {
                    last = Some(child);
                    if unit < value {
                        break;
                    }
                    unit -= value;
                }
            }
            at = last.unwrap_or(children(at).start);
        }
        Some(at)
    }

    /// A fit member for a key, evenly among the groups with any. The same one until it is not fit: a change of others
    /// moves only keys of groups that had none, or have none any more.
    pub(super) fn of_key(&self, members: &[Member], hash: u64) -> Option<usize> {
        let mut at = 0;
        for height in (0..self.height()).rev() {
            let fit = |child: &usize| {
                self.value(members, height, *child)
                    .is_some_and(|value| value > 0)
            };
            let some = children(at).filter(fit);
            at = some
                .max_by_key(|child| mixed(hash ^ mixed((child * self.height() + height) as u64)))?;
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::draw::tests::members;
    use super::*;

    #[test]
    fn every_unit_of_the_weight_is_held_by_whom_a_walk_finds() {
        for count in [1, 4, 5, 33, 200] {
            let weights: Vec<u16> = (0..count).map(|i| i % 4 + 1).collect();
            let members = members(&weights);
            let open = |index: &usize| index % 3 != 1;
            let those = (0..members.len()).filter(open);
            those.for_each(|index| members[index].backend.open());
            let tree = Tree::new(Sum(Backend::is_open), members.len());
            tree.refresh_all(&members);
            let mut units = Vec::new();
            for (index, member) in members.iter().enumerate() {
                assert_eq!(tree.before(&members, index), units.len() as u64);
                let weight = if open(&index) { member.weight } else { 0 };
                units.extend((0..weight).map(|_| index));
            }
            assert_eq!(tree.total(&members), units.len() as u64);
            for (unit, holder) in (0..).zip(units.iter().chain(&units)) {
                assert_eq!(
                    tree.find(&members, unit, &[]),
                    Some(*holder),
                    "{unit} of {count}"
                );
            }
        }
    }
}
