//! What outlives a snapshot: the backends themselves, and how one of them is picked.
//!
//! A revision says which backends a pool has and with which weights; whether one admits requests and is healthy, how
//! many it is serving, its place in the rotation and its connections belong to the backend and are kept here, so that
//! no change of the config resets them. Nothing in here is locked on the request path.

mod registry;

mod member;

mod place;

mod gate;

mod fence;

mod health;

mod latency;

mod outlier;

mod warming;

mod condition;

mod recourse;

mod runtime;

mod follow;

pub mod balance;

mod connections;

mod copies;

mod budget;

mod line;

mod meter;

pub use budget::{Budget, Retry};
pub use condition::Condition;
pub use connections::{Connections, Limits, Origin};
pub use copies::Copying;
pub use fence::{FENCE_LEASE, Fence, Fences, Passage, fence_token};
#[cfg(test)]
pub(crate) use gate::LOOKS;
pub use health::{Health, Tally};
pub use line::Waiting;
pub use member::{Answer, Backend, InFlight, removals};
pub use meter::Meter;
pub use outlier::{Ejection, Suspect};
pub use place::Target;
pub use recourse::Recourse;
pub use registry::Registry;
pub use runtime::PoolRuntime;
