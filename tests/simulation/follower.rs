//! A node without a vote beside the voters: its real intake, log and state machine on a disk and a clock of its own.
//!
//! It asks one voter after the other for what is decided behind its slot. Answers are late, overlap and overtake each
//! other; its power fails in the middle of writes. At every step: what it applies was chosen, its state is that of
//! every voter at that slot, and what it had durably told to be served is served again after each start.

use bytes::Bytes;
use rand::RngExt;
use synod::paxos::{Ballot, Batch, Epoch, Message, NodeId, Payload, Slot};
use synod::replication::storage::checkpoint::Meta;
use synod::replication::storage::{Memory, MemoryDisk, Storage, Wal, WalOptions};
use synod::replication::{Intake, codec};
use synod::state::{self, Machine};

use crate::checkpoints::{machine, newest, receive};
use crate::mix::{MS, SECOND};
use crate::world::{Event, World};

/// As the oracle names it.
const NAME: NodeId = NodeId(0);

/// What happens to it.
pub(crate) enum Happens {
    Start,
    /// It asks a voter.
    Ask {
        boot: u64,
    },
    /// A voter's answer comes in.
    Told {
        boot: u64,
        entries: Option<Bytes>,
        slot: u64,
        digest: u64,
    },
    /// A voter's checkpoint comes in.
    Fetched {
        boot: u64,
        meta: Meta,
        content: Bytes,
    },
    /// A write and its sync are through.
    Written {
        boot: u64,
    },
}

/// The follower.
pub(crate) struct Follower {
    memory: Memory,
    founded: bool,
    boot: u64,
    process: Option<Process>,
    /// What it has told to be durable here.
    told: Slot,
    /// Nothing fails here any more.
    pub(crate) spared: bool,
}

struct Process {
    disk: MemoryDisk,
    wal: Wal<MemoryDisk>,
    machine: Machine,
    intake: Intake,
    waiting: Vec<Batch>,
    writing: Vec<Batch>,
}

impl Follower {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            memory: Memory::new(seed),
            founded: false,
            boot: 0,
            process: None,
            told: Slot(0),
            spared: false,
        }
    }

    /// How far it has come.
    pub(crate) fn applied(&self) -> u64 {
        let process = self.process.as_ref();
        process.map_or(0, |process| process.machine.applied())
    }
}

impl World {
    pub(crate) fn happens(&mut self, what: Happens) {
        let boot = self.follower.boot;
        match what {
            Happens::Start => self.follower_starts(),
            Happens::Ask { boot: at } if at == boot => self.follower_asks(),
            Happens::Told {
                boot: at,
                entries,
                slot,
                digest,
            } if at == boot => self.follower_is_told(entries, slot, digest),
            Happens::Fetched {
                boot: at,
                meta,
                content,
            } if at == boot => self.follower_has_fetched(&meta, &content),
            Happens::Written { boot: at } if at == boot => self.follower_has_written(),
            _ => {}
        }
    }

    fn follower_starts(&mut self) {
        let segment_bytes = self.mix.segment_bytes;
        let follower = &mut self.follower;
        follower.boot += 1;
        let disk = follower.memory.boot().expect("the process before is gone");
        let options = WalOptions {
            segment_bytes,
            ..WalOptions::new(Ballot::initial(Epoch(0)), !follower.founded)
        };
        let restore = |bytes: Bytes| state::restore(&bytes).map_err(|bad| bad.to_string());
        let (wal, recovered, machine) =
            Wal::open(disk.clone(), options, restore).expect("nothing rots here");
        let machine = machine.unwrap_or_default();
        let (applied, digest) = (machine.applied(), machine.digest());
        follower.founded = true;
        assert!(
            recovered.decided >= follower.told,
            "a follower came back at {}, and had told of {}",
            recovered.decided,
            follower.told
        );
        let (intake, first, known) = Intake::new(recovered);
        follower.process = Some(Process {
            disk,
            wal,
            machine,
            intake,
            waiting: Vec::new(),
            writing: Vec::new(),
        });
        let boot = follower.boot;
        self.summary.starts += 1;
        self.oracle.restored(NAME, Slot(applied), digest);
        self.note(format_args!(
            "the follower starts at {applied} and {}",
            known.len()
        ));
        self.follower_applies(first, known);
        self.after(MS, Event::Follower(Happens::Ask { boot }));
    }

