//! The names of things: nodes, epochs, ballots and slots. All are ordered as the algorithm compares them.

use std::fmt;

/// A voter, by a number that is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// The number of a membership. Each membership change ends one epoch and begins the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch after this one.
    pub fn next(self) -> Epoch {
        Epoch(self.0.saturating_add(1))
    }
}

/// A leadership that is or was tried, ordered by epoch, then round, then node.
///
/// The derived order is the algorithm's: the fields stand in order of weight, and `None` (nobody, the ballot every
/// voter of an epoch starts with) is below every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// The membership that votes.
    pub epoch: Epoch,
    /// Grows with each attempt to lead.
    pub round: u64,
    /// Who leads by this ballot; `None` only in [`Ballot::initial`].
    pub node: Option<NodeId>,
}

impl Ballot {
    /// The ballot every voter of `epoch` has promised before it has promised any candidate.
    pub fn initial(epoch: Epoch) -> Self {
        Ballot {
            epoch,
            round: 0,
            node: None,
        }
    }
}

/// A position in the log. The first entry is at `Slot(1)`; `Slot(0)` stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Slot(pub u64);

impl Slot {
    /// The slot before the first entry.
    pub const ZERO: Slot = Slot(0);

    /// The slot after this one.
    pub fn next(self) -> Slot {
        Slot(self.0 + 1)
    }

    /// The slot before this one; that of `Slot(0)` is itself.
    pub fn previous(self) -> Slot {
        Slot(self.0.saturating_sub(1))
    }

    /// The slot `count` after this one.
    pub fn plus(self, count: usize) -> Slot {
        Slot(self.0 + count as u64)
    }

    /// How many slots this one is past `other`; 0 when it is not past it.
    pub fn since(self, other: Slot) -> u64 {
        self.0.saturating_sub(other.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node {
            Some(node) => write!(f, "{}.{}.{}", self.epoch.0, self.round, node),
            None => write!(f, "{}.{}.-", self.epoch.0, self.round),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballots_are_ordered_by_epoch_then_round_then_node() {
        let ballot = |epoch, round, node: Option<u32>| Ballot {
            epoch: Epoch(epoch),
            round,
            node: node.map(NodeId),
        };
        let ascending = [
            ballot(0, 0, None),
            ballot(0, 0, Some(9)),
            ballot(0, 1, Some(1)),
            ballot(0, 1, Some(2)),
            ballot(0, 2, Some(1)),
            ballot(1, 0, None),
        ];
        assert!(ascending.is_sorted() && ascending[0] == Ballot::initial(Epoch(0)));
    }
}
