//! How voters take checkpoints: beside the log, written aside with the state of a moment, kept in turn with batches.

use bytes::Bytes;
use rand::RngExt;
use synod::paxos::{Ballot, Base, Input, NodeId, Slot, Succession};
use synod::replication::storage::checkpoint::{self, Checkpoint, Meta};
use synod::replication::storage::{MemoryDisk, Shelf, Shelved, Storage};
use synod::state::{self, Machine};

use crate::mix::MS;
use crate::node::Arrived;
use crate::world::{Event, World};

/// A state that is being written.
pub(crate) struct Draft {
    slot: Slot,
    ballot: Ballot,
    succession: Option<Succession>,
    content: Bytes,
}

impl World {
    /// Begins a checkpoint if enough was applied since the last.
    pub(crate) fn consider_checkpoint(&mut self, node: NodeId, ballot: Ballot) {
        let (every, boot) = (self.mix.checkpoint_every, self.node(node).boot);
        let process = self.process(node);
        let applied = process.machine.applied();
        if process.taking || applied - process.checkpoint < every {
            return;
        }
        (process.taking, process.checkpoint) = (true, applied);
        let draft = Draft {
            slot: Slot(applied),
            ballot,
            succession: process.succession.clone(),
            content: state::checkpoint(&process.machine),
        };
        let delay = self.rng.random_range(50..50 * MS);
        self.after(delay, Event::Drafted { node, boot, draft });
    }

    /// It is written, unless the process has ended or the disk is not well.
    pub(crate) fn drafted(&mut self, node: NodeId, boot: u64, draft: Draft) {
        let it = self.node(node);
        let current = it.boot;
        let Some(process) = it.process.as_mut().filter(|_| current == boot) else {
            return;
        };
        let written = checkpoint::write(
            &process.disk,
            draft.slot,
            draft.ballot,
            draft.succession.as_ref(),
            &draft.content,
        );
        match written {
            Ok(meta) => process.drafts.push((process.issued, meta)),
            Err(_) => process.taking = false,
        }
        self.keep_drafts(node);
    }

    /// What is written is kept once the batches before it are durable. False where the log failed, and the process
    /// with it.
    pub(crate) fn keep_drafts(&mut self, node: NodeId) -> bool {
        let process = self.process(node);
        let durable = process.durable;
        let Some((_, meta)) = process.drafts.pop_if(|(after, _)| *after <= durable) else {
            return true;
        };
        process.taking = false;
        self.endanger(node, 0.1, 4);
        let process = self.process(node);
        let before = process.wal.removed();
        match process.wal.keep(&meta) {
            Ok(through) => {
                let dropped = process.wal.removed() - before;
                self.summary.checkpoints += 1;
                self.summary.dropped += dropped;
                self.note(format_args!("{node} keeps a checkpoint of {}", meta.slot));
                self.input(node, Input::Compact { through });
                self.is_cut(node, through);
                self.node(node).is_up()
            }
            Err(error) => {
                self.note(format_args!("{node} fails: {error}"));
                let power = self.rng.random();
                self.end(node, power);
                false
            }
        }
    }

    /// A log is bounded, whoever lags or is dead: it holds little more than what lies behind the older checkpoint.
    fn is_cut(&mut self, node: NodeId, through: Slot) {
        let (segment, command) = (self.mix.segment_bytes, self.mix.command_bytes as u64);
        let it = self.node(node);
        let Some(process) = it.process.as_ref().filter(|_| through > Slot::ZERO) else {
            return;
        };
        let names = it.memory.names().into_iter();
        let logs = names.filter(|name| name.starts_with("log-"));
        let bytes: u64 = logs.filter_map(|name| it.memory.size(&name)).sum();
        let entries = process.replica.last().since(through);
        // Entries are written again when they are adopted, each record takes whole sectors, and what is written with
        // one sync takes a segment of its own where it is larger: all that a window takes, of which the last is needed.
        let window = self.mix.window_entries as u64 * (command + 1024);
        let write = window.min(2 * self.mix.window_bytes as u64);
        let bound = 8 * segment + 8 * entries * (command + 1024) + write;
        assert!(
            bytes <= bound,
            "a log of {bytes} bytes for {entries} entries behind a checkpoint of {through}"
        );
    }

