//! What outlives a snapshot: the backends themselves, and how one of them is picked.
//!
//! A revision says which backends a pool has and with which weights; whether one admits requests and is healthy, how
//! many it is serving, its place in the rotation and its connections belong to the backend and are kept here, so that
//! no change of the config resets them. Nothing in here is locked on the request path.

mod registry;

mod member;

mod gate;

mod health;

mod runtime;

pub mod balance;

mod connections;

mod budget;

pub use budget::{Budget, Retry};
pub use connections::{Connections, Limits};
pub use health::{Health, Tally};
pub use member::{Backend, InFlight};
pub use registry::Registry;
pub use runtime::PoolRuntime;
