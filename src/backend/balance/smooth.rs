//! The smooth weighted rotation: weights 5, 1, 1 give a a b a c a a, over and over, never a burst.
//!
//! This is nginx's rule, each step the member whose weight times steps, less the sum of weights times its picks, is
//! greatest, the first among equals, computed ahead for one whole round. Members of equal weight stay in the order
//! of a queue, so a step compares the heads of as many queues as there are different weights: under 362, whatever
//! the number of members.

use std::collections::{BTreeMap, VecDeque};

/// A round is at most this long. Weights whose sum over their common divisor is above it are scaled to it.
const LONGEST: u64 = 65_536;

/// One round over members `0..n`, each as often as its weight over the common divisor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sequence {
    /// Equal weights: the members in order, nothing stored.
    InOrder(u32),
    /// The index of the member at each step.
    Steps(Box<[u16]>),
}

impl Sequence {
    /// The round of `weights`, of which at most 65,536 are looked at. Weight 0 has no place in it.
    pub fn new(weights: &[u16]) -> Self {
        let weights = &weights[..weights.len().min(LONGEST as usize)];
        let equal = weights.windows(2).all(|pair| pair[0] == pair[1]);
        if equal {
            let all = weights.first().is_some_and(|weight| *weight > 0);
            return Self::InOrder(if all { weights.len() as u32 } else { 0 });
        }
        Self::Steps(steps(&shares(weights)))
    }

    /// How many steps a round has; 0 if there is no member.
    pub fn len(&self) -> u64 {
        match self {
            Self::InOrder(members) => u64::from(*members),
            Self::Steps(steps) => steps.len() as u64,
        }
    }

    /// Whether it has no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The member at `position`, counted through all rounds. The sequence is not empty.
    pub fn at(&self, position: u64) -> usize {
        match self {
            Self::InOrder(members) => (position % u64::from(*members)) as usize,
            Self::Steps(steps) => usize::from(steps[(position % steps.len() as u64) as usize]),
        }
    }
}

/// The weights over their common divisor, scaled if their sum is too long a round; none falls to 0.
fn shares(weights: &[u16]) -> Vec<u64> {
    let divisor = weights.iter().fold(0, |divisor, weight| {
        common_divisor(divisor, u64::from(*weight))
    });
    let mut shares: Vec<u64> = weights
        .iter()
        .map(|weight| u64::from(*weight) / divisor.max(1))
        .collect();
    let sum: u64 = shares.iter().sum();
    if sum > LONGEST {
        for share in shares.iter_mut().filter(|share| **share > 0) {
            *share = (*share * LONGEST / sum).max(1);
        }
    }
    shares
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// Members of one weight, longest waiting first, with their picks so far.
struct Queue {
    share: i64,
    waiting: VecDeque<(i64, u16)>,
}

fn steps(shares: &[u64]) -> Box<[u16]> {
    let sum = shares.iter().sum::<u64>() as i64;
    let mut by_share: BTreeMap<u64, VecDeque<(i64, u16)>> = BTreeMap::new();
    for (index, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0) {
        by_share
            .entry(*share)
            .or_default()
            .push_back((0, index as u16));
    }
    let mut queues: Vec<Queue> = by_share
        .into_iter()
        .map(|(share, waiting)| Queue {
            share: share as i64,
            waiting,
        })
        .collect();
    let mut steps = Vec::with_capacity(sum as usize);
    for step in 1..=sum {
        // The greatest claim; of equal ones the lowest index.
        let claim = |queue: &Queue| {
            let (picks, index) = queue.waiting.front()?;
            Some((step * queue.share - sum * picks, std::cmp::Reverse(*index)))
        };
        let Some(queue) = queues.iter_mut().max_by_key(|queue| claim(queue)) else {
            break;
        };
        let Some((picks, index)) = queue.waiting.pop_front() else {
            break;
        };
        queue.waiting.push_back((picks + 1, index));
        steps.push(index);
    }
    steps.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(weights: &[u16]) -> Vec<usize> {
        let sequence = Sequence::new(weights);
        (0..sequence.len())
            .map(|position| sequence.at(position))
            .collect()
    }

    /// nginx's rule as it is usually written.
    fn textbook(weights: &[u16]) -> Vec<usize> {
        let sum: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
        let mut current = vec![0; weights.len()];
        (0..sum)
            .map(|_| {
                let mut best = 0;
                for (index, weight) in weights.iter().enumerate() {
                    current[index] += i64::from(*weight);
                    if current[index] > current[best] {
                        best = index;
                    }
                }
                current[best] -= sum;
                best
            })
            .collect()
    }

    #[test]
    fn five_one_one_is_smooth() {
        assert_eq!(round(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(
            round(&[50, 10, 10]),
            [0, 0, 1, 0, 2, 0, 0],
            "the common divisor goes"
        );
    }

    #[test]
    fn equal_weights_are_stored_as_their_number() {
        assert_eq!(Sequence::new(&[7; 10_000]), Sequence::InOrder(10_000));
        assert!(Sequence::new(&[]).is_empty());
        assert!(Sequence::new(&[0, 0]).is_empty());
    }

    #[test]
    fn long_rounds_are_scaled_and_leave_nobody_out() {
        let mut weights = vec![65_535; 9_999];
        weights.push(1);
        let sequence = Sequence::new(&weights);
        assert!(sequence.len() <= LONGEST + weights.len() as u64);
        let round: Vec<usize> = (0..sequence.len())
            .map(|position| sequence.at(position))
            .collect();
        assert_eq!(round.iter().filter(|member| **member == 9_999).count(), 1);
        assert_eq!(round.iter().filter(|member| **member == 0).count(), 6);
    }

    proptest::proptest! {
        #[test]
        fn it_is_the_textbook_rule(weights in proptest::collection::vec(1_u16..40, 1..20)) {
            let mut coprime = weights;
            coprime.push(41);
            proptest::prop_assert_eq!(round(&coprime), textbook(&coprime));
        }
    }
}
