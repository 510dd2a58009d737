//! Runs the consensus core against the world.
