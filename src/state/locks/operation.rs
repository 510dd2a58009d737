//! What commands ask of the lock service, and how the log keeps it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::config::{Faults, Name};

/// A session, by the slot that opened it: never reused.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SessionId(pub u64);

/// The slot of a grant. Of one lock each grant has a greater one, also after it was forgotten and made anew.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Token(pub u64);

/// A leadership, in the order of the consensus core's ballots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// The membership.
    pub epoch: u32,
    /// Within it.
    pub round: u64,
    /// Who leads.
    pub node: u32,
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// By one session.
    Exclusive,
    /// By any number of sessions.
    Shared,
}

impl Mode {
    /// Whether two sessions may hold a lock so at once.
    pub fn goes_with(self, other: Self) -> bool {
        self == Self::Shared && other == Self::Shared
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Exclusive => "exclusive",
            Self::Shared => "shared",
        })
    }
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new session.
    Open {
        /// How long it lives without being kept alive.
        lease: Duration,
    },
    /// The end of a session: what it holds is free at once.
    Close {
        /// Which.
        session: SessionId,
    },
    /// A lock.
    Acquire(Acquire),
    /// The end of holding a lock, or of waiting for it.
    Release {
        /// Whose.
        session: SessionId,
        /// Which.
        lock: Name,
    },
}

/// A lock, for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquire {
    /// Who is to hold it.
    pub session: SessionId,
    /// Which.
    pub lock: Name,
    /// How.
    pub mode: Mode,
    /// How long to wait for it; zero: not at all.
    pub wait: Duration,
    /// How long nobody else gets it if the holder fails: time for what the holder had on the way to arrive.
    pub delay: Duration,
    /// What others see of the holder while it holds the lock.
    pub content: Arc<str>,
}

/// Deadlines that have passed, as one leadership measured them. Void under any later one, which has begun to measure
/// anew: so neither a leader that stood still nor one that has been replaced ends what was kept alive.
/// (`an_expiry_is_void_under_a_later_leadership`)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Whose.
    pub term: Term,
    /// What has ended.
    pub subjects: Vec<Subject>,
}

/// What has a deadline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A session that must be kept alive.
    Session(SessionId),
    /// A claim that waits, by the slot that made it.
    Wait {
        /// For which lock.
        lock: Name,
        /// Which claim.
        ticket: u64,
    },
    /// A lock whose holder failed, by the failed holder's token.
    Delay {
        /// Which lock.
        lock: Name,
        /// Which delay of it.
        token: Token,
    },
}

#[derive(Clone, PartialEq, Message)]
struct OperationWire {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    /// The lease in milliseconds.
    #[prost(uint64, tag = "1")]
    Open(u64),
    #[prost(uint64, tag = "2")]
    Close(u64),
    #[prost(message, tag = "3")]
    Acquire(AcquireWire),
    #[prost(message, tag = "4")]
    Release(AcquireWire),
}

#[derive(Clone, PartialEq, Message)]
struct AcquireWire {
    #[prost(uint64, tag = "1")]
    session: u64,
    #[prost(string, tag = "2")]
    lock: String,
    #[prost(bool, tag = "3")]
    shared: bool,
    #[prost(uint64, tag = "4")]
    wait_ms: u64,
    #[prost(uint64, tag = "5")]
    delay_ms: u64,
    #[prost(string, tag = "6")]
    content: String,
}

#[derive(Clone, PartialEq, Message)]
struct ExpiryWire {
    #[prost(uint32, tag = "1")]
    epoch: u32,
    #[prost(uint64, tag = "2")]
    round: u64,
    #[prost(uint32, tag = "3")]
    node: u32,
    #[prost(message, repeated, tag = "4")]
    subjects: Vec<SubjectWire>,
}

/// A session where there is no lock; else a claim's ticket or a delay's token.
#[derive(Clone, PartialEq, Message)]
struct SubjectWire {
    #[prost(uint64, tag = "1")]
    session: u64,
    #[prost(string, tag = "2")]
    lock: String,
    #[prost(uint64, tag = "3")]
    ticket: u64,
    #[prost(uint64, tag = "4")]
    token: u64,
}