    /// A voter needs a checkpoint of a peer.
    pub(crate) fn wants_checkpoint(&mut self, node: NodeId, from: NodeId, start: Slot) {
        let boot = self.node(node).boot;
        let process = self.process(node);
        if process.reached.next() >= start || std::mem::replace(&mut process.fetching, true) {
            return;
        }
        let delay = self.rng.random_range(50..self.mix.delay * 3 + 100);
        let fetched = Event::Fetched {
            node,
            boot,
            from,
            start,
        };
        self.after(delay, fetched);
    }

    /// It comes in, if the link holds and the peer has such a one; else some of it may.
    pub(crate) fn fetched(&mut self, node: NodeId, boot: u64, from: NodeId, start: Slot) {
        let spared = self.node(node).spared && self.node(from).spared;
        let breaks = !spared && self.rng.random_bool(0.2);
        let reached = self.links.carries(from, node) && self.node(from).is_up();
        let peer = self.node(from).process.as_ref().map(|it| it.disk.clone());
        let it = self.node(node);
        let current = it.boot;
        let Some(process) = it.process.as_mut().filter(|_| current == boot) else {
            return;
        };
        process.fetching = false;
        if process.reached.next() >= start {
            return;
        }
        let whole = peer.filter(|_| reached).and_then(|peer| newest(&peer));
        let Some((meta, body)) = whole.filter(|(meta, _)| meta.slot.next() >= start) else {
            return;
        };
        let Some(image) = receive(&process.disk, &meta, &body, breaks) else {
            return;
        };
        let (base, succession) = (meta.base(), image.succession.clone());
        process.fetched.push(image);
        process.reached = base.slot;
        self.note(format_args!("{node} has fetched {}", base.slot));
        let input = Input::Fetched { base, succession };
        self.arrives(node, Arrived::Input(input));
    }

    /// A voter goes on from the checkpoint that it fetched.
    pub(crate) fn install(&mut self, node: NodeId, adopted: Base) {
        let process = self.process(node);
        let mut images = std::mem::take(&mut process.fetched).into_iter();
        let image = images.find(|image| image.meta.base() == adopted);
        let image = image.expect("it was fetched");
        process.fetched = images.collect();
        let (base, machine) = (image.meta.base(), machine(&image));
        assert!(
            machine.applied() > process.machine.applied(),
            "it goes back"
        );
        let digest = machine.digest();
        process.checkpoint = machine.applied();
        process.machine = machine;
        process.succession = image.succession;
        self.oracle.restored(node, base.slot, digest);
        self.watch_goes_on(node);
        self.summary.installed += 1;
        self.note(format_args!("{node} goes on from {}", base.slot));
    }
}

/// The newest checkpoint of a disk, whole.
pub(crate) fn newest(disk: &MemoryDisk) -> Option<(Meta, Bytes)> {
    let Shelved { meta, body } = disk.newest().ok()??;
    let body = body.read(0, meta.size as usize).ok()?;
    let whole = Checkpoint::of(meta, body.clone()).is_ok();
    whole.then_some((meta, body))
}

/// Takes a peer's checkpoint in; nothing where that breaks off or the disk is not well.
pub(crate) fn receive(
    disk: &MemoryDisk,
    meta: &Meta,
    body: &Bytes,
    breaks: bool,
) -> Option<Checkpoint> {
    let (first, second) = body.split_at(body.len() / 2);
    disk.receive(meta, 0, first).ok()?;
    if breaks {
        return None;
    }
    disk.receive(meta, first.len() as u64, second).ok()?;
    disk.received(meta).ok()
}

/// The state in a checkpoint.
pub(crate) fn machine(image: &Checkpoint) -> Machine {
    state::restore(&image.content).expect("it was verified")
}
