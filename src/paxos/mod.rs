//! The consensus core: Multi-Paxos over opaque commands, deterministic and without IO.
//!
//! [`Replica::handle`] takes the time and one [`Input`], or several with [`Replica::handle_all`], and gives back
//! ordered [`Output`]s. The core reads no clock, starts no thread, iterates no hash map and draws its random numbers
//! from the seed in [`Options`]; its whole state is `Clone + Eq + Hash`, so a model checker can walk it. Whoever embeds
//! it (the driver in `replication`, the simulation) does the writing, sending and waking that the outputs ask for, by
//! the numbered duties on [`Replica`].
//!
//! One voter plays up to three roles, each in its own file and borrowing only what it needs: `acceptor` (what this
//! voter promised and holds), `candidate` and `leader` (phase 1 and phase 2), `learner` (what is known decided).
//! Who is too far behind for any log goes on from a checkpoint (`acceptor::fetched`).

mod contract;
mod replica;

mod acceptor;
mod candidate;
mod election;
mod leader;
mod learner;
mod progress;
mod reads;
mod transfer;

mod ballot;
mod journal;
mod log;
mod membership;
mod message;
mod outbox;
mod random;

pub use ballot::{Ballot, Epoch, NodeId, Slot};
pub use contract::{
    Input, Options, Output, PersistId, ProposalId, ReadId, Refusal, Role, SealRefusal, Time,
    TransferFailure,
};
pub use log::{Base, Batch, Entry, LogChange, Payload, Recovered, Seal, Succession};
pub use membership::Membership;
pub use message::{Attempt, Message, Position, Round, Run, Summary, SyncId};
pub use replica::Replica;

/// Most bytes of one command. A larger one is refused, so that one entry always fits into one message.
pub const MAX_COMMAND_BYTES: usize = 4 << 20;
/// Bytes of entries that one message carries at most, unless a single entry is larger.
pub const MAX_CHUNK_BYTES: usize = 1 << 20;
/// What an entry is taken to weigh beyond its command, in messages and windows.
pub const ENTRY_OVERHEAD_BYTES: usize = 48;
/// Most voters of one membership.
pub const MAX_VOTERS: usize = 9;
/// Most runs that a [`Summary`] lists; of a log with more, the newest are listed.
pub const MAX_RUNS: usize = 4096;

#[cfg(test)]
mod tests;
