//! What this node must not forget: its identity, its promise and its log.
//!
//! `Wal` keeps the promise and the log that `paxos` hands out in batches; `Disk` is the directory it stands on, real or
//! simulated. Nothing here decides anything: it makes durable what it is given, and tells on start what is there. The
//! replica's log thread calls it; `recovery` states the rules by which a tail is torn or a log damaged. `checkpoint`
//! has the images of the state machine that a start goes on from, opaque here.

mod batch;
pub mod checkpoint;
mod damage;
mod disk;
pub mod document;
mod error;
mod memory;
mod opening;
mod promise;
mod record;
mod recovery;
mod segment;
mod shelf;
mod wal;
mod window;

pub use damage::Damage;
pub(super) use disk::LOCK;
pub use disk::{Disk, File, OsDisk};
pub use error::Error;
pub use memory::{Memory, MemoryDisk, MemoryFile};
pub use shelf::{Body, Shelf, Shelved};
pub use wal::{Wal, WalOptions};

use crate::paxos::{Batch, Slot};

/// Makes batches durable.
pub trait Storage: Send {
    /// One write and one sync for all of them, in order. When this returns, each is durable, whole.
    ///
    /// After [`Error::Full`] nothing has changed and the same batches may be written later; after any other error what
    /// is durable is unknown, and everything is refused until restart.
    fn write(&mut self, batches: &[Batch]) -> Result<(), Error>;

    /// From here on a start goes on from this checkpoint, which was written with [`checkpoint::write`]. All batches
    /// with entries that it sums up must have been written before. After an error everything is refused until restart.
    /// Gives through which slot the log is not needed any more.
    fn keep(&mut self, written: &checkpoint::Meta) -> Result<Slot, Error>;
}

#[cfg(test)]
mod tests;
