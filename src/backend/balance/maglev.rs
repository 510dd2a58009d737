//! Consistent hashing by a Maglev table (Eisenbud et al., 2016): equal keys go to the same member, and a change of the
//! members moves little more than the keys of what came or went.
//!
//! The table is built from the ids and weights of all members with a weight, drained ones too, so it is the same on
//! every node and a flap of health moves no keys of others: whoever may not be picked is passed over at the pick, in
//! an order of its own for each key. With bounded load, so is who has more than 125 % of its share in flight
//! (Mirrokni et al., 2016). That order is followed only so far: behind it a key that finds nobody open has one of those
//! that are, always the same, and one that finds nobody with room, being hot, is spread over all others.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use twox_hash::XxHash3_64;

use super::Member;
use super::draw::draw;
use super::members::Members;
use crate::backend::runtime::PoolRuntime;

/// A prime, so that every step visits every slot.
const SLOTS: usize = 65_537;

/// Slots of a key that are looked at.
const LOOK: usize = 256;

/// Members drawn by weight for a key that found none with room. At most four fifths of the weight have none, so that
/// one in a million finds none here.
const SPREAD: usize = 64;

#[derive(Debug)]
pub(super) struct Maglev {
    /// The index of a member; empty if there is none.
    table: Box<[u16]>,
    bounded: bool,
    runtime: Arc<PoolRuntime>,
}

impl Maglev {
    /// Over these, which are [in order](in_order).
    pub(super) fn new(members: &[Member], bounded: bool, runtime: &Arc<PoolRuntime>) -> Self {
        Self {
            table: table(members),
            bounded,
            runtime: runtime.clone(),
        }
    }

    pub(super) fn pick(&self, members: &Members, hash: u64, tried: &[u64]) -> Option<usize> {
        let mut full = None;
        for slot in self.slots(hash).take(LOOK) {
            let index = usize::from(*slot);
            if members[index].open_to_by(tried, || warmth(hash)) {
                if self.has_room(members, index) {
                    return Some(index);
                }
                full = full.or(Some(index));
            }
        }
        self.beyond(members, full, hash, tried)
    }

    /// The slot of a key, and those behind it: neighbours in the table have nothing to do with each other.
    fn slots(&self, hash: u64) -> impl Iterator<Item = &u16> {
        let first = (hash % SLOTS as u64) as usize;
        let (early, late) = self.table.split_at(first.min(self.table.len()));
        late.iter().chain(early)
    }

    /// Whether one more request is within 125 % of the member's share of all that the pool has in flight.
    fn has_room(&self, members: &Members, index: usize) -> bool {
        if !self.bounded {
            return true;
        }
        let member = &members[index];
        let all = u64::from(self.runtime.budget().active()) + 1;
        let share = all * u64::from(member.weight) * 5;
        let bound = share.div_ceil(members.available_weight().max(1) * 4);
        u64::from(member.backend.in_flight()) < bound
    }

    /// For a key none of whose slots has a member with room; the first open one of them is `full`.
    #[cold]
    fn beyond(
        &self,
        members: &Members,
        full: Option<usize>,
        hash: u64,
        tried: &[u64],
    ) -> Option<usize> {
        let index = full.or_else(|| members.for_key(hash, tried))?;
        if self.has_room(members, index) {
            return Some(index);
        }
        let mut others = (0..SPREAD).filter_map(|_| members.at_part(draw(), tried));
        let other = others.find(|other| self.has_room(members, *other));
        other.or(Some(index))
    }
}

/// The order that the table is built in, which is not that in which somebody wrote them.
pub(super) fn in_order(mut members: Vec<Member>) -> Vec<Member> {
    members.sort_by(|a, b| a.backend.id.cmp(&b.backend.id));
    members
}

/// Of a key, whether a member that warms takes it: always the same, so that it takes more of its keys by and by, and
/// gives none back.
fn warmth(hash: u64) -> u64 {
    XxHash3_64::oneshot_with_seed(2, &hash.to_le_bytes())
}

/// A member's way through the slots, in an order of its own.
struct Way {
    next: usize,
    step: usize,
    taken: u64,
}

/// In rounds, each member takes its next free slot as often as its weight against the greatest one allows: its turn
/// `k` is in round `k * greatest / weight`. So all have one in the first round, and none starves.
fn table(members: &[Member]) -> Box<[u16]> {
    let Some(greatest) = members.iter().map(|member| u64::from(member.weight)).max() else {
        return Box::default();
    };
    let mut ways: Vec<Way> = members.iter().map(way).collect();
    let mut turns: BinaryHeap<Reverse<(u64, u16)>> = (0..)
        .zip(members)
        .map(|(index, _)| Reverse((0, index)))
        .collect();
    let mut table = vec![None; SLOTS];
    for _ in 0..SLOTS {
        let Some(Reverse((_, index))) = turns.pop() else {
            break;
        };
        let way = &mut ways[usize::from(index)];
        while table[way.next].is_some() {
            way.next = (way.next + way.step) % SLOTS;
        }
        table[way.next] = Some(index);
        way.taken += 1;
        let weight = u64::from(members[usize::from(index)].weight);
        turns.push(Reverse((way.taken * greatest / weight, index)));
    }
    table.into_iter().map(Option::unwrap_or_default).collect()
}

fn way(member: &Member) -> Way {
    let hash = |seed| XxHash3_64::oneshot_with_seed(seed, member.backend.id.as_str().as_bytes());
    Way {
        next: (hash(0) % SLOTS as u64) as usize,
        step: (hash(1) % (SLOTS as u64 - 1)) as usize + 1,
        taken: 0,
    }
}

#[cfg(test)]
mod tests;
