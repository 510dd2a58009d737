//! Changes of who votes: an operator orders them of whoever leads, and newcomers are brought in.
//!
//! A newcomer follows first, by the intake of real followers: it takes the decided log through the Seal that names it,
//! and enters the epoch that the Seal begins. Its power may fail in between.

use bytes::Bytes;
use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use synod::paxos::{
    Ballot, Entry, Epoch, Input, Membership, NodeId, Payload, Recovered, Seal, Slot, Succession,
};
use synod::replication::Intake;
use synod::replication::storage::checkpoint::{Checkpoint, Meta};
use synod::replication::storage::{Memory, Storage, Wal, WalOptions};

use crate::checkpoints::{newest, receive};
use crate::mix::{MS, SECOND};
use crate::node::{Arrived, Node};
use crate::world::{Event, World};

/// Voters of one membership, and nodes of one seed, at most.
const MOST_VOTERS: usize = 5;
const MOST_NODES: usize = 24;

impl World {
    /// Whoever leads is to change who votes: some leave, some come, all in one step.
    pub(crate) fn change_members(&mut self) {
        let leads = |node: &&Node| {
            let process = node.process.as_ref();
            process.is_some_and(|process| process.replica.ready())
        };
        let leaders: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(leads)
            .map(|node| node.id)
            .collect();
        let Some(&node) = leaders.choose(&mut self.rng) else {
            return;
        };
        let replica = &self.process(node).replica;
        let Membership { epoch, voters } = replica.membership().clone();
        let mut next: Vec<NodeId> = voters.iter().copied().collect();
        next.shuffle(&mut self.rng);
        let leave = self.rng.random_range(0..=2.min(next.len()));
        next.truncate(next.len() - leave);
        let room = MOST_VOTERS.saturating_sub(next.len()).min(2);
        let come = self.rng.random_range(0..=room);
        if next.len() + come == 0 || leave + come == 0 || self.nodes.len() + come > MOST_NODES {
            return;
        }
        for _ in 0..come {
            next.push(self.newcomer());
        }
        self.note(format_args!("{node} is to end epoch {}: {next:?}", epoch.0));
        let seal = Seal {
            voters: next.into_iter().collect(),
            details: Bytes::from(vec![7; self.rng.random_range(0..100)]),
        };
        self.arrives(node, Arrived::Input(Input::Seal { epoch, seal }));
    }

    fn newcomer(&mut self) -> NodeId {
        let id = NodeId(self.nodes.len() as u32 + 1);
        let memory = Memory::new(self.rng.random());
        let node = Node::new(id, memory, &self.mix, &mut self.rng);
        self.nodes.push(Node {
            newcomer: true,
            ..node
        });
        // One that is late finds the Seal that names it in a checkpoint.
        let late = match self.rng.random_bool(0.3) {
            true => self.rng.random_range(MS..3 * SECOND),
            false => MS,
        };
        self.after(late, Event::Join(id));
        id
    }

    /// A newcomer looks for a voter that knows it as one of them, until it finds one.
    pub(crate) fn join(&mut self, node: NodeId) {
        let again = self.rng.random_range(20 * MS..200 * MS);
        let from = self.rng.random_range(0..self.nodes.len());
        let source = &self.nodes[from];
        let told = (source.paused.is_none() && self.links.connects(source.id, node))
            .then(|| told(source, node))
            .flatten();
        let Some(told) = told else {
            return self.after(again, Event::Join(node));
        };
        if let Some(held) = self.becomes_voter(node, told) {
            self.oracle.joined(node, held);
            self.node(node).memory.kill();
            self.node(node).newcomer = false;
            self.start(node);
        } else {
            self.note(format_args!("{node} fails while it joins"));
            self.node(node).memory.crash();
            self.after(again, Event::Join(node));
        }
    }

    /// Makes durable what a follower does that comes to vote, and gives what a start finds of it. Nothing where the
    /// power fails before.
    fn becomes_voter(&mut self, node: NodeId, told: Told) -> Option<Recovered> {
        let segment_bytes = self.mix.segment_bytes;
        let fails = !self.node(node).spared && self.rng.random_bool(0.2);
        let n = self.rng.random_range(0..12);
        let it = self.node(node);
        let disk = it.memory.boot().expect("nothing runs on it");
        if fails {
            it.memory.fail_sync_after(n);
        }
        let mut options = WalOptions {
            segment_bytes,
            ..WalOptions::new(Ballot::initial(Epoch(0)), !it.founded)
        };
        let (mut wal, recovered, _) = Wal::open(disk.clone(), options, |_| Ok(())).ok()?;
        it.founded = true;
        // It never goes back: what it took of another before its power failed may be further than this.
        let newer = |known: &Succession| known.epoch > told.epoch;
        if recovered.succession.as_ref().is_some_and(newer) {
            return None;
        }
        // It may have come so far before its power failed.
        if recovered.promised.epoch < told.epoch {
            let (mut intake, ..) = Intake::new(recovered);
            let mut batches = Vec::new();
            let mut first = Slot(1);
            if let Some((meta, body)) = &told.image {
                receive(&disk, meta, body, false)?;
                batches.extend(intake.install(meta.base()));
                first = meta.slot.next();
                self.summary.installed += 1;
            }
            let taken = intake.take(first, told.entries);
            batches.extend(taken.map(|(_, _, batch)| batch));
            batches.push(intake.enter(told.epoch));
            for write in batches {
                wal.write(&[write]).ok()?;
            }
        }
        self.note(format_args!("{node} joins in epoch {}", told.epoch.0));
        let it = self.node(node);
        it.memory.heal();
        it.memory.kill();
        options.create = false;
        let disk = it.memory.boot().expect("it was killed");
        let (_, held, _) = Wal::open(disk, options, |_| Ok(())).expect("its disk is well");
        Some(held)
    }
}

/// What a newcomer is told: the decided log through a Seal that names it, or one of a later epoch that it is still of.
struct Told {
    /// The checkpoint that the entries follow; without it they begin with slot 1.
    image: Option<(Meta, Bytes)>,
    entries: Vec<Entry>,
    epoch: Epoch,
}

fn told(source: &Node, newcomer: NodeId) -> Option<Told> {
    let process = source.process.as_ref()?;
    let mut told = Told {
        image: None,
        entries: Vec::new(),
        epoch: Epoch(0),
    };
    let mut last = Slot::ZERO;
    if process.replica.start() > Slot(1) {
        let (meta, body) = newest(&process.disk)?;
        let image = Checkpoint::of(meta, body.clone()).expect("it was verified");
        last = meta.slot;
        told.image = Some((meta, body));
        if let Some(names) = image
            .succession
            .filter(|it| it.seal.voters.contains(&newcomer))
        {
            told.epoch = names.epoch;
            return Some(told);
        }
    }
    loop {
        let more = process.replica.decided_after(last)?;
        if more.is_empty() {
            return None;
        }
        last = last.plus(more.len());
        for entry in more {
            let named = match &entry.payload {
                Payload::Seal(seal) => seal.voters.contains(&newcomer),
                _ => false,
            };
            told.epoch = entry.ballot.epoch.next();
            told.entries.push(entry);
            if named {
                return Some(told);
            }
        }
    }
}
