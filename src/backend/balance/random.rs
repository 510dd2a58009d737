//! By chance, in proportion to the weights. Threads share nothing, not even a cursor.

use super::Member;
use super::draw::Draws;
use super::members::Members;

#[derive(Debug)]
pub(super) struct Random(Draws);

impl Random {
    pub(super) fn new(members: &[Member]) -> Self {
        Self(Draws::new(members))
    }

    pub(super) fn pick(&self, members: &Members, tried: &[u64]) -> Option<usize> {
        self.0.open(members, tried)
    }
}
