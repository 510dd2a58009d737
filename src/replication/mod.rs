//! Runs the consensus core against the world.

pub mod codec;
mod frame;
mod group;
mod inbox;
mod status;
pub mod storage;

pub use status::{Counts, LATENCY_BOUNDS, Latency, State, Status};
