//! Faults that strike while the simulation runs.

use rand::RngExt;
use rand::seq::SliceRandom;
use synod::paxos::{Ballot, Epoch, Input, Membership, NodeId, ProposalId, Role};
use synod::replication::storage::{Memory, Wal, WalOptions};

use crate::clients::{Call, NOBODY, What, write};
use crate::mix::{Fault, MS, SECOND};
use crate::node::Arrived;
use crate::world::{Event, World};

impl World {
    /// One of the seed's faults strikes somewhere; its end is scheduled.
    pub(crate) fn strike(&mut self) {
        let every = self.mix.fault_every;
        let next = self.rng.random_range(every / 4..every * 2);
        self.after(next, Event::Chaos);
        let targets: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|node| !node.spared)
            .map(|node| node.id)
            .collect();
        if targets.is_empty() || self.mix.faults.is_empty() {
            return;
        }
        let fault = self.mix.faults[self.rng.random_range(0..self.mix.faults.len())];
        let node = self.victim(&targets);
        self.note(format_args!("fault {fault:?} {node}"));
        match fault {
            Fault::Crash => self.end(node, true),
            Fault::Kill => self.end(node, false),
            Fault::Pause => self.pause(node),
            Fault::SlowDisk => {
                let sync = self.rng.random_range(0..SECOND);
                self.node(node).sync = sync;
                self.end_after(3 * SECOND, Event::Mend(node));
            }
            Fault::SyncError => {
                let (n, write) = (self.rng.random_range(0..4), self.rng.random_bool(0.3));
                let memory = &self.node(node).memory;
                if write {
                    memory.fail_write_after(n)
                } else {
                    memory.fail_sync_after(n)
                }
            }
            Fault::FullDisk => {
                self.node(node).memory.limit(Some(0));
                self.end_after(3 * SECOND, Event::Mend(node));
            }
            Fault::Rot => self.rot(node),
            Fault::Lose => self.lose_disk(node),
            Fault::Change => self.change_members(),
            Fault::Transfer => {
                let named = self.rng.random_range(0..=self.nodes.len());
                let to = self.nodes.get(named).map(|node| node.id);
                self.arrives(node, Arrived::Input(Input::Transfer { to }));
                if self.rng.random() {
                    self.end_after(4 * SECOND, Event::HandBack(node));
                }
            }
            Fault::Partition | Fault::OneWay | Fault::Chain | Fault::Cut => {
                self.cut(fault, &targets)
            }
        }
    }

    /// Half of the faults seek out who leads or thinks so: there they do most.
    fn victim(&mut self, targets: &[NodeId]) -> NodeId {
        let leaders = self.leaders(targets);
        let from = if leaders.is_empty() || self.rng.random() {
            targets
        } else {
            &leaders
        };
        from[self.rng.random_range(0..from.len())]
    }

    fn cut(&mut self, fault: Fault, targets: &[NodeId]) {
        let mut all: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        all.shuffle(&mut self.rng);
        // While a majority is spared, only links of the others break.
        let hits = |a: NodeId, b: NodeId| targets.contains(&a) || targets.contains(&b);
        let pairs: Vec<(NodeId, NodeId)> = match fault {
            Fault::Partition => {
                let (left, right) = all.split_at(self.rng.random_range(1..all.len()));
                left.iter()
                    .flat_map(|a| right.iter().map(|b| (*a, *b)))
                    .collect()
            }
            Fault::Chain => {
                let apart = |a: usize, b: usize| (all[a], all[b]);
                (0..all.len())
                    .flat_map(|a| (a + 2..all.len()).map(move |b| (a, b)))
                    .map(|(a, b)| apart(a, b))
                    .collect()
            }
            _ => vec![(all[0], all[1])],
        };
        for (a, b) in pairs.into_iter().filter(|(a, b)| hits(*a, *b)) {
            if fault == Fault::OneWay {
                self.links.cut_one_way(a, b)
            } else {
                self.links.cut(a, b)
            }
        }
        self.links_changed();
        self.end_after(4 * SECOND, Event::Heal);
        let bursts = self.rng.random();
        for node in self.leaders(targets) {
            if bursts {
                let count = [5, 30, 200][self.rng.random_range(0..3)];
                self.burst(node, count);
            }
            self.probe(node);
        }
    }

    /// Those that lead or think so.
    pub(crate) fn leaders(&self, of: &[NodeId]) -> Vec<NodeId> {
        let leads = |node: &NodeId| {
            let process = self.nodes[node.0 as usize - 1].process.as_ref();
            process.is_some_and(|process| process.replica.role() == Role::Leader)
        };
        of.iter().copied().filter(leads).collect()
    }

    /// Whoever leads or thinks so hands over to a voter that led before.
    pub(crate) fn hand_back(&mut self, to: NodeId) {
        let all: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        if self.mix.settles {
            return;
        }
        for node in self.leaders(&all) {
            let input = Input::Transfer { to: Some(to) };
            self.arrives(node, Arrived::Input(input));
        }
    }

    /// Whoever leads or thinks so is asked to be read from for a while: others may lead by then.
    pub(crate) fn probe(&mut self, node: NodeId) {
        for _ in 0..10 {
            let delay = self.rng.random_range(0..SECOND);
            let (client, nth, what) = (NOBODY, 0, What::Read);
            let call = Call { client, nth, what };
            self.after(delay, Event::Call { node, call });
        }
    }

    /// Whoever leads or thinks so has much to propose at once: cut off, it holds what nobody else does.
    pub(crate) fn burst(&mut self, node: NodeId, count: u32) {
        for _ in 0..count {
            let Some(process) = self.node(node).process.as_mut() else {
                return;
            };
            process.next += 1;
            let id = ProposalId(process.next);
            self.bursts += 1;
            let unique = 15_000_000 + self.bursts;
            let key = format!("burst-{unique}");
            let command = write(&mut self.rng, 0, &key, unique);
            self.arrives(node, Arrived::Input(Input::Propose { id, command }));
        }
    }

    /// Whether the voter's log is, or may be found, damaged; or is lost.
    pub(crate) fn is_harmed(&self, node: NodeId) -> bool {
        let it = &self.nodes[node.0 as usize - 1];
        it.rotten || it.lost || self.oracle.is_damaged(node)
    }

    /// Whether the voter's disk may be harmed, so that only a minority ever is at a time.
    fn may_be_harmed(&self, node: NodeId) -> bool {
        let too_many = |membership: &Membership| {
            let voters = membership.voters.iter();
            let harmed = voters.filter(|voter| **voter == node || self.is_harmed(**voter));
            membership.voters.contains(&node) && harmed.count() > (membership.voters.len() - 1) / 2
        };
        let it = &self.nodes[node.0 as usize - 1];
        let any = self.oracle.in_force().iter().any(too_many);
        // That it has come to vote stands in its log alone until it has run once: without, it is the follower it was.
        let follows =
            it.newcomer || (node.0 > self.mix.voters && !it.membership.voters.contains(&node));
        !any && it.founded && !follows && !it.lost
    }

    fn lose_disk(&mut self, node: NodeId) {
        if self.may_be_harmed(node) {
            self.end(node, true);
            let memory = Memory::new(self.rng.random());
            let it = self.node(node);
            (it.memory, it.lost) = (memory, true);
        }
    }

    fn rot(&mut self, node: NodeId) {
        if !self.may_be_harmed(node) {
            return;
        }
        let power = self.rng.random();
        self.end(node, power);
        let memory = self.node(node).memory.clone();
        let names: Vec<String> = memory
            .names()
            .into_iter()
            .filter(|name| name.starts_with("log-") || name.starts_with("checkpoint-"))
            .filter(|name| memory.size(name) > Some(0))
            .collect();
        if names.is_empty() {
            return;
        }
        let name = &names[self.rng.random_range(0..names.len())];
        let content = memory.content(name).expect("it was listed");
        // Half of it strikes what was written last.
        let written = content.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        let from = match self.rng.random() {
            true => written - written % 512,
            false => 0,
        };
        let offset = self
            .rng
            .random_range(from..content.len().min(from.max(written) + 1));
        let changed = [content[offset] ^ 1 << self.rng.random_range(0..8)];
        // What no start can go on from is lost for good, and its node with it: that befalls nobody here.
        let image = memory.image();
        image.damage(name, offset, &changed);
        let disk = image.boot().expect("nobody holds it");
        let options = WalOptions::new(Ballot::initial(Epoch(0)), false);
        if Wal::open(disk, options, |_| Ok(())).is_err() {
            return;
        }
        memory.damage(name, offset, &changed);
        self.node(node).rotten = true;
    }

    fn pause(&mut self, node: NodeId) {
        let until = self.now + self.rng.random_range(10 * MS..4 * SECOND);
        if self.node(node).is_up() && self.node(node).paused.is_none() {
            let now = self.now;
            self.node(node).paused = Some(until);
            self.node(node).stood = (now, until);
            self.after(until - self.now, Event::Resume(node));
            self.probe(node);
        }
    }

    /// Schedules what ends a fault, at a random time up to `longest` from now.
    pub(crate) fn end_after(&mut self, longest: u64, event: Event) {
        let delay = self.rng.random_range(20 * MS..longest);
        self.after(delay, event);
    }
}
