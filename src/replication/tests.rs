//! Replications in one process, on loopback and temporary directories, with short timers.

mod faults;
mod founding;
mod group;
mod harness;
mod lone;
