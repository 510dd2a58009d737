//! Scenarios of one voter as transcripts, of several on a network in memory, and random schedules of the same.

mod disk;
mod network;
mod transcript;

mod acceptor;
mod checkpoints;
mod election;
mod leader;
mod membership;
mod schedules;
