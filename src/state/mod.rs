//! The replicated state machine: commands in, in log order, the same state and outcomes on every node. Pure.
//!
//! The replication driver feeds [`Machine::apply`] every decided command and [`Machine::skip`] every entry that is
//! none. Admission and the data plane read what it holds. Applying is total: no bytes, however they came to be
//! decided, make it panic.

mod command;
mod key;
mod outcome;

mod history;
mod keys;
mod locks;
mod machine;

mod borrowed;
mod checkpoint;
mod queue;
#[cfg(test)]
mod tests;

pub use checkpoint::{BadCheckpoint, checkpoint, restore};
pub use command::{Body, Command, DecodeError, LEVEL, Proposal, Stamp};
pub use history::{At, Entry, History};
pub use key::{BadKey, Key};
pub use locks::{
    Acquire, Answer, Check, Claim, Delay, Events, Expiry, Happened, Holder, Lock, LockEvent, Locks,
    Mode, Operation, Refusal, Session, SessionId, Standing, Subject, Term, Token,
};
pub use machine::{Applied, Glance, Machine};
pub use outcome::Outcome;
