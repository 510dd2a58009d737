//! The less loaded of two, the first drawn by weight: nearly as even as the least of all, and no herd runs to one that
//! is idle.
//!
//! Load is in-flight over weight, plus one. Because the first draw goes by weight already, members without load get
//! their shares; drawing evenly and weighing in-flight plus one would give a light member nothing in a quiet pool.

use std::sync::Arc;

use super::Member;
use super::draw::Draws;
use super::members::Members;
use crate::backend::member::Backend;

/// Members to draw from.
#[derive(Debug)]
pub struct PowerOfTwo {
    members: Arc<Members>,
    draws: Draws,
}

impl PowerOfTwo {
    pub(super) fn new(members: Vec<Member>) -> Self {
        Self {
            draws: Draws::new(&members),
            members: Arc::new(Members::new(members)),
        }
    }

    pub(super) fn members(&self) -> &Arc<Members> {
        &self.members
    }

    pub(super) fn pick(&self, tried: &[u64]) -> Option<&Arc<Backend>> {
        let (first, second) = self.draws.two(&self.members, tried)?;
        let first = &self.members[first];
        let picked = match second.map(|second| &self.members[second]) {
            Some(second) if less_loaded(second, first) => second,
            _ => first,
        };
        Some(&picked.backend)
    }
}

/// By cross-multiplication; the plus one on both sides falls out.
fn less_loaded(one: &Member, other: &Member) -> bool {
    let load = |of: &Member, by: &Member| u64::from(of.backend.in_flight()) * by.share();
    load(one, other) < load(other, one)
}
