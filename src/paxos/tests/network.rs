//! Voters on a network and disks in memory. Nothing moves by itself: tests say what is delivered, lost and made
//! durable. What must always hold is checked at every step, against what the disks hold and not what replicas say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::disk::Disk;
use crate::paxos::*;

pub(super) const HEARTBEAT: Duration = Duration::from_millis(100);
pub(super) const TIMEOUT: Duration = Duration::from_millis(1000);

pub(super) struct Host {
    /// None while it is down.
    pub(super) replica: Option<Replica>,
    pub(super) disk: Disk,
    pub(super) unwritten: VecDeque<(PersistId, Batch)>,
    held_back: Vec<(PersistId, NodeId, Message)>,
    /// Whose checkpoint it wants, and what that must reach; and what it fetched.
    wanted: Option<(NodeId, Slot)>,
    fetched: Option<Base>,
    durable: PersistId,
    /// Which start of a process this is, of all hosts.
    start: u64,
    pub(super) wake_at: Option<Time>,
    pub(super) delivered: Slot,
    pub(super) reads: BTreeMap<ReadId, Slot>,
}

pub(super) struct Network {
    pub(super) now: Time,
    pub(super) hosts: BTreeMap<NodeId, Host>,
    pub(super) wire: Vec<(NodeId, NodeId, Message)>,
    /// Directions that lose everything.
    pub(super) cut: BTreeSet<(NodeId, NodeId)>,
    pub(super) window: usize,
    seed: u64,
    next_id: u64,
    /// What is or was durable in each ballot, and where.
    accepted: BTreeMap<(Ballot, Slot), (Entry, BTreeSet<NodeId>)>,
    pub(super) chosen: BTreeMap<Slot, Entry>,
    led: BTreeMap<Ballot, u64>,
    /// The greatest slot that any voter has handed on: it may have been acknowledged.
    pub(super) acknowledged: Slot,
    pub(super) refused: Vec<(ProposalId, Refusal)>,
    pub(super) reads_refused: usize,
    pub(super) reads_ready: usize,
    pub(super) installed: usize,
}

impl Network {
    pub(super) fn new(voters: u32, seed: u64) -> Self {
        let host = || Host {
            replica: None,
            disk: Disk::empty(),
            unwritten: VecDeque::new(),
            held_back: Vec::new(),
            wanted: None,
            fetched: None,
            durable: PersistId(0),
            start: 0,
            wake_at: None,
            delivered: Slot::ZERO,
            reads: BTreeMap::new(),
        };
        Network {
            now: Time::default(),
            hosts: (1..=voters).map(|id| (NodeId(id), host())).collect(),
            wire: Vec::new(),
            cut: BTreeSet::new(),
            window: 4,
            seed,
            next_id: 0,
            accepted: BTreeMap::new(),
            chosen: BTreeMap::new(),
            led: BTreeMap::new(),
            acknowledged: Slot::ZERO,
            refused: Vec::new(),
            reads_refused: 0,
            reads_ready: 0,
            installed: 0,
        }
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.hosts.keys().copied().collect()
    }

    pub(super) fn replica(&self, id: NodeId) -> &Replica {
        self.hosts[&id].replica.as_ref().expect("the node is up")
    }

    pub(super) fn leaders(&self) -> Vec<NodeId> {
        let leads = |id: &NodeId| self.hosts[id].replica.as_ref().is_some_and(Replica::ready);
        self.ids().into_iter().filter(leads).collect()
    }

    fn quorum(&self) -> usize {
        self.hosts.len() / 2 + 1
    }

    pub(super) fn start(&mut self, id: NodeId) {
        self.seed += 1;
        let options = Options {
            id,
            membership: Membership {
                epoch: Epoch(0),
                voters: self.hosts.keys().copied().collect(),
            },
            heartbeat: HEARTBEAT,
            election_timeout: TIMEOUT,
            window_entries: self.window,
            window_bytes: 1 << 20,
            seed: self.seed,
        };
        let now = self.now;
        let host = self.hosts.get_mut(&id).expect("a host");
        // What a checkpoint holds is decided.
        host.disk.0.decided = host.disk.0.decided.max(host.disk.0.applied);
        host.replica = Some(Replica::new(now, options, host.disk.0.clone()));
        host.start = self.seed;
        (host.durable, host.delivered, host.wake_at) = (PersistId(0), host.disk.0.applied, None);
        self.input(id, Input::Tick);
    }

    /// Starts all and connects them to each other.
    pub(super) fn start_all(&mut self) {
        for id in self.ids() {
            if self.hosts[&id].replica.is_none() {
                self.start(id);
            }
        }
        self.connect_all();
    }

