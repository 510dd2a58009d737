//! The lightest open member of a big pool: each node of the tree names that of those below it.

use super::Member;
use super::tree::{Fold, HELPS, Tree, children};

/// Folds to the index of the lightest open member; of any, if none is open.
#[derive(Debug)]
pub(super) struct Lightest;

impl Fold for Lightest {
    fn leaf(&self, index: usize, _: &Member) -> u32 {
        index as u32
    }

    fn join(&self, members: &[Member], some: impl Iterator<Item = u32>) -> u32 {
        lightest_of(members, some).unwrap_or_default()
    }
}

impl Tree<Lightest> {
    /// The lightest member that is open and not among `tried`.
    pub(super) fn lightest(&self, members: &[Member], tried: &[u64]) -> Option<usize> {
        let lightest = self.lightest_below(members, self.height(), 0, tried)?;
        Some(lightest as usize)
    }

    /// Below the node `at` of that height. Goes down only where the lightest of all was tried: where it is closed all
    /// others are.
    fn lightest_below(
        &self,
        members: &[Member],
        height: usize,
        at: usize,
        tried: &[u64],
    ) -> Option<u32> {
        let winner = self.open_winner(members, height, at)?;
        if !tried.contains(&members[winner as usize].backend.key) {
            return Some(winner);
        }
        let below = height.checked_sub(1)?;
        let open =
            children(at).filter_map(|child| self.lightest_below(members, below, child, tried));
        lightest_of(members, open)
    }

    /// What the node says. Whoever closed that member may not have told all nodes above it yet: they are told here,
    /// lest a member that is open is not seen behind it.
    fn open_winner(&self, members: &[Member], height: usize, at: usize) -> Option<u32> {
        let mut winner = self.value(members, height, at)?;
        for _ in 0..HELPS {
            if members[winner as usize].backend.is_open() {
                return Some(winner);
            }
            self.refresh(members, winner as usize);
            let next = self.value(members, height, at)?;
            if next == winner {
                return None;
            }
            winner = next;
        }
        None
    }
}

fn lightest_of(members: &[Member], some: impl Iterator<Item = u32>) -> Option<u32> {
    some.reduce(|best, other| {
        let (one, two) = (&members[other as usize], &members[best as usize]);
        // Who is closed has little load, and would hide all who are open.
        let better = match (one.backend.is_open(), two.backend.is_open()) {
            (true, false) => true,
            (false, true) => false,
            _ => one.lighter_than(two),
        };
        if better { other } else { best }
    })
}
