//! Smooth weighted round robin, exact over the whole node: every thread takes its next position from one cursor.
//!
//! The cursor lives with the pool, so a rebuilt pool goes on where it was, and a pool that is refreshed all the time
//! starves nobody.

use std::sync::Arc;

use super::{Cursor, Member, Sequence, draw};
use crate::backend::member::Backend;
use crate::backend::runtime::PoolRuntime;

/// How far a pick looks down the rotation past members that are closed, down or tried; beyond that any other will do.
/// Further than a pool has members, so that a rack that is down is passed over by one pick a round, and not by all.
const LOOK: u64 = 16_384;

/// Members in smooth rotation.
#[derive(Debug)]
pub struct RoundRobin {
    members: Box<[Member]>,
    sequence: Sequence,
    runtime: Arc<PoolRuntime>,
}

impl RoundRobin {
    pub(super) fn new(members: Vec<Member>, runtime: &Arc<PoolRuntime>) -> Self {
        let weights: Vec<u16> = members.iter().map(|member| member.weight).collect();
        Self {
            members: members.into(),
            sequence: Sequence::new(&weights),
            runtime: runtime.clone(),
        }
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn pick(&self, tried: &[u64]) -> Option<&Arc<Backend>> {
        if self.sequence.is_empty() {
            return None;
        }
        let cursor: &Cursor = self.runtime.cursor();
        let position = cursor.next();
        let member = &self.members[self.sequence.at(position)];
        if member.open_to_by(tried, draw) {
            return Some(&member.backend);
        }
        self.pick_after(position, tried)
    }

    /// What is passed over is taken out of the rotation too, so that the member behind it does not get its share.
    #[cold]
    fn pick_after(&self, position: u64, tried: &[u64]) -> Option<&Arc<Backend>> {
        for ahead in 1..LOOK.min(self.sequence.len()) {
            let member = &self.members[self.sequence.at(position.wrapping_add(ahead))];
            if member.open_to_by(tried, draw) {
                self.runtime.cursor().skip(ahead);
                return Some(&member.backend);
            }
        }
        let (late, early) = self
            .members
            .split_at(position as usize % self.members.len());
        let mut others = early.iter().chain(late);
        others
            .find(|member| member.open_to(tried))
            .map(|member| &member.backend)
    }
}
