//! Real processes on loopback: nodes are started, killed and restarted under client load.
//!
//! Each test owns a whole cluster and they run one at a time, since each of them measures what a loaded machine
//! would blur. Nothing sleeps for luck: every wait is for a condition, with a deadline.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod abuse;
mod backends;
mod chaos;
mod checkpoints;
mod commands;
mod counter;
mod crowd;
mod edit;
mod encrypted;
mod faults;
mod fences;
mod figures;
mod followers;
mod harness;
mod health;
mod input;
mod load;
mod locks;
mod logs;
mod members;
mod ordeal;
mod recovery;
mod samples;
mod security;
mod traces;
mod traffic;
mod upgrade;
mod watch;
