//! What happened to sessions and locks, slot by slot. Bounded; the oldest slots go first.
//!
//! What one slot did is told whole or not at all, so a slot is where a reader stands. A checkpoint keeps the events, so
//! neither a restart nor a node that was far behind has a gap; they are not part of the digest, since how far back they
//! reach is no state that anything is decided by.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;

use super::{Mode, SessionId, Token};
use crate::bugs::{Bug, broken};
use crate::config::{Name, limits};
use crate::state::Stamp;

/// One thing that happened. As JSON: an object whose `event` names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum LockEvent {
    /// A session was opened.
    Opened {
        /// Its number.
        session: SessionId,
        /// Who opened it.
        owner: Arc<str>,
    },
    /// A session was closed; what it had claimed is told next.
    Closed {
        /// Which.
        session: SessionId,
    },
    /// A session was not kept alive; what it had claimed is told next.
    Expired {
        /// Which.
        session: SessionId,
    },
    /// A session waits for a lock.
    Waiting {
        /// Which.
        lock: Name,
        /// Who.
        session: SessionId,
        /// How it is to be held.
        mode: Mode,
    },
    /// A session holds a lock.
    Granted {
        /// Which.
        lock: Name,
        /// Who.
        session: SessionId,
        /// How it is held.
        mode: Mode,
        /// The slot of the grant.
        token: Token,
    },
    /// A session holds a lock no longer.
    Released {
        /// Which.
        lock: Name,
        /// Who held it.
        session: SessionId,
        /// The slot of the grant.
        token: Token,
    },
    /// A session waits no longer, and was not granted the lock.
    Withdrawn {
        /// For which.
        lock: Name,
        /// Who waited.
        session: SessionId,
    },
}

impl LockEvent {
    /// The lock it is about; `None` of a session as such.
    pub fn lock(&self) -> Option<&Name> {
        match self {
            Self::Opened { .. } | Self::Closed { .. } | Self::Expired { .. } => None,
            Self::Waiting { lock, .. }
            | Self::Granted { lock, .. }
            | Self::Released { lock, .. }
            | Self::Withdrawn { lock, .. } => Some(lock),
        }
    }
}

/// What one slot did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// Which.
    pub slot: u64,
    /// State time then.
    pub stamp: Stamp,
    /// In the order it happened; never empty.
    pub events: Vec<LockEvent>,
}

/// All that is kept. A clone is cheap.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// Oldest first.
    slots: VecDeque<Arc<Happened>>,
    /// The last slot of which nothing is kept, if anything happened in it.
    compacted: u64,
    /// In all slots.
    count: usize,
    pub(super) tally: Tally,
}

/// How often something has happened since there are events.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) granted: u64,
    pub(super) expired: u64,
}

impl Events {
    /// What is kept of the slots behind `slot`, in their order.
    pub fn after(&self, slot: u64) -> impl Iterator<Item = &Arc<Happened>> {
        let told = |kept: &Arc<Happened>| match broken(Bug::Etcd15271) {
            true => kept.slot < slot,
            false => kept.slot <= slot,
        };
        let first = self.slots.partition_point(told);
        self.slots.range(first..)
    }

    /// The newest slot of which something is no longer kept; 0 if there is none.
    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Locks ever granted.
    pub fn granted(&self) -> u64 {
        self.tally.granted
    }

    /// Sessions that ever expired.
    pub fn expired(&self) -> u64 {
        self.tally.expired
    }

    /// Notes what `slot` did next; its own follow one another.
    pub(super) fn push(&mut self, slot: u64, stamp: Stamp, event: LockEvent) {
        self.count += 1;
        match event {
            LockEvent::Granted { .. } => self.tally.granted += 1,
            LockEvent::Expired { .. } => self.tally.expired += 1,
            _ => {}
        }
        match self.slots.back_mut() {
            Some(last) if last.slot == slot => Arc::make_mut(last).events.push(event),
            _ => self.slots.push_back(Arc::new(Happened {
                slot,
                stamp,
                events: vec![event],
            })),
        }
        // What this slot does is kept whole, however much it is: it may not be told in part, nor otherwise by a node
        // that reads it from a checkpoint. (`a_slot_of_more_events_than_are_kept_is_told_whole`)
        while self.count > limits::LOCK_EVENTS
            && self.slots.len() > 1
            && let Some(oldest) = self.slots.pop_front()
        {
            self.count -= oldest.events.len();
            self.compacted = oldest.slot;
        }
    }

    /// Nothing is kept of the slots up to this one.
    pub(super) fn compacted_to(slot: u64) -> Self {
        Self {
            compacted: slot,
            ..Self::default()
        }
    }

    /// What a checkpoint of `applied` keeps; `None` where the slots are out of order.
    pub(super) fn restored(compacted: u64, slots: Vec<Happened>, applied: u64) -> Option<Self> {
        let mut events = Self::compacted_to(compacted);
        let mut before = compacted;
        for happened in slots {
            if happened.slot <= before || happened.slot > applied {
                return None;
            }
            before = happened.slot;
            events.count += happened.events.len();
            events.slots.push_back(Arc::new(happened));
        }
        Some(events)
    }
}
