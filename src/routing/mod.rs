//! The only bridge between the planes: a `Config` compiled to the [`Snapshot`] that the data plane reads.
//!
//! [`compile()`] builds, [`publish::Publisher`] puts what was built into the one [`SnapshotCell`] and says so once
//! every worker serves it, [`explain()`] tells why a request goes where it goes. Matching is on the host without
//! port and in any case, and on the path without its query, in the form that [`path`] gives it.

mod snapshot;

mod cell;

mod asked;

mod table;

mod exchange;

mod host;

mod paths;

pub mod path;

pub mod target;

mod hashed;

mod slot;

mod conditions;

mod steps;

mod sticky;

mod compile;

pub mod publish;

mod health;

mod metrics;

mod explain;

pub use asked::{Asked, Headers};
pub use cell::{SnapshotCache, SnapshotCell};
pub use compile::{CompileError, check, check_pools, compile};
pub use explain::{BackendChances, Explanation, Judged, PoolChances, Question, explain};
pub use health::judge;
pub use metrics::PoolsCollector;
pub use snapshot::{PoolChange, PoolEntry, PoolMember, RouteEntry, RouteFence, Snapshot};

#[cfg(test)]
mod tests;
