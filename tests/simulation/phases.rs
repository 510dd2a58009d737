//! The phases of a seed: faults, then a majority left alone that must commit, then all who must agree.

use rand::RngExt;
use rand::seq::SliceRandom;
use synod::paxos::NodeId;

use crate::mix::{MS, SECOND};
use crate::node::Node;
use crate::summary::Summary;
use crate::world::{Event, World};

impl World {
    /// Runs all phases.
    ///
    /// # Panics
    /// When an invariant is broken, or progress is not made.
    pub(crate) fn run(mut self) -> Summary {
        for node in self.reachable.clone() {
            self.after(0, Event::Start(node));
        }
        for client in 0..self.clients.len() {
            self.after(
                0,
                Event::Client {
                    client,
                    nth: 0,
                    tries: 0,
                },
            );
        }
        self.after(self.mix.fault_every, Event::Chaos);
        while self.now < self.mix.safety {
            self.step();
        }
        self.spare_majority();
        self.must_progress();
        self.spare_all();
        self.must_agree();
        self.summary.hash = self.trace.hash();
        self.summary.slots = self.oracle.chosen().0;
        self.summary
    }

    /// Faults stop on a random majority; the others may be cut off, or go on being faulty.
    fn spare_majority(&mut self) {
        let mut spared: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        spared.shuffle(&mut self.rng);
        // A damaged voter has no vote until it was synced: the majority is one of the others.
        spared.sort_by_key(|node| self.is_harmed(*node));
        let alone = spared.split_off(spared.len() / 2 + 1);
        self.note(format_args!("faults stop on {spared:?}"));
        self.links.mend(Some(&spared));
        if self.rng.random() {
            for (a, b) in spared.iter().flat_map(|a| alone.iter().map(|b| (*a, *b))) {
                self.links.cut(a, b);
            }
        }
        for node in &spared {
            self.spare(*node);
        }
        self.reachable = spared;
        self.links_changed();
    }

    fn must_progress(&mut self) {
        let (writes, reads) = (self.summary.writes + 5, self.summary.reads + 2);
        let bound = self.now + 30 * self.mix.election_timeout.as_micros() as u64 + 10 * SECOND;
        while self.summary.writes < writes || self.summary.reads < reads {
            assert!(self.now < bound, "a connected majority makes no progress");
            self.step();
        }
    }

    fn spare_all(&mut self) {
        self.note(format_args!("faults stop"));
        self.mix.faults.clear();
        self.links.mend(None);
        self.reachable = self.nodes.iter().map(|node| node.id).collect();
        for node in self.reachable.clone() {
            self.spare(node);
        }
        self.links_changed();
    }

    /// Everyone applies all that is chosen by now.
    fn must_agree(&mut self) {
        let goal = self.oracle.chosen();
        let bound = self.now + 30 * self.mix.election_timeout.as_micros() as u64 + 10 * SECOND;
        let behind = |node: &Node| {
            node.process
                .as_ref()
                .is_none_or(|process| process.machine.applied() < goal.0)
        };
        while self.nodes.iter().any(behind) {
            assert!(self.now < bound, "a connected voter does not catch up");
            self.step();
        }
    }

    fn spare(&mut self, node: NodeId) {
        let sync = self.mix.sync.min(5 * MS);
        let it = self.node(node);
        it.spared = true;
        it.sync = sync;
        it.memory.limit(None);
        it.memory.heal();
        if it.paused.is_some() {
            self.resume(node);
        }
        if !self.node(node).is_up() {
            self.after(0, Event::Start(node));
        }
    }
}
