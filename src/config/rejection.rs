//! Why a transaction was not applied. Nothing of it was.

use serde::{Deserialize, Serialize};

use super::{Expected, Faults, Revision};

/// Why a transaction was not applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// It would make an invalid config. Pointers lead into the transaction as a document, `/0/value/backends/1/weight`;
    /// [`Rejection::of_single`] turns them into pointers into the body of its one operation.
    #[error("{0}")]
    Invalid(Faults),
    /// A resource is not at the revision, or not there or absent, as the writer expected.
    #[error("{path} is {}, expected {expected}", actual.map_or("not there".to_owned(), |r| format!("at revision {r}")))]
    Stale {
        /// `/pools/web`.
        path: String,
        /// What was to hold of it.
        expected: Expected,
        /// Its revision; `None`: it is not there.
        actual: Option<Revision>,
    },
    /// A resource to patch, delete or check, or the pool of a backend, is not there.
    #[error("{0} is not there")]
    NotFound(String),
    /// A pool or policy to delete is still named by routes or policies that stay.
    #[error("{path} is referred to by {}", by.join(", "))]
    Referred {
        /// `/pools/web`.
        path: String,
        /// `/routes/shop`, in order of names, at most [`super::limits::LISTED`].
        by: Vec<String>,
    },
}

impl Rejection {
    /// For a transaction of one operation: pointers lead into the operation's value instead.
    pub fn of_single(self) -> Self {
        match self {
            Self::Invalid(faults) => Self::Invalid(faults.relative_to("/0/value")),
            other => other,
        }
    }
}