    pub(super) fn connect_all(&mut self) {
        for a in self.ids() {
            for b in self.ids() {
                if a != b {
                    self.input(a, Input::Connected(b));
                }
            }
        }
    }

    /// Ends the process; of what it had handed out to be written, the first `written` batches were.
    pub(super) fn crash(&mut self, id: NodeId, written: usize) {
        for _ in 0..written {
            self.write(id);
        }
        let host = self.hosts.get_mut(&id).expect("a host");
        host.replica = None;
        host.unwritten.clear();
        host.held_back.clear();
        (host.wanted, host.fetched) = (None, None);
        host.reads.clear();
        host.wake_at = None;
    }

    pub(super) fn input(&mut self, id: NodeId, input: Input) {
        let now = self.now;
        let Some(replica) = self
            .hosts
            .get_mut(&id)
            .and_then(|host| host.replica.as_mut())
        else {
            return;
        };
        let outputs = replica.handle(now, input);
        for output in outputs {
            self.output(id, output);
        }
        let host = &self.hosts[&id];
        let Some(replica) = &host.replica else { return };
        assert!(
            replica.synced() <= Some(replica.ballot()),
            "synced above the promise"
        );
        if replica.role() == Role::Leader {
            let start = *self.led.entry(replica.ballot()).or_insert(host.start);
            assert_eq!(start, host.start, "a ballot is led again after a restart");
        }
    }

    fn output(&mut self, id: NodeId, output: Output) {
        let host = self.hosts.get_mut(&id).expect("a host");
        match output {
            Output::Persist { id, batch } => host.unwritten.push_back((id, batch)),
            Output::Send { to, message, after } => {
                match after.filter(|after| *after > host.durable) {
                    Some(after) => host.held_back.push((after, to, message)),
                    None => self.send(id, to, message),
                }
            }
            Output::Decided { first, entries } => {
                assert_eq!(
                    first,
                    host.delivered.next(),
                    "slots are handed on in order, once"
                );
                host.delivered = host.delivered.plus(entries.len());
                self.acknowledged = self.acknowledged.max(host.delivered);
                for (offset, entry) in entries.into_iter().enumerate() {
                    let slot = first.plus(offset);
                    assert_eq!(
                        self.chosen.get(&slot),
                        Some(&entry),
                        "slot {slot} is handed on but not chosen"
                    );
                }
            }
            Output::Refused { id, reason } => self.refused.push((id, reason)),
            Output::ReadReady { id, slot } => {
                let expected = host.reads.remove(&id).expect("a read that was asked");
                assert!(
                    slot >= expected,
                    "a read misses what was acknowledged before it"
                );
                self.reads_ready += 1;
            }
            Output::ReadRefused { id, .. } => {
                host.reads.remove(&id).expect("a read that was asked");
                self.reads_refused += 1;
            }
            Output::Fetch { from, start } => host.wanted = Some((from, start)),
            Output::Install(base) => {
                assert_eq!(host.fetched, Some(base), "installs what was not fetched");
                assert!(base.slot > host.delivered, "the state goes back");
                host.delivered = base.slot;
                let chosen = self.chosen.get(&base.slot);
                assert_eq!(
                    chosen.map(|entry| entry.ballot),
                    Some(base.ballot),
                    "a checkpoint of what was not chosen"
                );
                self.installed += 1;
            }
            Output::TransferFailed { .. } | Output::SealRefused { .. } | Output::Entered { .. } => {
            }
            Output::RoleChanged { role, .. } => {
                assert!(
                    role == Role::Leader || host.reads.is_empty(),
                    "reads outlive the leadership"
                );
            }
            Output::WakeAt(at) => host.wake_at = Some(at),
        }
    }