    /// Asks some voter, and soon again; its power may fail instead.
    fn follower_asks(&mut self) {
        let often = self.mix.heartbeat.as_micros() as u64;
        let fails = !self.follower.spared && self.rng.random_bool(0.02);
        if fails {
            return self.follower_ends();
        }
        let boot = self.follower.boot;
        let again = self.rng.random_range(often / 2..often * 2);
        self.after(again, Event::Follower(Happens::Ask { boot }));
        let Some(process) = &self.follower.process else {
            return;
        };
        let last = process.intake.last();
        let voter = &self.nodes[self.rng.random_range(0..self.nodes.len())];
        let Some(fed_by) = voter.process.as_ref().filter(|_| voter.paused.is_none()) else {
            return;
        };
        let Some(entries) = fed_by.replica.decided_after(last) else {
            let Some((meta, content)) = newest(&fed_by.disk) else {
                return;
            };
            let delay = self.rng.random_range(50..self.mix.delay * 3 + 100);
            let fetched = Happens::Fetched {
                boot,
                meta,
                content,
            };
            return self.after(delay, Event::Follower(fetched));
        };
        let chunk = Message::Chunk {
            ballot: Ballot::initial(Epoch(0)),
            first: last.next(),
            entries,
        };
        let Message::Chunk { entries, .. } = &chunk else {
            return;
        };
        let entries = (!entries.is_empty()).then(|| codec::encode(&chunk));
        let (slot, digest) = (fed_by.machine.applied(), fed_by.machine.digest());
        let delay = self.rng.random_range(50..self.mix.delay + 50);
        let told = Happens::Told {
            boot,
            entries,
            slot,
            digest,
        };
        self.after(delay, Event::Follower(told));
    }

    fn follower_is_told(&mut self, entries: Option<Bytes>, slot: u64, digest: u64) {
        if let Some(bytes) = entries {
            let message = codec::decode(bytes).expect("it was encoded");
            let Message::Chunk { first, entries, .. } = message else {
                panic!("a chunk came back as {message:?}");
            };
            let process = self.follower.process.as_mut().expect("it runs");
            if let Some((first, entries, batch)) = process.intake.take(first, entries) {
                process.waiting.push(batch);
                self.follower_applies(first, entries);
                self.follower_writes();
            }
        }
        let machine = &self.follower.process.as_ref().expect("it runs").machine;
        if machine.applied() == slot {
            assert_eq!(
                machine.digest(),
                digest,
                "a follower differs at slot {slot}"
            );
        }
    }

    fn follower_has_fetched(&mut self, meta: &Meta, content: &Bytes) {
        let process = self.follower.process.as_mut().expect("it runs");
        let image = receive(&process.disk, meta, content, false);
        let image = image.expect("its disk is well");
        let Some(batch) = process.intake.install(meta.base()) else {
            return;
        };
        let machine = machine(&image);
        assert!(
            machine.applied() > process.machine.applied(),
            "a follower goes back"
        );
        process.machine = machine;
        process.waiting.push(batch);
        let digest = process.machine.digest();
        self.oracle.restored(NAME, meta.slot, digest);
        self.summary.installed += 1;
        self.note(format_args!("the follower goes on from {}", meta.slot));
        self.follower_writes();
    }

    fn follower_applies(&mut self, first: Slot, entries: Vec<synod::paxos::Entry>) {
        for (slot, entry) in (first.0..).zip(entries) {
            self.oracle.decided(NAME, Slot(slot), &entry);
            let machine = &mut self.follower.process.as_mut().expect("it runs").machine;
            match &entry.payload {
                Payload::Barrier => machine.lead(slot, entry.ballot.into()),
                Payload::Seal(_) => machine.skip(slot),
                Payload::Command(command) => drop(machine.apply(slot, command)),
            }
            let (digest, revision) = (machine.digest(), machine.revision().0);
            self.oracle
                .applied(NAME, Slot(slot), &entry, digest, revision);
            self.note(format_args!("the follower applies {slot}"));
        }
    }

    fn follower_writes(&mut self) {
        let boot = self.follower.boot;
        let Some(process) = self.follower.process.as_mut() else {
            return;
        };
        if !process.writing.is_empty() || process.waiting.is_empty() {
            return;
        }
        process.writing = std::mem::take(&mut process.waiting);
        let took = self.rng.random_range(0..self.mix.sync.max(1));
        self.after(took, Event::Follower(Happens::Written { boot }));
    }

    fn follower_has_written(&mut self) {
        let follower = &mut self.follower;
        let process = follower.process.as_mut().expect("it runs");
        let written = std::mem::take(&mut process.writing);
        process.wal.write(&written).expect("its disk is well");
        let last = written.iter().filter_map(|batch| batch.decided).max();
        follower.told = follower.told.max(last.unwrap_or_default());
        self.follower_writes();
    }

    /// The power fails, or the process is killed, perhaps in the middle of a write.
    fn follower_ends(&mut self) {
        let (luck, n) = (self.rng.random_range(0..3), self.rng.random_range(0..3));
        let follower = &mut self.follower;
        if let Some(mut process) = follower.process.take()
            && !process.writing.is_empty()
        {
            match luck {
                0 => follower.memory.fail_write_after(n),
                _ => follower.memory.fail_sync_after(n),
            }
            let _ = process.wal.write(&process.writing);
        }
        if luck == 1 {
            follower.memory.kill();
        } else {
            follower.memory.crash();
        }
        follower.boot += 1;
        self.note(format_args!("the follower ends"));
        self.end_after(SECOND, Event::Follower(Happens::Start));
    }
}
