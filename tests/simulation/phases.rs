//! The phases of a seed: faults, then a majority left alone that must commit, then all who must agree.

use std::collections::BTreeSet;

use rand::RngExt;
use rand::seq::SliceRandom;
use synod::paxos::{Input, NodeId};

use crate::follower::Happens;
use crate::mix::{Fault, MS, SECOND};
use crate::node::{Arrived, Node};
use crate::summary::Summary;
use crate::world::{Event, World};

/// What a majority that is left alone still has to do with the others, until all is well.
#[derive(Clone, Copy, PartialEq)]
enum Others {
    /// Links go on failing and healing.
    Faulty,
    CutOff,
    /// They are heard, and hear nothing.
    Deaf,
    /// Cut off; and of the majority itself all reach one, and no other.
    CutOffFromStar,
}

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
        for holder in 0..self.holders.len() {
            self.after(0, Event::Holder { holder, nth: 0 });
            self.after(0, Event::Claim { holder, nth: 0 });
        }
        self.after(self.mix.fault_every, Event::Chaos);
        if let Some(every) = self.mix.strand_every {
            self.after(every, Event::Strand);
        }
        self.after(0, Event::Follower(Happens::Start));
        while self.now < self.mix.safety {
            self.step();
        }
        let others = self.spare_majority();
        self.must_progress();
        if others == Others::Deaf {
            self.must_keep_leader();
        }
        self.spare_all();
        self.must_agree();
        self.summary.hash = self.trace.hash();
        self.summary.slots = self.oracle.chosen().0;
        self.summary
    }

    /// Faults stop on a random majority of each membership in force; the others may be cut off, or go on being faulty.
    fn spare_majority(&mut self) -> Others {
        self.mix.settles = true;
        self.mix.faults.retain(|fault| *fault != Fault::Change);
        let others = [
            Others::Faulty,
            Others::CutOff,
            Others::Deaf,
            Others::CutOffFromStar,
        ][self.rng.random_range(0..4)];
        self.spare_majorities(others);
        others
    }

    fn spare_majorities(&mut self, others: Others) {
        let mut spared = BTreeSet::new();
        for membership in self.oracle.in_force() {
            let mut voters: Vec<NodeId> = membership.voters.iter().copied().collect();
            voters.shuffle(&mut self.rng);
            // A damaged voter has no vote until it was synced: the majority is one of the others. Who is spared already
            // stays so.
            voters.sort_by_key(|node| (self.is_harmed(*node), !self.node(*node).spared));
            spared.extend(voters.into_iter().take(membership.quorum()));
        }
        let already = self.nodes.iter().filter(|node| node.spared);
        spared.extend(already.map(|node| node.id));
        let spared: Vec<NodeId> = spared.into_iter().collect();
        let all = self.nodes.iter().map(|node| node.id);
        let alone: Vec<NodeId> = all.filter(|node| !spared.contains(node)).collect();
        self.note(format_args!("faults stop on {spared:?}"));
        self.links.release();
        self.links.mend(Some(&spared));
        for (a, b) in spared.iter().flat_map(|a| alone.iter().map(|b| (*a, *b))) {
            if others != Others::Faulty {
                self.links.hold(a, b);
            }
            if matches!(others, Others::CutOff | Others::CutOffFromStar) {
                self.links.hold(b, a);
            }
        }
        if others == Others::CutOffFromStar && self.oracle.in_force().len() == 1 {
            let leaves = &spared[1..];
            for (a, b) in leaves.iter().flat_map(|a| leaves.iter().map(|b| (*a, *b))) {
                self.links.hold(a, b);
            }
        }
        for node in &spared {
            self.spare(*node);
        }
        self.reachable = spared;
        self.links_changed();
    }

    fn must_progress(&mut self) {
        if self.rng.random_bool(0.3) {
            // An operator names whoever comes to mind, well or not.
            let to = Some(self.nodes[self.rng.random_range(0..self.nodes.len())].id);
            for node in self.reachable.clone() {
                self.arrives(node, Arrived::Input(Input::Transfer { to }));
            }
        }
        let (writes, reads) = (self.summary.writes + 5, self.summary.reads + 2);
        let mut bound = self.patience();
        let mut newest = self.oracle.newest().clone();
        while self.summary.writes < writes || self.summary.reads < reads {
            assert!(self.now < bound, "a connected majority makes no progress");
            self.step();
            // A change that was on its way may be chosen only now.
            if *self.oracle.newest() != newest {
                newest = self.oracle.newest().clone();
                self.spare_majorities(Others::Faulty);
                bound = self.patience();
            }
        }
    }

    /// Who is heard and hears nothing deposes nobody: a majority keeps its leader.
    fn must_keep_leader(&mut self) {
        let (in_force, led) = (self.oracle.in_force(), self.summary.leaderships);
        let until = self.now + 12 * self.mix.election_timeout.as_micros() as u64;
        while self.now < until {
            self.step();
        }
        let led = self.summary.leaderships - led;
        // What was on its way as the faults stopped may still depose one or another.
        assert!(
            led <= 3 || self.oracle.in_force() != in_force,
            "a connected majority has had {led} leaders"
        );
    }

    fn patience(&self) -> u64 {
        self.now + 30 * self.mix.election_timeout.as_micros() as u64 + 10 * SECOND
    }

    fn spare_all(&mut self) {
        self.note(format_args!("faults stop"));
        self.mix.faults.clear();
        self.follower.spared = true;
        self.links.release();
        self.links.mend(None);
        let well = self.nodes.iter().filter(|node| !node.lost);
        self.reachable = well.map(|node| node.id).collect();
        for node in self.reachable.clone() {
            self.spare(node);
        }
        self.links_changed();
    }

    /// Every voter applies all that is chosen by now.
    fn must_agree(&mut self) {
        let goal = self.oracle.chosen();
        let voters = self.oracle.newest().voters.clone();
        // Who is in sync and far behind gets a window at a time, beside all that is written meanwhile.
        let last = |node: &Node| node.process.as_ref().map(|process| process.replica.last());
        let reached = self.nodes.iter().filter(|node| voters.contains(&node.id));
        let least = reached.filter_map(last).min().unwrap_or_default();
        let windows = goal.since(least).div_ceil(self.mix.window_entries as u64);
        let bound = self.patience() + windows * 2 * self.mix.heartbeat.as_micros() as u64;
        let behind = |node: &Node| {
            node.process
                .as_ref()
                .is_none_or(|process| process.machine.applied() < goal.0)
        };
        while self
            .nodes
            .iter()
            .any(|node| voters.contains(&node.id) && !node.lost && behind(node))
        {
            assert!(self.now < bound, "a connected voter does not catch up");
            self.step();
        }
        while self.follower.applied() < goal.0 {
            assert!(self.now < bound, "a follower does not catch up");
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
