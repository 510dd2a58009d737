//! Replications in one process, on loopback and temporary directories, with short timers.

mod checkpoints;
mod crowd;
mod faults;
mod followers;
mod founding;
mod group;
pub(super) mod harness;
pub(super) mod leases;
mod levels;
mod lone;
mod removal;
mod security;
