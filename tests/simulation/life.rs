//! How a voter's process starts, stands still, wakes and ends.

use bytes::Bytes;
use rand::RngExt;
use synod::paxos::{Ballot, Epoch, Input, NodeId, Options, Replica, Slot};
use synod::replication::storage::{Storage, Wal, WalOptions};
use synod::state::restore;

use crate::mix::{MS, SECOND};
use crate::node::{Arrived, Process};
use crate::world::{Event, World};

impl World {
    /// A process starts on what its disk holds. It may fail to, as any other time.
    pub(crate) fn start(&mut self, node: NodeId) {
        let mix = &self.mix;
        let (heartbeat, election_timeout) = (mix.heartbeat, mix.election_timeout);
        let (window_entries, window_bytes) = (mix.window_entries, mix.window_bytes);
        let segment_bytes = mix.segment_bytes;
        let seed = self.rng.random();
        let breaks = self
            .rng
            .random_bool(0.1)
            .then(|| self.rng.random_range(0..8));
        let now = self.now;
        let it = self.node(node);
        if it.is_up() || it.newcomer {
            return;
        }
        if let Some(n) = breaks.filter(|_| !it.spared) {
            it.memory.fail_sync_after(n);
        }
        it.boot += 1;
        let disk = it.memory.boot().expect("the process before is gone");
        let initial = Ballot::initial(Epoch(0));
        let options = WalOptions {
            segment_bytes,
            ..WalOptions::new(initial, !it.founded)
        };
        let restore = |bytes: Bytes| restore(&bytes).map_err(|bad| bad.to_string());
        let (wal, mut recovered, machine) = match Wal::open(disk.clone(), options, restore) {
            Ok(opened) => opened,
            Err(error) if it.lost => {
                it.memory.kill();
                return self.note(format_args!("{node} is lost: {error}"));
            }
            Err(error) => {
                assert!(!it.spared, "a log does not open: {error}");
                self.note(format_args!("{node} does not start: {error}"));
                return self.end(node, true);
            }
        };
        it.founded = true;
        // The record of the group is durable once an epoch is entered; the log may be newer, or have lost what it knew.
        if let Some(entered) = recovered.entered_by()
            && entered.epoch > it.membership.epoch
        {
            it.membership = entered.membership();
        }
        let membership = it.membership.clone();
        recovered.promised = recovered.promised.max(Ballot::initial(membership.epoch));
        let (unsure, rotten) = (
            std::mem::take(&mut it.unsure),
            std::mem::take(&mut it.rotten),
        );
        let replica = Replica::new(
            it.clock(now),
            Options {
                id: node,
                membership,
                heartbeat,
                election_timeout,
                window_entries,
                window_bytes,
                seed,
            },
            recovered.clone(),
        );
        let machine = machine.unwrap_or_default();
        let (applied, digest) = (machine.applied(), machine.digest());
        let succession = recovered.succession.clone();
        it.process = Some(Process::new(replica, disk, wal, machine, succession));
        self.summary.starts += 1;
        self.summary.damaged += u64::from(recovered.synced.is_none());
        self.oracle.recovered(node, &recovered, &unsure, rotten);
        self.oracle.restored(node, Slot(applied), digest);
        self.watch_goes_on(node);
        self.summary.restored += u64::from(applied > 0);
        self.note(format_args!(
            "{node} starts at {applied} with {} entries, promised {}",
            recovered.entries.len(),
            recovered.promised
        ));
        self.input(node, Input::Tick);
        self.links_changed();
        let boot = self.node(node).boot;
        self.look(node, boot);
        self.hears_again(node, recovered.synced.is_none());
    }

    /// What reached the process before comes once more, soon or late. Always to one whose log is damaged, and mostly
    /// before any leader has learned of that: it must not fit what it hears to what is left. (`UnsyncedAccept`)
    fn hears_again(&mut self, node: NodeId, damaged: bool) {
        let it = self.node(node);
        let heard = std::mem::take(&mut it.heard);
        if it.spared || (self.mix.stray == 0.0 && !damaged) {
            return;
        }
        let longest = match damaged {
            true => [5 * MS, 5 * MS, 4 * SECOND],
            false => [100 * MS, 100 * MS, 4 * SECOND],
        };
        let longest = longest[self.rng.random_range(0..3)];
        for (from, message) in heard {
            let to = node;
            let delay = self.rng.random_range(100..longest);
            self.after(delay, Event::Deliver { from, to, message });
        }
    }

    /// A process ends: the power fails, or it is killed. What it was writing may be there whole, in part, or not.
    pub(crate) fn end(&mut self, node: NodeId, power: bool) {
        let luck = self.rng.random_range(0..3);
        let (n, now) = (self.rng.random_range(0..3), self.now);
        let (mut durable, mut unsure) = (false, Vec::new());
        let it = self.node(node);
        if let Some(mut process) = it.process.take() {
            let batches = std::mem::take(&mut process.writing);
            if !batches.is_empty() {
                match luck {
                    0 => {}
                    1 => it.memory.fail_sync_after(n),
                    _ => it.memory.fail_write_after(n),
                }
                durable = luck > 0 && process.wal.write(&batches).is_ok();
                unsure = batches;
            }
        }
        if power {
            it.memory.crash()
        } else {
            it.memory.kill()
        }
        if it.paused.take().is_some() {
            // It does not stand to the end that was drawn: what starts in its place measures anew.
            it.stood.1 = now;
        }
        it.connected.clear();
        if durable {
            unsure
                .drain(..)
                .for_each(|batch| self.oracle.durable(node, &batch));
        } else if !unsure.is_empty() {
            self.node(node).unsure = unsure;
        }
        let soon = self.rng.random();
        self.end_after(if soon { 100 * MS } else { 3 * SECOND }, Event::Start(node));
        self.links_changed();
    }

    pub(crate) fn wake(&mut self, node: NodeId, boot: u64) {
        let now = self.now;
        let it = self.node(node);
        let awake = it.boot == boot && it.paused.is_none();
        let due = it
            .process
            .as_mut()
            .is_some_and(|process| process.wake.take_if(|at| *at <= now).is_some());
        if awake && due {
            self.input(node, Input::Tick);
        }
    }

    /// A process that stood still goes on: what waits comes before its timers.
    pub(crate) fn resume(&mut self, node: NodeId) {
        let (now, calls_first) = (self.now, self.rng.random());
        let it = self.node(node);
        if it
            .paused
            .take_if(|until| *until <= now || it.spared)
            .is_none()
        {
            return;
        }
        it.stood.1 = now;
        let Some(process) = &mut it.process else {
            return;
        };
        let mut backlog = std::mem::take(&mut process.backlog);
        if calls_first {
            // Clients and peers have connections of their own: whose is read first is luck.
            backlog.sort_by_key(|arrived| !matches!(arrived, Arrived::Call(_)));
        }
        if calls_first {
            // Its keeper may be the first to run, before it has heard anybody.
            self.propose_due(node);
        }
        for arrived in backlog {
            self.arrives(node, arrived);
        }
        self.input(node, Input::Tick);
        self.handle(node);
    }
}
