//! Draws members in proportion to their weights, in constant time: Walker's alias table, built by Vose's method.
//!
//! Each column holds one member up to a mark and another above it, so one draw decides column and side. A member that
//! may not be picked is drawn past; if that takes too long, one is drawn of those that may be.

use std::cell::Cell;

use super::Member;
use super::members::Members;

/// Draws among all members before one among those that are open: with a tenth of the weight left one pick in thirty
/// gets there.
const DRAWS: usize = 32;

/// Draws for a second member.
const SECOND_DRAWS: usize = 8;

/// A way to draw from members whose order is fixed.
#[derive(Debug)]
pub(super) struct Draws {
    count: u32,
    /// Empty if all weights are equal.
    columns: Box<[Column]>,
}

#[derive(Debug, Clone, Copy)]
struct Column {
    /// Of 2^32: below it the column is its own, from it on the other's.
    mark: u32,
    other: u32,
}

impl Draws {
    pub(super) fn new(members: &[Member]) -> Self {
        let equal = members
            .windows(2)
            .all(|pair| pair[0].weight == pair[1].weight);
        Self {
            count: members.len() as u32,
            columns: if equal {
                Box::default()
            } else {
                columns(members)
            },
        }
    }

    /// One that is open, by weight.
    pub(super) fn open(&self, members: &Members, tried: &[u64]) -> Option<usize> {
        if self.count == 0 {
            return None;
        }
        let mut draws = (0..DRAWS).map(|_| self.any());
        draws
            .find(|index| members[*index].open_to_by(tried, draw))
            .or_else(|| members.by_chance(tried))
    }

    /// Two that are open, if there are: the first by weight, the second evenly of all others, so that there is an
    /// alternative to a heavy one too.
    pub(super) fn two(&self, members: &Members, tried: &[u64]) -> Option<(usize, Option<usize>)> {
        let first = self.open(members, tried)?;
        let others = u64::from(self.count) - 1;
        if others == 0 {
            return Some((first, None));
        }
        let other = |_| (first + 1 + below(others) as usize) % members.len();
        let mut draws = (0..SECOND_DRAWS).map(other);
        let second = draws.find(|index| members[*index].open_to(tried));
        // Who warms has one chance, for many would add up to its whole share.
        let second = second.filter(|index| members[*index].open_to_by(tried, draw));
        Some((first, second))
    }

    fn any(&self) -> usize {
        let draw = draw();
        // The upper half times the count: its upper half in turn is the column, as even as 32 bits allow.
        let column = ((draw >> 32) * u64::from(self.count)) >> 32;
        match self.columns.get(column as usize) {
            Some(Column { mark, other }) if draw as u32 >= *mark => *other as usize,
            _ => column as usize,
        }
    }
}

fn columns(members: &[Member]) -> Box<[Column]> {
    let sum: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
    let count = members.len() as u64;
    // A column's own share, in units of which a full column has `sum`.
    let mut own: Vec<u64> = members
        .iter()
        .map(|member| u64::from(member.weight) * count)
        .collect();
    let mut columns: Vec<Column> = (0..members.len() as u32)
        .map(|own| Column {
            mark: u32::MAX,
            other: own,
        })
        .collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..own.len()).partition(|index| own[*index] < sum);
    while let (Some(less), Some(more)) = (small.pop(), large.pop()) {
        columns[less] = Column {
            mark: ((u128::from(own[less]) << 32) / u128::from(sum)) as u32,
            other: more as u32,
        };
        own[more] -= sum - own[less];
        if own[more] < sum {
            small.push(more);
        } else {
            large.push(more);
        }
    }
    columns.into()
}

/// Evenly from 0 to below `bound`, which is above 0.
fn below(bound: u64) -> u64 {
    ((u128::from(draw()) * u128::from(bound)) >> 64) as u64
}

thread_local! {
    static STATE: Cell<u64> = Cell::new(rand::random());
}

/// 64 bits by chance (SplitMix64, seeded by the system once a thread): cheap, and nobody's secret.
pub fn draw() -> u64 {
    let state = STATE.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    STATE.set(state);
    mixed(state)
}

/// What chance gives on this thread from here on.
#[cfg(test)]
pub(super) fn seed(seed: u64) {
    STATE.set(seed);
}

/// Another number for each, and every bit of it as good as chance.
pub(super) fn mixed(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::backend::Registry;
    use crate::config::Name;

    pub(in crate::backend::balance) fn members(weights: &[u16]) -> Vec<Member> {
        let registry = Registry::scratch();
        let name = |text: &str| Name::new(text).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let member = |(index, weight): (usize, &u16)| Member {
            backend: registry.backend(&name("web"), &name(&format!("b{index}")), address),
            weight: *weight,
        };
        weights.iter().enumerate().map(member).collect()
    }

    proptest::proptest! {
        #[test]
        fn the_columns_hold_each_member_by_its_weight(weights in proptest::collection::vec(1_u16.., 1..60)) {
            let mut held = vec![0; weights.len()];
            for (own, column) in columns(&members(&weights)).iter().enumerate() {
                held[own] += u64::from(column.mark);
                held[column.other as usize] += (1 << 32) - u64::from(column.mark);
            }
            let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            for (held, weight) in held.iter().zip(&weights) {
                let expected = u128::from(*weight) * weights.len() as u128 * (1 << 32) / u128::from(sum);
                proptest::prop_assert!(u128::from(*held).abs_diff(expected) <= 1 + weights.len() as u128);
            }
        }
    }

    #[test]
    fn who_warms_is_one_of_two_by_its_part() {
        let members = members(&[1; 2]);
        members.iter().for_each(|member| member.backend.open());
        members[1].backend.warm_up(std::time::Instant::now());
        let (draws, members) = (Draws::new(&members), Members::new(members));
        let two = |_| draws.two(&members, &[]).unwrap();
        let pairs: Vec<_> = (0..10_000).map(two).collect();
        let first = pairs.iter().filter(|(first, _)| *first == 1).count();
        let second = pairs.iter().filter(|(_, second)| *second == Some(1));
        // A tenth of an equal share, and a tenth of the rest.
        let second = second.count();
        assert!(first.abs_diff(909) < 250, "{first}");
        assert!(second.abs_diff(909) < 250, "{second}");
    }
}
