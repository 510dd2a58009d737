//! Sessions and locks as a checkpoint keeps them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;

use super::events_image::EventsImage;
use super::operation::millis;
use super::table::Session;
use super::{Claim, Delay, Events, Holder, Lock, Locks, Mode, SessionId, Term, Token};
use crate::config::Name;
use crate::state::Stamp;

/// All of it.
#[derive(Clone, PartialEq, Message)]
pub(in crate::state) struct LocksImage {
    #[prost(message, repeated, tag = "1")]
    sessions: Vec<SessionImage>,
    #[prost(message, repeated, tag = "2")]
    locks: Vec<LockImage>,
    #[prost(uint64, tag = "3")]
    forgotten: u64,
    #[prost(uint32, tag = "4")]
    epoch: u32,
    #[prost(uint64, tag = "5")]
    round: u64,
    #[prost(uint32, tag = "6")]
    node: u32,
    #[prost(uint64, tag = "7")]
    changed: u64,
    /// None in what a digest is over, and in what builds that knew no events have written.
    #[prost(message, optional, tag = "8")]
    events: Option<EventsImage>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionImage {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    lease_ms: u64,
    #[prost(string, tag = "3")]
    owner: String,
    #[prost(uint64, tag = "4")]
    opened: u64,
}

#[derive(Clone, PartialEq, Message)]
struct LockImage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    newest: u64,
    #[prost(uint64, tag = "3")]
    fence: u64,
    /// Holders first, then who waits.
    #[prost(message, repeated, tag = "4")]
    claims: Vec<ClaimImage>,
    #[prost(message, optional, tag = "5")]
    delay: Option<DelayImage>,
}

#[derive(Clone, PartialEq, Message)]
struct ClaimImage {
    #[prost(uint64, tag = "1")]
    session: u64,
    #[prost(uint64, tag = "2")]
    ticket: u64,
    #[prost(bool, tag = "3")]
    shared: bool,
    #[prost(uint64, tag = "4")]
    wait_ms: u64,
    #[prost(uint64, tag = "5")]
    delay_ms: u64,
    #[prost(string, tag = "6")]
    content: String,
    /// 0 of one that waits.
    #[prost(uint64, tag = "7")]
    token: u64,
    #[prost(uint64, tag = "8")]
    since: u64,
}

#[derive(Clone, PartialEq, Message)]
struct DelayImage {
    #[prost(bool, tag = "1")]
    shared: bool,
    #[prost(uint64, tag = "2")]
    token: u64,
    #[prost(uint64, tag = "3")]
    lasts_ms: u64,
}

impl LocksImage {
    /// But for the events.
    pub(super) fn of(locks: &Locks) -> Self {
        let session = |(id, session): (SessionId, &Session)| SessionImage {
            id: id.0,
            lease_ms: millis(session.lease),
            owner: session.owner.clone(),
            opened: session.opened.0,
        };
        Self {
            sessions: locks.sessions().map(session).collect(),
            locks: locks.locks().map(lock_image).collect(),
            forgotten: locks.forgotten.0,
            epoch: locks.term.epoch,
            round: locks.term.round,
            node: locks.term.node,
            changed: locks.changed,
            events: None,
        }
    }

    /// The same with the events.
    pub(in crate::state) fn whole(locks: &Locks) -> Self {
        Self {
            events: Some(EventsImage::of(&locks.events)),
            ..Self::of(locks)
        }
    }

    #[cfg(test)]
    pub(super) fn forget_events(&mut self) {
        self.events = None;
    }

