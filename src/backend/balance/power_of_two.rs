//! The less loaded of two, the first drawn by weight: nearly as even as the least of all, and no herd runs to one that
//! is idle.
//!
//! Load is in-flight over weight, plus one. Because the first draw goes by weight already, members without load get
//! their shares; drawing evenly and weighing in-flight plus one would give a light member nothing in a quiet pool.

use super::Member;
use super::draw::Draws;
use super::members::Members;

#[derive(Debug)]
pub(super) struct PowerOfTwo(Draws);

impl PowerOfTwo {
    pub(super) fn new(members: &[Member]) -> Self {
        Self(Draws::new(members))
    }

    pub(super) fn pick(&self, members: &Members, tried: &[u64]) -> Option<usize> {
        let (first, second) = self.0.two(members, tried)?;
        let better = second.filter(|second| less_loaded(&members[*second], &members[first]));
        better.or(Some(first))
    }
}

/// By cross-multiplication; the plus one on both sides falls out.
fn less_loaded(one: &Member, other: &Member) -> bool {
    let load = |of: &Member, by: &Member| u64::from(of.backend.in_flight()) * by.share();
    load(one, other) < load(other, one)
}
