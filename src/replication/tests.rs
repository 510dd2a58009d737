//! Replications in one process, on loopback and temporary directories, with short timers.

mod faults;
mod founding;
mod group;
pub(super) mod harness;
mod lone;