    /// A message leaves: what it promises must be durable, whatever the replica said it waits for.
    fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        let disk = &self.hosts[&from].disk;
        match &message {
            Message::Prepare { ballot }
            | Message::Promise { ballot, .. }
            | Message::Behind { ballot, .. } => {
                assert!(
                    disk.0.promised >= *ballot,
                    "a promise leaves before it is durable"
                );
            }
            Message::Accepted { ballot, last } => {
                let held = disk.0.synced == Some(*ballot) && disk.last() >= *last;
                assert!(
                    held || disk.0.synced > Some(*ballot),
                    "a vote leaves before it is durable"
                );
            }
            Message::Heard {
                ballot,
                position: Some(position),
                ..
            } if position.accepted > Slot::ZERO => {
                assert!(
                    disk.0.synced == Some(*ballot) && disk.last() >= position.accepted,
                    "a vote not durable"
                );
            }
            _ => {}
        }
        if !self.cut.contains(&(from, to)) {
            self.wire.push((from, to, message));
        }
    }

    /// The oldest batch handed out becomes durable. False if there is none.
    pub(super) fn write(&mut self, id: NodeId) -> bool {
        let quorum = self.quorum();
        let host = self.hosts.get_mut(&id).expect("a host");
        let Some((persist, batch)) = host.unwritten.pop_front() else {
            return false;
        };
        host.disk.write(batch);
        host.durable = persist;
        let (disk, synced) = (&host.disk, host.disk.0.synced);
        // A ballot has one log, its leader's; who is in sync with it holds a beginning of that.
        for (offset, entry) in disk.0.entries.iter().enumerate() {
            let Some(ballot) = synced else { break };
            let slot = disk.0.start.plus(offset);
            let (known, voters) = self
                .accepted
                .entry((ballot, slot))
                .or_insert((entry.clone(), BTreeSet::new()));
            assert_eq!(known, entry, "two logs of ballot {ballot} at slot {slot}");
            voters.insert(id);
            if voters.len() >= quorum {
                let chosen = self.chosen.entry(slot).or_insert_with(|| entry.clone());
                assert_eq!(chosen, entry, "two values chosen in slot {slot}");
            }
        }
        let ready: Vec<_> = host
            .held_back
            .extract_if(.., |(after, ..)| *after <= persist)
            .collect();
        for (_, to, message) in ready {
            self.send(id, to, message);
        }
        self.input(id, Input::Persisted(persist));
        true
    }

    /// Takes a checkpoint of what was handed on and is durable, and forgets the log through a slot of at most that.
    pub(super) fn compact(&mut self, id: NodeId, keep: u64) {
        let host = self.hosts.get_mut(&id).expect("a host");
        if host.replica.is_none()
            || host.disk.last() < host.delivered
            || host.disk.0.synced.is_none()
        {
            return;
        }
        let base = Slot(host.delivered.0.saturating_sub(keep));
        host.disk.compact(host.delivered, base);
        self.input(id, Input::Compact { through: base });
    }

    /// The checkpoint that a node wants arrives, if its peer has such a one.
    pub(super) fn fetch(&mut self, id: NodeId) {
        let Some((peer, start)) = self.hosts.get_mut(&id).and_then(|host| host.wanted.take())
        else {
            return;
        };
        let from = &self.hosts[&peer];
        let offered = from.replica.as_ref().and_then(|_| from.disk.checkpoint());
        if let Some(base) = offered.filter(|base| base.slot.next() >= start) {
            let host = self.hosts.get_mut(&id).expect("a host");
            host.fetched = Some(base);
            let succession = None;
            self.input(id, Input::Fetched { base, succession });
        }
    }

    /// Takes a message off the wire and hands it over.
    pub(super) fn deliver(&mut self, index: usize) {
        let (from, to, message) = self.wire.remove(index);
        self.input(to, Input::Message { from, message });
    }

    pub(super) fn propose(&mut self, id: NodeId) -> ProposalId {
        self.next_id += 1;
        let command = Bytes::from(self.next_id.to_string());
        self.input(
            id,
            Input::Propose {
                id: ProposalId(self.next_id),
                command,
            },
        );
        ProposalId(self.next_id)
    }

    pub(super) fn read(&mut self, id: NodeId) {
        if self.hosts[&id].replica.is_none() {
            return;
        }
        self.next_id += 1;
        let acknowledged = self.acknowledged;
        let host = self.hosts.get_mut(&id).expect("a host");
        host.reads.insert(ReadId(self.next_id), acknowledged);
        self.input(
            id,
            Input::Read {
                id: ReadId(self.next_id),
            },
        );
    }

    /// Makes everything durable and delivers everything, in order, until nothing is left to do at this time.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            let written = self.ids().into_iter().filter(|&id| self.write(id)).count();
            self.ids().into_iter().for_each(|id| self.fetch(id));
            if !self.wire.is_empty() {
                self.deliver(0);
            } else if written == 0 {
                return;
            }
        }
        panic!("the network does not come to rest");
    }

    /// Lets so much time pass, every timer in its turn, nothing lost but what is cut.
    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        loop {
            let wakes = self
                .hosts
                .iter()
                .filter_map(|(&id, host)| host.wake_at.map(|at| (at, id)));
            let Some((at, id)) = wakes.min().filter(|(at, _)| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            self.tick(id);
            self.settle();
        }
        self.now = end;
    }

    pub(super) fn tick(&mut self, id: NodeId) {
        let host = self.hosts.get_mut(&id).expect("a host");
        host.wake_at = None;
        self.input(id, Input::Tick);
    }
}
