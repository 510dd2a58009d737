//! The events of sessions and locks as a checkpoint keeps them.

use prost::Message;

use super::events::Tally;
use super::{Events, Happened, LockEvent, Mode, SessionId, Token};
use crate::bugs::{Bug, broken};
use crate::config::Name;
use crate::state::Stamp;

/// All of them.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EventsImage {
    #[prost(uint64, tag = "1")]
    compacted: u64,
    #[prost(message, repeated, tag = "2")]
    slots: Vec<SlotImage>,
    #[prost(uint64, tag = "3")]
    granted: u64,
    #[prost(uint64, tag = "4")]
    expired: u64,
}

#[derive(Clone, PartialEq, Message)]
struct SlotImage {
    #[prost(uint64, tag = "1")]
    slot: u64,
    #[prost(uint64, tag = "2")]
    stamp: u64,
    #[prost(message, repeated, tag = "3")]
    events: Vec<EventImage>,
}

/// The fields that its kind has; the others are of no meaning.
#[derive(Clone, PartialEq, Message)]
struct EventImage {
    #[prost(enumeration = "Kind", tag = "1")]
    kind: i32,
    #[prost(uint64, tag = "2")]
    session: u64,
    #[prost(string, tag = "3")]
    lock: String,
    #[prost(bool, tag = "4")]
    shared: bool,
    #[prost(uint64, tag = "5")]
    token: u64,
    #[prost(string, tag = "6")]
    owner: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Kind {
    Unknown = 0,
    Opened = 1,
    Closed = 2,
    Expired = 3,
    Waiting = 4,
    Granted = 5,
    Released = 6,
    Withdrawn = 7,
}

impl EventsImage {
    pub(super) fn of(events: &Events) -> Self {
        let slots = events.after(0).map(|happened| SlotImage {
            slot: happened.slot,
            stamp: happened.stamp.0,
            events: happened.events.iter().map(image).collect(),
        });
        Self {
            compacted: events.compacted(),
            slots: slots.filter(|_| !broken(Bug::Etcd17529)).collect(),
            granted: events.granted(),
            expired: events.expired(),
        }
    }

    /// What it was made of. Where this build cannot read that, nothing is kept: whoever watches is told so.
    pub(super) fn restore(self, applied: u64) -> Events {
        let slot = |image: SlotImage| {
            let events: Option<Vec<LockEvent>> = image.events.into_iter().map(event).collect();
            Some(Happened {
                slot: image.slot,
                stamp: Stamp(image.stamp),
                events: events?,
            })
        };
        let slots: Option<Vec<Happened>> = self.slots.into_iter().map(slot).collect();
        let restored = slots.and_then(|slots| Events::restored(self.compacted, slots, applied));
        let mut events = restored.unwrap_or_else(|| Events::compacted_to(applied));
        events.tally = Tally {
            granted: self.granted,
            expired: self.expired,
        };
        events
    }
}

fn image(event: &LockEvent) -> EventImage {
    let of = |kind: Kind, session: &SessionId| EventImage {
        kind: kind.into(),
        session: session.0,
        ..EventImage::default()
    };
    let on = |kind, session, lock: &Name, mode: Mode, token: Token| EventImage {
        lock: lock.to_string(),
        shared: mode == Mode::Shared,
        token: token.0,
        ..of(kind, session)
    };
    match event {
        LockEvent::Opened { session, owner } => EventImage {
            owner: owner.to_string(),
            ..of(Kind::Opened, session)
        },
        LockEvent::Closed { session } => of(Kind::Closed, session),
        LockEvent::Expired { session } => of(Kind::Expired, session),
        LockEvent::Waiting {
            lock,
            session,
            mode,
        } => on(Kind::Waiting, session, lock, *mode, Token(0)),
        LockEvent::Granted {
            lock,
            session,
            mode,
            token,
        } => on(Kind::Granted, session, lock, *mode, *token),
        LockEvent::Released {
            lock,
            session,
            token,
        } => on(Kind::Released, session, lock, Mode::Exclusive, *token),
        LockEvent::Withdrawn { lock, session } => {
            on(Kind::Withdrawn, session, lock, Mode::Exclusive, Token(0))
        }
    }
}

fn event(image: EventImage) -> Option<LockEvent> {
    let session = SessionId(image.session);
    let token = Token(image.token);
    let mode = if image.shared {
        Mode::Shared
    } else {
        Mode::Exclusive
    };
    let lock = || Name::new(&image.lock).ok();
    Some(match Kind::try_from(image.kind).ok()? {
        Kind::Unknown => return None,
        Kind::Opened => LockEvent::Opened {
            session,
            owner: image.owner.into(),
        },
        Kind::Closed => LockEvent::Closed { session },
        Kind::Expired => LockEvent::Expired { session },
        Kind::Waiting => LockEvent::Waiting {
            lock: lock()?,
            session,
            mode,
        },
        Kind::Granted => LockEvent::Granted {
            lock: lock()?,
            session,
            mode,
            token,
        },
        Kind::Released => LockEvent::Released {
            lock: lock()?,
            session,
            token,
        },
        Kind::Withdrawn => LockEvent::Withdrawn {
            lock: lock()?,
            session,
        },
    })
}
