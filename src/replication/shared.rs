//! What the driver, the transport and the handles share.
//!
//! The driver writes here, all others read; nobody holds a lock across anything that waits.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::calls::Calls;
use super::feed::Feed;
use super::group::Group;
use super::inbox::{Inbox, Refused};
use super::leases::Leases;
use super::links::Links;
use super::proposer::Proposer;
use super::reports::Reports;
use super::status::{Counters, State};
use super::storage::checkpoint::Meta;
use crate::config::{Config, Revision};
use crate::paxos::{
    Ballot, Entry, Epoch, Message, NodeId, PersistId, Role, Seal, Slot, Succession,
};
use crate::state::{Glance, Machine, Stamp};
use crate::tls::PeerTls;

/// Bytes that wait for the driver, at most.
const INBOX_BYTES: usize = 64 << 20;
/// What an event is taken to weigh beyond its bytes.
const EVENT_BYTES: usize = 256;

/// The config as of its last change.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// The slot that changed it last.
    pub revision: Revision,
    /// What it is now.
    pub config: Arc<Config>,
}

/// Where the replica stands in the group; whoever waits for a leader watches this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) state: State,
    pub(super) role: Role,
    pub(super) leader: Option<NodeId>,
    pub(super) ballot: Ballot,
    /// Of a follower: the voter that feeds it and takes what it asks of the leader.
    pub(super) voter: Option<NodeId>,
}

impl Standing {
    /// Whom this node asks where the leader is to be asked.
    pub(super) fn asks(&self) -> Option<NodeId> {
        self.voter.or(self.leader)
    }
}

/// What the driver is told.
pub(super) enum Event {
    Message {
        from: NodeId,
        message: Message,
    },
    Connected(NodeId),
    Disconnected(NodeId),
    Propose {
        command: Bytes,
        proposer: Proposer,
    },
    Read {
        reply: oneshot::Sender<Option<u64>>,
    },
    /// To the leader: end this epoch with this Seal, and tell when the next has begun here, or why it is refused.
    Seal {
        epoch: Epoch,
        seal: Seal,
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// To the leader: hand over, and tell who leads then, or why nobody else does.
    Transfer {
        to: Option<NodeId>,
        reply: oneshot::Sender<Result<NodeId, String>>,
    },
    /// To a voter, for a follower of it: what is decided behind this slot?
    Fetch {
        after: Slot,
        reply: oneshot::Sender<Fetched>,
    },
    /// To a follower: these are decided.
    Entries {
        first: Slot,
        entries: Vec<Entry>,
        /// Held until they are durable.
        room: OwnedSemaphorePermit,
    },
    /// To a follower: the digest of the state at a slot.
    Digest {
        slot: u64,
        digest: u64,
    },
    /// This batch and all before it are durable.
    Persisted(PersistId),
    /// From here on a start goes on from this checkpoint, and the log through a slot is not needed any more.
    Kept {
        meta: Meta,
        through: Slot,
    },
    /// A checkpoint of a peer is here, ready to be adopted.
    Fetched(Box<Image>),
    /// One is on its way.
    Fetching,
    /// Whether the log waits for space on the disk.
    DiskFull(bool),
    /// The group is founded, or was when this node started.
    Founded,
    /// Others vote in its place, and need nothing of it any more: it is to follow them.
    Demoted,
    /// The replica must end: the log failed, or the group does not know this directory.
    Fail(String),
    Stop,
}

/// A peer's checkpoint, verified and read.
pub(super) struct Image {
    pub(super) meta: Meta,
    /// Who votes behind it; none before the first Seal.
    pub(super) succession: Option<Succession>,
    pub(super) machine: Machine,
}

/// What a voter has for a follower.
pub(super) enum Fetched {
    /// As many as fit into a frame; none when there is nothing behind the slot.
    Entries(Vec<Entry>),
    /// They are no longer in the log, which starts at this slot.
    Compacted(Slot),
}

/// What a follower was last told by its voter.
#[derive(Clone, Copy)]
pub(super) struct Heartbeat {
    pub(super) at: Instant,
    pub(super) slot: u64,
    /// How old the voter's own knowledge of the leader was.
    pub(super) age: Duration,
    /// Whether there was a leader.
    pub(super) led: bool,
}

/// All that is shared.
pub(super) struct Shared {
    pub(super) inbox: Inbox<Event>,
    /// What nodes show each other, if they do.
    pub(super) tls: Option<Arc<PeerTls>>,
    pub(super) machine: RwLock<Machine>,
    /// Of that machine, as of what was applied last: nobody waits here for what is being applied.
    glance: RwLock<Glance>,
    pub(super) committed: watch::Sender<Committed>,
    /// The slot applied.
    pub(super) applied: watch::Sender<u64>,
    /// The last slot applied that changed sessions or locks.
    pub(super) locked: watch::Sender<u64>,
    /// The slot that is known here, durably, to be decided.
    pub(super) durable: watch::Sender<u64>,
    pub(super) decided: watch::Sender<Slot>,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) counters: Arc<Counters>,
    /// Whose checkpoint this node needs, and the slot behind it from where it needs no other.
    pub(super) wanted: watch::Sender<Option<(NodeId, Slot)>>,
    /// The slot of the newest checkpoint; 0 until there is one.
    pub(super) checkpoint: AtomicU64,
    pub(super) links: Links,
    pub(super) calls: Calls,
    pub(super) reports: Reports,
    /// What followers of this voter are told.
    pub(super) feed: Feed,
    /// What this node, a follower, was last told.
    pub(super) heartbeat: Mutex<Option<Heartbeat>>,
    /// A clean stop: a follower says that it leaves.
    pub(super) leaving: AtomicBool,
    /// Of the leadership this node has or last had.
    pub(super) leases: Mutex<Option<Leases>>,
    /// What leases are measured from.
    pub(super) origin: Instant,
    group: watch::Sender<Arc<Group>>,
    stamp: Mutex<Stamp>,
}

