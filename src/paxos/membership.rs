//! Who votes, and how many make a majority.

use std::collections::BTreeSet;

use super::{Epoch, NodeId};

/// The voters of one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Membership {
    /// The number of this membership.
    pub epoch: Epoch,
    /// Its voters, at least one.
    pub voters: BTreeSet<NodeId>,
}

impl Membership {
    /// How many voters make a majority: any two such sets share a voter.
    pub fn quorum(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// The greatest value that a majority has reached, given what each voter has reached.
    ///
    /// `reached` lists one value for each voter that has reached any; the others count as `T::default()`.
    pub(crate) fn reached_by_quorum<T: Ord + Default + Copy>(
        &self,
        reached: impl Iterator<Item = T>,
    ) -> T {
        let mut reached: Vec<T> = reached.collect();
        assert!(reached.len() <= self.voters.len(), "more votes than voters");
        reached.sort_unstable_by(|a, b| b.cmp(a));
        reached.get(self.quorum() - 1).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(count: u32) -> Membership {
        Membership {
            epoch: Epoch(0),
            voters: (1..=count).map(NodeId).collect(),
        }
    }

    #[test]
    fn two_majorities_share_a_voter() {
        for count in 1..=7 {
            assert!(2 * voters(count).quorum() > count as usize);
        }
        assert_eq!([1, 3, 5].map(|count| voters(count).quorum()), [1, 2, 3]);
    }

    #[test]
    fn a_majority_has_reached_the_value_that_enough_voters_have_passed() {
        assert_eq!(voters(3).reached_by_quorum([7, 5].into_iter()), 5);
        assert_eq!(voters(3).reached_by_quorum([7].into_iter()), 0);
        assert_eq!(voters(5).reached_by_quorum([1, 9, 3, 4, 2].into_iter()), 3);
        assert_eq!(voters(1).reached_by_quorum([4].into_iter()), 4);
    }
}
