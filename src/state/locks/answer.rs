//! What became of an operation on sessions and locks; it crosses from node to node and is kept for retries.

use serde::{Deserialize, Serialize};

use super::{Mode, SessionId, Token};
use crate::config::Name;

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The session is open.
    Opened {
        /// Its number.
        session: SessionId,
    },
    /// The session was closed, and held or waited for so many locks.
    Closed {
        /// How many.
        locks: usize,
    },
    /// The session holds the lock.
    Granted {
        /// Since this slot.
        token: Token,
    },
    /// The session waits for the lock.
    Queued {
        /// Names the claim.
        ticket: u64,
    },
    /// Others hold the lock or wait for it, and the session does not want to wait.
    Busy,
    /// The session no longer holds the lock or waits for it.
    Released,
    /// So many deadlines have passed.
    Expired {
        /// Those that still stood.
        subjects: usize,
    },
    /// The expiry is of an earlier leadership: nothing has ended.
    Void,
    /// Nothing was done, and why.
    Refused(Refusal),
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The session has ended, or there never was one.
    #[error("there is no session {session}: it was closed or has expired, or never was")]
    NoSession {
        /// Which.
        session: SessionId,
    },
    /// Neither held nor waited for by the session.
    #[error("session {session} neither holds {lock} nor waits for it")]
    NotHeld {
        /// By whom.
        session: SessionId,
        /// Which.
        lock: String,
    },
    /// The session holds the lock or waits for it in another mode.
    #[error("the session has claimed {lock} as {mode}; release it first")]
    OtherMode {
        /// Which.
        lock: String,
        /// The mode it has.
        mode: Mode,
    },
    /// A bound is reached.
    #[error("there are {most} {what} already, as many as there may be")]
    TooMany {
        /// Of what.
        what: String,
        /// How many there may be.
        most: usize,
    },
    /// A value of the operation is out of its bounds.
    #[error("{field} must be {bounds}")]
    OutOfBounds {
        /// Of the operation.
        field: String,
        /// What would be right.
        bounds: String,
    },
}

impl Refusal {
    pub(super) fn too_many(what: &str, most: usize) -> Self {
        Self::TooMany {
            what: what.to_owned(),
            most,
        }
    }

    pub(super) fn bounds(field: &str, bounds: impl Into<String>) -> Self {
        Self::OutOfBounds {
            field: field.to_owned(),
            bounds: bounds.into(),
        }
    }

    pub(super) fn not_held(session: SessionId, lock: &Name) -> Self {
        Self::NotHeld {
            session,
            lock: lock.to_string(),
        }
    }
}
