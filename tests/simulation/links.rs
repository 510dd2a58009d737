//! The network between voters: which links are cut, and when a message arrives.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand::rngs::StdRng;
use synod::paxos::NodeId;

use crate::mix::{MS, Mix, SECOND};

/// All links, by direction.
#[derive(Default)]
pub(crate) struct Links {
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Cut for as long as a majority is left alone.
    held: BTreeSet<(NodeId, NodeId)>,
    /// When the last message of a direction arrives: without reordering the next one arrives later.
    busy: BTreeMap<(NodeId, NodeId), u64>,
}

impl Links {
    pub(crate) fn carries(&self, from: NodeId, to: NodeId) -> bool {
        !self.cut.contains(&(from, to)) && !self.held.contains(&(from, to))
    }

    pub(crate) fn connects(&self, a: NodeId, b: NodeId) -> bool {
        self.carries(a, b) && self.carries(b, a)
    }

    pub(crate) fn cut_one_way(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    pub(crate) fn cut(&mut self, a: NodeId, b: NodeId) {
        self.cut.extend([(a, b), (b, a)]);
    }

    /// Cuts a link so that it is not mended with the others.
    pub(crate) fn hold(&mut self, from: NodeId, to: NodeId) {
        self.held.insert((from, to));
    }

    pub(crate) fn release(&mut self) {
        self.held.clear();
    }

    /// Mends all links, or those between `spared` voters alone.
    pub(crate) fn mend(&mut self, spared: Option<&[NodeId]>) {
        match spared {
            None => self.cut.clear(),
            Some(spared) => self
                .cut
                .retain(|(from, to)| !(spared.contains(from) && spared.contains(to))),
        }
    }

    /// When copies of a message sent now arrive.
    pub(crate) fn arrivals(
        &mut self,
        rng: &mut StdRng,
        mix: &Mix,
        calm: bool,
        now: u64,
        link: (NodeId, NodeId),
    ) -> Vec<u64> {
        if calm {
            return vec![now + rng.random_range(100..MS)];
        }
        let mut arrivals = Vec::new();
        if rng.random_bool(mix.stray) {
            arrivals.push(now + rng.random_range(MS..5 * SECOND));
        }
        if rng.random_bool(mix.loss) {
            return arrivals;
        }
        let copies = if rng.random_bool(mix.duplication) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let mut at = now + 50 + rng.random_range(0..mix.delay);
            if !mix.reorder {
                let busy = self.busy.entry(link).or_default();
                at = at.max(*busy + 1);
                *busy = at;
            }
            arrivals.push(at);
        }
        arrivals
    }
}