impl Operation {
    pub(in crate::state) fn encode(&self) -> Bytes {
        let kind = match self {
            Self::Open { lease } => Kind::Open(millis(*lease)),
            Self::Close { session } => Kind::Close(session.0),
            Self::Acquire(acquire) => Kind::Acquire(AcquireWire {
                session: acquire.session.0,
                lock: acquire.lock.to_string(),
                shared: acquire.mode == Mode::Shared,
                wait_ms: millis(acquire.wait),
                delay_ms: millis(acquire.delay),
                content: acquire.content.to_string(),
            }),
            Self::Release { session, lock } => Kind::Release(AcquireWire {
                session: session.0,
                lock: lock.to_string(),
                ..AcquireWire::default()
            }),
        };
        OperationWire { kind: Some(kind) }.encode_to_vec().into()
    }

    /// Total over all bytes.
    pub(in crate::state) fn decode(bytes: &[u8]) -> Result<Self, Faults> {
        let wire = OperationWire::decode(bytes).map_err(unreadable)?;
        Ok(match wire.kind {
            Some(Kind::Open(lease)) => Self::Open {
                lease: Duration::from_millis(lease),
            },
            Some(Kind::Close(session)) => Self::Close {
                session: SessionId(session),
            },
            Some(Kind::Acquire(wire)) => Self::Acquire(Acquire {
                session: SessionId(wire.session),
                lock: name(&wire.lock)?,
                mode: if wire.shared {
                    Mode::Shared
                } else {
                    Mode::Exclusive
                },
                wait: Duration::from_millis(wire.wait_ms),
                delay: Duration::from_millis(wire.delay_ms),
                content: wire.content.into(),
            }),
            Some(Kind::Release(wire)) => Self::Release {
                session: SessionId(wire.session),
                lock: name(&wire.lock)?,
            },
            None => return Err(Faults::one("", "is no operation on sessions or locks")),
        })
    }
}

impl Expiry {
    pub(in crate::state) fn encode(&self) -> Bytes {
        let subject = |subject: &Subject| match subject {
            Subject::Session(session) => SubjectWire {
                session: session.0,
                ..SubjectWire::default()
            },
            Subject::Wait { lock, ticket } => SubjectWire {
                lock: lock.to_string(),
                ticket: *ticket,
                ..SubjectWire::default()
            },
            Subject::Delay { lock, token } => SubjectWire {
                lock: lock.to_string(),
                token: token.0,
                ..SubjectWire::default()
            },
        };
        let wire = ExpiryWire {
            epoch: self.term.epoch,
            round: self.term.round,
            node: self.term.node,
            subjects: self.subjects.iter().map(subject).collect(),
        };
        wire.encode_to_vec().into()
    }

    /// Total over all bytes.
    pub(in crate::state) fn decode(bytes: &[u8]) -> Result<Self, Faults> {
        let wire = ExpiryWire::decode(bytes).map_err(unreadable)?;
        let subject = |wire: SubjectWire| match (wire.lock.as_str(), wire.ticket) {
            ("", _) => Ok(Subject::Session(SessionId(wire.session))),
            (lock, 0) => Ok(Subject::Delay {
                lock: name(lock)?,
                token: Token(wire.token),
            }),
            (lock, ticket) => Ok(Subject::Wait {
                lock: name(lock)?,
                ticket,
            }),
        };
        let subjects: Result<_, Faults> = wire.subjects.into_iter().map(subject).collect();
        Ok(Self {
            term: Term {
                epoch: wire.epoch,
                round: wire.round,
                node: wire.node,
            },
            subjects: subjects?,
        })
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn name(text: &str) -> Result<Name, Faults> {
    Name::new(text).map_err(|wrong| Faults::one("/lock", wrong.to_string()))
}

fn unreadable(error: prost::DecodeError) -> Faults {
    Faults::one("", format!("cannot be read: {error}"))
}
