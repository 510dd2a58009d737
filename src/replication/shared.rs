//! What the driver, the transport and the handles share.
//!
//! The driver writes here, all others read; nobody holds a lock across anything that waits.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::calls::{Attempt, Calls};
use super::group::Group;
use super::inbox::Inbox;
use super::links::Links;
use super::reports::Reports;
use super::status::{Counters, State};
use crate::config::{Config, Revision};
use crate::paxos::{Ballot, Message, NodeId, PersistId, Role, Slot};
use crate::state::{Machine, Stamp};

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
        reply: oneshot::Sender<Attempt>,
    },
    Read {
        reply: oneshot::Sender<Option<u64>>,
    },
    /// This batch and all before it are durable.
    Persisted(PersistId),
    /// Whether the log waits for space on the disk.
    DiskFull(bool),
    /// The group is founded, or was when this node started.
    Founded,
    /// The replica must end: the log failed, or the group does not know this directory.
    Fail(String),
    Stop,
}

/// All that is shared.
pub(super) struct Shared {
    pub(super) inbox: Inbox<Event>,
    pub(super) machine: RwLock<Machine>,
    pub(super) committed: watch::Sender<Committed>,
    /// The slot applied.
    pub(super) applied: watch::Sender<u64>,
    /// The slot that is known here, durably, to be decided.
    pub(super) durable: watch::Sender<u64>,
    pub(super) decided: watch::Sender<Slot>,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) counters: Arc<Counters>,
    /// Commands this node has proposed as leader and not yet answered.
    pub(super) open: AtomicUsize,
    pub(super) links: Links,
    pub(super) calls: Calls,
    pub(super) reports: Reports,
    group: watch::Sender<Arc<Group>>,
    stamp: Mutex<Stamp>,
}

impl Shared {
    pub(super) fn new(group: Group, standing: Standing, reports: Reports) -> Self {
        let counters = Arc::new(Counters::default());
        Self {
            inbox: Inbox::new(INBOX_BYTES),
            machine: RwLock::new(Machine::new()),
            committed: watch::Sender::default(),
            applied: watch::Sender::new(0),
            durable: watch::Sender::new(0),
            decided: watch::Sender::new(Slot::ZERO),
            standing: watch::Sender::new(standing),
            open: AtomicUsize::new(0),
            links: Links::new(counters.clone()),
            counters,
            calls: Calls::default(),
            reports,
            group: watch::Sender::new(Arc::new(group)),
            stamp: Mutex::default(),
        }
    }

    /// Who belongs to the group, as it is known now.
    pub(super) fn group(&self) -> Arc<Group> {
        self.group.borrow().clone()
    }

    /// The group is known better now, durably.
    pub(super) fn regroup(&self, group: Group) {
        self.group.send_replace(Arc::new(group));
    }

    /// Short looks at the state machine.
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
        let seen = self.inspect(Machine::now);
        let mut stamp = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        *stamp = Stamp(u64::try_from(wall).unwrap_or(0))
            .max(*stamp)
            .max(seen);
        *stamp
    }

    /// Hands an event to the driver, unless too much waits there or it has ended.
    pub(super) fn offer(&self, event: Event) -> Result<(), super::inbox::Full> {
        let weight = EVENT_BYTES + event.bytes();
        self.inbox.offer(event, weight)
    }
}

impl Event {
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
