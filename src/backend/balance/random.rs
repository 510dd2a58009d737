//! By chance, in proportion to the weights. Threads share nothing, not even a cursor.

use std::sync::Arc;

use super::Member;
use super::draw::Draws;
use crate::backend::member::Backend;

/// Members to draw from.
#[derive(Debug)]
pub struct Random {
    members: Box<[Member]>,
    draws: Draws,
}

impl Random {
    pub(super) fn new(members: Vec<Member>) -> Self {
        Self {
            draws: Draws::new(&members),
            members: members.into(),
        }
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn pick(&self, tried: &[u64]) -> Option<&Arc<Backend>> {
        let index = self.draws.open(&self.members, tried)?;
        Some(&self.members[index].backend)
    }
}
