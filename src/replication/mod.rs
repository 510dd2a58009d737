//! Runs the consensus core against the world.

pub mod storage;