    pub(super) fn encoded(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// What it was made of; `applied` is the slot it was made at.
    pub(in crate::state) fn restore(self, applied: u64) -> Result<Locks, &'static str> {
        let mut locks = Locks {
            forgotten: Token(self.forgotten),
            term: Term {
                epoch: self.epoch,
                round: self.round,
                node: self.node,
            },
            changed: self.changed,
            events: match self.events {
                Some(events) => events.restore(applied),
                None => Events::compacted_to(applied),
            },
            ..Locks::default()
        };
        for session in self.sessions {
            let restored = Session {
                lease: Duration::from_millis(session.lease_ms),
                owner: session.owner,
                opened: Stamp(session.opened),
                locks: Default::default(),
            };
            let id = SessionId(session.id);
            if session.id > applied || locks.sessions.insert(id, restored).is_some() {
                return Err("a session is there twice, or of a later slot");
            }
        }
        for lock in self.locks {
            add(&mut locks, lock, applied)?;
        }
        Ok(locks)
    }
}

fn add(locks: &mut Locks, image: LockImage, applied: u64) -> Result<(), &'static str> {
    let name = Name::new(&image.name).map_err(|_| "a lock has no name")?;
    let lock = restored(image)?;
    if lock.newest.0 > applied || lock.fence > lock.newest {
        return Err("a lock was granted in a later slot");
    }
    let claims = lock.holders.iter().map(|holder| &holder.claim);
    for claim in claims.chain(&lock.queue) {
        let Some(session) = locks.sessions.get_mut(&claim.session) else {
            return Err("a lock is claimed by a session that has ended");
        };
        if !session.locks.insert(name.clone()) {
            return Err("a session claims a lock twice");
        }
    }
    locks.claims += lock.claims();
    if lock.is_idle() {
        locks.free.insert((lock.newest, name.clone()));
    }
    match locks.locks.insert(name, lock) {
        None => Ok(()),
        Some(_) => Err("a lock is there twice"),
    }
}

fn lock_image((name, lock): (&Name, &Lock)) -> LockImage {
    let claim = |claim: &Claim| ClaimImage {
        session: claim.session.0,
        ticket: claim.ticket,
        shared: claim.mode == Mode::Shared,
        wait_ms: millis(claim.wait),
        delay_ms: millis(claim.delay),
        content: claim.content.to_string(),
        token: 0,
        since: 0,
    };
    let held = lock.holders.iter().map(|holder| ClaimImage {
        token: holder.token.0,
        since: holder.since.0,
        ..claim(&holder.claim)
    });
    LockImage {
        name: name.to_string(),
        newest: lock.newest.0,
        fence: lock.fence.0,
        claims: held.chain(lock.queue.iter().map(claim)).collect(),
        delay: lock.delay.map(|delay| DelayImage {
            shared: delay.mode == Mode::Shared,
            token: delay.token.0,
            lasts_ms: millis(delay.lasts),
        }),
    }
}

fn restored(image: LockImage) -> Result<Lock, &'static str> {
    let mut lock = Lock {
        newest: Token(image.newest),
        fence: Token(image.fence),
        holders: Vec::new(),
        queue: VecDeque::new(),
        delay: image.delay.map(|delay| Delay {
            mode: mode(delay.shared),
            token: Token(delay.token),
            lasts: Duration::from_millis(delay.lasts_ms),
        }),
    };
    for image in image.claims {
        let claim = Claim {
            session: SessionId(image.session),
            ticket: image.ticket,
            mode: mode(image.shared),
            wait: Duration::from_millis(image.wait_ms),
            delay: Duration::from_millis(image.delay_ms),
            content: Arc::from(image.content),
        };
        if image.token == 0 {
            lock.queue.push_back(claim);
            continue;
        }
        let mut others = lock.holders.iter().map(|holder| holder.claim.mode);
        if !others.all(|other| claim.mode.goes_with(other)) || image.token > lock.newest.0 {
            return Err("a lock is held by two that exclude each other, or by a later grant");
        }
        lock.holders.push(Holder {
            claim,
            token: Token(image.token),
            since: Stamp(image.since),
        });
    }
    Ok(lock)
}

fn mode(shared: bool) -> Mode {
    if shared {
        Mode::Shared
    } else {
        Mode::Exclusive
    }
}