impl Shared {
    pub(super) fn new(group: Group, standing: Standing, reports: Reports) -> Self {
        let counters = Arc::new(Counters::default());
        let machine = Machine::new();
        Self {
            inbox: Inbox::new(INBOX_BYTES),
            tls: None,
            glance: RwLock::new(machine.glance()),
            machine: RwLock::new(machine),
            committed: watch::Sender::default(),
            applied: watch::Sender::new(0),
            locked: watch::Sender::new(0),
            durable: watch::Sender::new(0),
            decided: watch::Sender::new(Slot::ZERO),
            standing: watch::Sender::new(standing),
            wanted: watch::Sender::new(None),
            checkpoint: AtomicU64::new(0),
            links: Links::new(counters.clone()),
            counters,
            calls: Calls::default(),
            reports,
            feed: Feed::default(),
            heartbeat: Mutex::default(),
            leaving: AtomicBool::new(false),
            leases: Mutex::default(),
            origin: Instant::now(),
            group: watch::Sender::new(Arc::new(group)),
            stamp: Mutex::default(),
        }
    }

    /// The same for a node that shows a certificate, and wants to see them.
    pub(super) fn with_tls(self, tls: Option<Arc<PeerTls>>) -> Self {
        Self { tls, ..self }
    }

    /// The same in a build that knows this feature level.
    pub(super) fn knowing(self, level: u32) -> Self {
        let machine = RwLock::new(Machine::new().knowing(level));
        Self { machine, ..self }
    }

    /// Who belongs to the group, as it is known now.
    pub(super) fn group(&self) -> Arc<Group> {
        self.group.borrow().clone()
    }

    /// Changes whenever the group is known better.
    pub(super) fn group_changes(&self) -> watch::Receiver<Arc<Group>> {
        self.group.subscribe()
    }

    /// What this node, a follower, was last told by its voter.
    pub(super) fn last_heartbeat(&self) -> Option<Heartbeat> {
        *self
            .heartbeat
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The group is known better now, durably.
    pub(super) fn regroup(&self, group: Group) {
        self.group.send_replace(Arc::new(group));
    }

    /// Goes on from the state of a checkpoint.
    pub(super) fn go_on_from(&self, machine: Machine) {
        let slot = machine.applied();
        let (revision, config) = (machine.revision(), machine.config().clone());
        let locked = machine.locks().changed();
        let glance = machine.glance();
        let mut state = self.machine.write().unwrap_or_else(PoisonError::into_inner);
        let knows = state.knows();
        *state = machine.knowing(knows);
        drop(state);
        self.show(glance);
        self.committed.send_replace(Committed { revision, config });
        self.decided.send_replace(Slot(slot));
        self.applied.send_replace(slot);
        self.locked.send_replace(locked);
        self.checkpoint.store(slot, Relaxed);
        self.feed.pass_over(Slot(slot));
    }

    /// The state machine, as of what was applied last.
    pub(super) fn glance(&self) -> Glance {
        let glance = self.glance.read();
        glance.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something was applied; before anybody hears of it.
    pub(super) fn show(&self, glance: Glance) {
        let mut shown = self.glance.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *shown, glance);
        drop(shown);
        // A config may be the last of its kind, and large.
        drop(before);
    }

    /// Short looks at the state machine, which may wait for what is being applied.
    pub(super) fn inspect<R>(&self, look: impl FnOnce(&Machine) -> R) -> R {
        // After a panic of the driver the machine is where it was: reading it is better than failing the reader.
        look(&self.machine.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes where the replica stands, waking whoever watches only if it is a change.
    pub(super) fn stand(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_if_modified(|standing| {
            let before = standing.clone();
            change(standing);
            *standing != before
        });
    }

    /// The time a command is proposed at: the wall clock, but never back.
    pub(super) fn stamp(&self) -> Stamp {
        let wall = std::time::UNIX_EPOCH
            .elapsed()
            .unwrap_or_default()
            .as_millis();
        let seen = self.glance().now;
        let mut stamp = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        *stamp = Stamp(u64::try_from(wall).unwrap_or(0))
            .max(*stamp)
            .max(seen);
        *stamp
    }

    /// Hands an event to the driver, unless too much waits there or it has ended.
    pub(super) fn offer(&self, event: Event) -> Result<(), Refused<Event>> {
        let weight = EVENT_BYTES + event.bytes();
        match event {
            // Those of a crowd share a batch.
            Event::Propose { .. } => self.inbox.offer_patient(event, weight),
            event => self.inbox.offer(event, weight),
        }
    }
}

impl Event {
    /// Whether the replica is to end.
    pub(super) fn ends(&self) -> bool {
        matches!(self, Self::Stop | Self::Fail(_))
    }

    /// The bytes it keeps in memory.
    fn bytes(&self) -> usize {
        match self {
            Self::Propose { command, .. } => command.len(),
            Self::Message { message, .. } => match message {
                Message::Accept { payloads, .. } => {
                    payloads.iter().map(|payload| payload.weight()).sum()
                }
                Message::Chunk { entries, .. } | Message::Sync { entries, .. } => {
                    entries.iter().map(|entry| entry.payload.weight()).sum()
                }
                _ => 0,
            },
            _ => 0,
        }
    }
}
