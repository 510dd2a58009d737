//! By chance, in proportion to the weights. Threads share nothing, not even a cursor.

use std::sync::Arc;

use super::Member;
use super::draw::Draws;
use super::members::Members;
use crate::backend::member::Backend;

/// Members to draw from.
#[derive(Debug)]
pub struct Random {
    members: Arc<Members>,
    draws: Draws,
}

impl Random {
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
        let index = self.draws.open(&self.members, tried)?;
        Some(&self.members[index].backend)
    }
}
