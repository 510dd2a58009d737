//! What this node must not forget: its identity, its promise and its log.
//!
//! `Wal` keeps the promise and the log that `paxos` hands out in batches; `Disk` is the directory it stands on, real or
//! simulated. Nothing here decides anything: it makes durable what it is given, and tells on start what is there. The
//! replica's log thread calls it; `recovery` states the rules by which a tail is torn or a log damaged.

mod disk;
pub mod document;
mod error;
mod memory;

pub use disk::{Disk, File, OsDisk};
pub use error::Error;
pub use memory::{Memory, MemoryDisk, MemoryFile};
