//! Smooth weighted round robin, exact over the whole node: every thread takes its next position from one cursor.
//!
//! The cursor lives with the pool, so a rebuilt pool goes on where it was, and a pool that is refreshed all the time
//! starves nobody.

use std::sync::Arc;

use super::members::Members;
use super::{Member, Sequence, draw};
use crate::backend::runtime::PoolRuntime;

/// How far a pick looks down a rotation of unequal weights past members that are closed, down, full or tried. Behind
/// that it takes any other by weight: a longer gap is spread over all, and what each gets stays within a few of exact.
const LOOK: u64 = 256;

/// Members that warm, passed over before one is taken that does.
const WARMING: usize = 32;

/// 2^64 over the golden ratio: multiples of it fall as evenly as any into 2^64, however many there are.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

#[derive(Debug)]
pub(super) struct RoundRobin {
    sequence: Sequence,
    runtime: Arc<PoolRuntime>,
}

impl RoundRobin {
    pub(super) fn new(members: &[Member], runtime: &Arc<PoolRuntime>) -> Self {
        let weights: Vec<u16> = members.iter().map(|member| member.weight).collect();
        Self {
            sequence: Sequence::new(&weights),
            runtime: runtime.clone(),
        }
    }

    pub(super) fn pick(&self, members: &Members, tried: &[u64]) -> Option<usize> {
        if self.sequence.is_empty() {
            return None;
        }
        let position = self.runtime.cursor().next();
        let index = self.sequence.at(position);
        if members[index].open_to_by(tried, draw) {
            return Some(index);
        }
        self.pick_after(position, members, tried)
    }

    #[cold]
    fn pick_after(&self, position: u64, members: &Members, tried: &[u64]) -> Option<usize> {
        match self.sequence {
            Sequence::InOrder(_) => self.next_in_order(position, members, tried),
            Sequence::Steps(_) => self.next_step(position, members, tried),
        }
    }

    /// The next open one in the order of the members: however many are passed over, it is exact. They are taken out of
    /// the rotation too, so that the member behind them does not get their share.
    fn next_in_order(&self, position: u64, members: &Members, tried: &[u64]) -> Option<usize> {
        let count = members.len();
        let at = self.sequence.at(position);
        let mut ahead = 1;
        for _ in 0..WARMING {
            let from = (at + ahead) % count;
            let index = members.from(from, tried)?;
            ahead += (count + index - from) % count;
            if ahead >= count {
                break;
            }
            if members[index].open_to_by(tried, draw) {
                self.runtime.cursor().skip(ahead as u64);
                return Some(index);
            }
            ahead += 1;
        }
        members.from(at, tried)
    }

    /// The next open one of the sequence, as far as it is looked at.
    fn next_step(&self, position: u64, members: &Members, tried: &[u64]) -> Option<usize> {
        let look = LOOK.min(self.sequence.len());
        for ahead in 1..look {
            let index = self.sequence.at(position.wrapping_add(ahead));
            if members[index].open_to_by(tried, draw) {
                self.runtime.cursor().skip(ahead);
                return Some(index);
            }
        }
        let part = self.runtime.spare().next().wrapping_mul(GOLDEN);
        let found = members.at_part(part, tried)?;
        if look < self.sequence.len() {
            self.runtime.cursor().skip(look - 1);
        }
        Some(found)
    }
}
