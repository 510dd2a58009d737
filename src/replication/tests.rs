//! Replications in one process, on loopback and temporary directories, with short timers.

mod founding;
mod group;
mod harness;
mod lone;
