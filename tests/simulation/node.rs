//! One voter's machine: its disk, its clock, and the process that runs on it now and then.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;
use synod::paxos::{
    Ballot, Batch, Input, Membership, Message, NodeId, PersistId, Replica, Slot, Succession, Time,
};
use synod::replication::Leases;
use synod::replication::storage::checkpoint::{Checkpoint, Meta};
use synod::replication::storage::{Memory, MemoryDisk, Wal};
use synod::state::Machine;

use crate::clients::Call;
use crate::mix::{Mix, SECOND};
use crate::sessions::Expiries;
use crate::stranding::Stranded;

/// A voter, up or down.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) memory: Memory,
    /// Counts the starts; names the process in events, so that those of an earlier one are void.
    pub(crate) boot: u64,
    /// Whether a log was ever made here.
    pub(crate) founded: bool,
    pub(crate) process: Option<Process>,
    /// What was being written when the last process ended.
    pub(crate) unsure: Vec<Batch>,
    /// Stands still until then.
    pub(crate) paused: Option<u64>,
    /// Its clock: local microseconds for 1,000 true ones, and what it is ahead by.
    pub(crate) rate: u64,
    pub(crate) ahead: u64,
    /// Longest sync, in microseconds.
    pub(crate) sync: u64,
    /// Whom it was told it is connected to: the peer's boot.
    pub(crate) connected: BTreeMap<NodeId, u64>,
    /// What reached it last: the network may bring it again.
    pub(crate) heard: VecDeque<(NodeId, Bytes)>,
    /// What it was told when it was cut off as a leader.
    pub(crate) stranded: Option<Stranded>,
    /// Bytes of its log were changed since its last start.
    pub(crate) rotten: bool,
    /// Its disk was lost: it never comes back.
    pub(crate) lost: bool,
    /// When it stood still last, from and to.
    pub(crate) stood: (u64, u64),
    /// Left alone by faults.
    pub(crate) spared: bool,
    /// It has no vote yet.
    pub(crate) newcomer: bool,
    /// The membership it last entered, as its record of the group has it.
    pub(crate) membership: Membership,
}

/// What runs on it.
pub(crate) struct Process {
    pub(crate) replica: Replica,
    pub(crate) disk: MemoryDisk,
    pub(crate) wal: Wal<MemoryDisk>,
    pub(crate) machine: Machine,
    /// Who votes behind what it has applied; none before the first Seal.
    pub(crate) succession: Option<Succession>,
    /// Handed out and not yet being written.
    pub(crate) waiting: Vec<(PersistId, Batch)>,
    /// Being written, with one sync; and their names.
    pub(crate) writing: Vec<Batch>,
    pub(crate) named: Vec<PersistId>,
    pub(crate) durable: PersistId,
    /// The newest batch handed out.
    pub(crate) issued: PersistId,
    /// The last slot of which a checkpoint was begun; whether one is on its way.
    pub(crate) checkpoint: u64,
    pub(crate) taking: bool,
    /// Whether one of a peer is on its way; and those that are here and the core may adopt.
    pub(crate) fetching: bool,
    /// The slot of the last that was fetched: none that begins before its end is fetched again.
    pub(crate) reached: Slot,
    pub(crate) fetched: Vec<Checkpoint>,
    /// Written, to be kept once the batches before are durable.
    pub(crate) drafts: Vec<(PersistId, Meta)>,
    /// Messages that wait for a batch.
    pub(crate) withheld: VecDeque<(PersistId, NodeId, Message)>,
    pub(crate) wake: Option<u64>,
    /// What came in while it stood still.
    pub(crate) backlog: Vec<Arrived>,
    /// What it has taken in and not handed to its replica yet.
    pub(crate) gathered: Vec<Input>,
    pub(crate) proposed: BTreeMap<u64, Call>,
    /// Reads, and what had been seen when each came in.
    pub(crate) reading: BTreeMap<u64, (Call, Slot)>,
    /// Reads that wait for a slot to be applied.
    pub(crate) ready: Vec<(Slot, Call)>,
    /// Clients that wait for a key.
    pub(crate) keyed: BTreeMap<String, Vec<Call>>,
    /// Of the leadership it has or last had, and the ends it has proposed.
    pub(crate) leases: Option<Leases>,
    pub(crate) expiries: Expiries,
    /// Names proposals and reads.
    pub(crate) next: u64,
}

/// Something that reached a process.
pub(crate) enum Arrived {
    Input(Input),
    Call(Call),
}

impl Process {
    pub(crate) fn new(
        replica: Replica,
        disk: MemoryDisk,
        wal: Wal<MemoryDisk>,
        machine: Machine,
        succession: Option<Succession>,
    ) -> Self {
        Process {
            replica,
            disk,
            wal,
            checkpoint: machine.applied(),
            machine,
            succession,
            waiting: Vec::new(),
            writing: Vec::new(),
            named: Vec::new(),
            durable: PersistId(0),
            issued: PersistId(0),
            taking: false,
            fetching: false,
            reached: Slot::ZERO,
            fetched: Vec::new(),
            drafts: Vec::new(),
            withheld: VecDeque::new(),
            wake: None,
            backlog: Vec::new(),
            gathered: Vec::new(),
            proposed: Default::default(),
            reading: Default::default(),
            ready: Vec::new(),
            keyed: Default::default(),
            leases: None,
            expiries: Default::default(),
            next: 0,
        }
    }
}

impl Node {
    /// A machine that was never started.
    pub(crate) fn new(id: NodeId, memory: Memory, mix: &Mix, rng: &mut StdRng) -> Self {
        Node {
            id,
            memory,
            boot: 0,
            founded: false,
            process: None,
            unsure: Vec::new(),
            paused: None,
            rate: if mix.skew {
                rng.random_range(900..1100)
            } else {
                1000
            },
            ahead: rng.random_range(0..SECOND),
            sync: mix.sync,
            connected: BTreeMap::new(),
            heard: VecDeque::new(),
            stranded: None,
            rotten: false,
            lost: false,
            stood: (0, 0),
            spared: false,
            newcomer: false,
            membership: mix.first_members(),
        }
    }

    /// Its clock at a true time.
    pub(crate) fn clock(&self, now: u64) -> Time {
        Time(std::time::Duration::from_micros(
            now * self.rate / 1000 + self.ahead,
        ))
    }

    /// The first true time at which its clock is there.
    pub(crate) fn when(&self, time: Time) -> u64 {
        let local = time.0.as_nanos().div_ceil(1000) as u64;
        (local.saturating_sub(self.ahead) * 1000).div_ceil(self.rate)
    }

    /// The ballot it has promised, if it runs.
    pub(crate) fn ballot(&self) -> Option<Ballot> {
        self.process
            .as_ref()
            .map(|process| process.replica.ballot())
    }

    pub(crate) fn is_up(&self) -> bool {
        self.process.is_some()
    }
}
