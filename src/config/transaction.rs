//! Transactions: operations on resources, applied all as one revision or not at all. `spec` reads and writes
//! them as the list that `/v1/transactions` takes; the same JSON is what the log keeps.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Name, Revision};

/// Operations applied as one revision or not at all; later ones see what earlier ones did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transaction {
    /// In order.
    pub operations: Vec<Operation>,
}

/// One thing to do to one resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// To what.
    pub path: ResourcePath,
    /// What must hold of it first.
    pub expected: Option<Expected>,
    /// What to do.
    pub action: Action,
}

/// What to do to a resource.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make it equal to this spec, whether it is there or not.
    Put(Value),
    /// Change it by this RFC 7396 merge patch; it must be there. Of a config, the lists may also be objects
    /// from names to patches, where `null` deletes.
    Patch(Value),
    /// Take it away; it must be there.
    Delete,
    /// Do nothing, but demand what is expected, or else that it is there.
    Check,
}

/// What must hold of a resource before an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// Before the transaction, it was there and had last changed at this revision (`If-Match: "12"`).
    Revision(Revision),
    /// It is there, as earlier operations left it (`If-Match: *`).
    Present,
    /// It is not there, as earlier operations left it (`If-None-Match: *`).
    Absent,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revision(revision) => write!(f, "at revision {revision}"),
            Self::Present => f.write_str("there"),
            Self::Absent => f.write_str("not there"),
        }
    }
}

/// Which resource. Printed as `/config`, `/pools/web`, `/pools/web/backends/b1`, `/routes/shop`, `/policies/staff`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourcePath {
    /// The whole config.
    Config,
    /// A pool.
    Pool(Name),
    /// A backend, by its pool and id.
    Backend(Name, Name),
    /// A route.
    Route(Name),
    /// A policy that routes share.
    Policy(Name),
}

impl fmt::Display for ResourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("/config"),
            Self::Pool(pool) => write!(f, "/pools/{pool}"),
            Self::Backend(pool, id) => write!(f, "/pools/{pool}/backends/{id}"),
            Self::Route(route) => write!(f, "/routes/{route}"),
            Self::Policy(policy) => write!(f, "/policies/{policy}"),
        }
    }
}

/// The text is no [`ResourcePath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be `/config`, `/pools/NAME`, `/pools/NAME/backends/ID`, `/routes/NAME` or `/policies/NAME`, with valid names"
)]
pub struct BadPath;

impl std::str::FromStr for ResourcePath {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        let name = |text: &str| Name::new(text).map_err(|_| BadPath);
        let mut segments = text.split('/');
        let five = [(); 5].map(|()| segments.next());
        match (five, segments.next()) {
            ([Some(""), Some("config"), None, ..], None) => Ok(Self::Config),
            ([Some(""), Some("pools"), Some(pool), None, _], None) => Ok(Self::Pool(name(pool)?)),
            (
                [
                    Some(""),
                    Some("pools"),
                    Some(pool),
                    Some("backends"),
                    Some(id),
                ],
                None,
            ) => Ok(Self::Backend(name(pool)?, name(id)?)),
            ([Some(""), Some("routes"), Some(route), None, _], None) => {
                Ok(Self::Route(name(route)?))
            }
            ([Some(""), Some("policies"), Some(policy), None, _], None) => {
                Ok(Self::Policy(name(policy)?))
            }
            _ => Err(BadPath),
        }
    }
}

impl Operation {
    /// Make the resource equal to `spec`.
    pub fn put(path: ResourcePath, spec: Value) -> Self {
        Self {
            path,
            expected: None,
            action: Action::Put(spec),
        }
    }

    /// Merge `patch` into the resource.
    pub fn patch(path: ResourcePath, patch: Value) -> Self {
        Self {
            path,
            expected: None,
            action: Action::Patch(patch),
        }
    }

    /// Take the resource away.
    pub fn delete(path: ResourcePath) -> Self {
        Self {
            path,
            expected: None,
            action: Action::Delete,
        }
    }

    /// Demand that it is there.
    pub fn check(path: ResourcePath) -> Self {
        Self {
            path,
            expected: None,
            action: Action::Check,
        }
    }

    /// The same, demanding this first.
    pub fn expecting(mut self, expected: Expected) -> Self {
        self.expected = Some(expected);
        self
    }
}

impl Transaction {
    /// Of one operation.
    pub fn of(operation: Operation) -> Self {
        Self {
            operations: vec![operation],
        }
    }
}
