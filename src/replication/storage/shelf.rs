//! The checkpoints of a data directory, as a running node takes them, hands them out and takes in a peer's.
//!
//! All of it beside the log: nothing here makes a checkpoint count. One that is taken counts with `Storage::keep`, one
//! of a peer with the batch that adopts it.

use bytes::Bytes;

use super::checkpoint::{self, Checkpoint, MAX_BODY, Meta, fetched, header};
use super::record::SECTOR;
use super::{Disk, Error, File};
use crate::paxos::{Ballot, Slot, Succession};

/// The checkpoints of a data directory, on whatever disk there is.
pub trait Shelf: Send + Sync {
    /// As [`checkpoint::write`].
    fn write(
        &self,
        slot: Slot,
        ballot: Ballot,
        succession: Option<&Succession>,
        content: &[u8],
    ) -> Result<Meta, Error>;

    /// The newest checkpoint that has its name. It stays readable when a newer one takes its place.
    fn newest(&self) -> Result<Option<Shelved>, Error>;

    /// Takes bytes of the body of a peer's checkpoint; at offset 0 it is begun.
    fn receive(&self, of: &Meta, offset: u64, bytes: &[u8]) -> Result<(), Error>;

    /// The peer's checkpoint of which all bytes were taken: durable, then verified whole.
    fn received(&self, of: &Meta) -> Result<Checkpoint, Error>;
}

/// A checkpoint that can be handed out.
pub struct Shelved {
    /// What it says of itself.
    pub meta: Meta,
    /// Its body.
    pub body: Box<dyn Body>,
}

/// The body of a checkpoint, open.
pub trait Body: Send {
    /// Bytes of it.
    fn read(&self, offset: u64, length: usize) -> Result<Bytes, Error>;
}

impl<D: Disk + Sync> Shelf for D {
    fn write(
        &self,
        slot: Slot,
        ballot: Ballot,
        succession: Option<&Succession>,
        content: &[u8],
    ) -> Result<Meta, Error> {
        checkpoint::write(self, slot, ballot, succession, content)
    }

    fn newest(&self) -> Result<Option<Shelved>, Error> {
        let Some(slot) = checkpoint::list(self)?.pop() else {
            return Ok(None);
        };
        let name = checkpoint::name(slot);
        let file = self.open(&name).map_err(Error::io("open", &name))?;
        let meta = checkpoint::meta(&file, &name)?;
        let body = Box::new(Open { file, name });
        Ok(Some(Shelved { meta, body }))
    }

    fn receive(&self, of: &Meta, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let name = fetched(of.slot);
        if of.size > MAX_BODY || offset + bytes.len() as u64 > of.size {
            return Err(Error::damaged(&name, "it is too long"));
        }
        let begun = match offset {
            0 => self.create(&name).and_then(|mut file| {
                file.write_at(0, &header(of))?;
                Ok(file)
            }),
            _ => self.open(&name),
        };
        let taken = begun.and_then(|mut file| file.write_at(SECTOR as u64 + offset, bytes));
        taken.map_err(Error::io("write", &name))
    }

    fn received(&self, of: &Meta) -> Result<Checkpoint, Error> {
        let name = fetched(of.slot);
        let mut file = self.open(&name).map_err(Error::io("open", &name))?;
        file.sync().map_err(Error::io("sync", &name))?;
        let length = file.size().map_err(Error::io("measure", &name))?;
        if checkpoint::meta(&file, &name)? != *of || length != SECTOR as u64 + of.size {
            return Err(Error::damaged(&name, "it is cut short"));
        }
        let whole = checkpoint::whole(&file, &name, *of)?;
        whole.map_err(|reason| Error::damaged(&name, reason))
    }
}

struct Open<F> {
    file: F,
    name: String,
}

impl<F: File> Body for Open<F> {
    fn read(&self, offset: u64, length: usize) -> Result<Bytes, Error> {
        let mut bytes = vec![0; length];
        self.file
            .read_at(SECTOR as u64 + offset, &mut bytes)
            .map_err(Error::io("read", &self.name))?;
        Ok(bytes.into())
    }
}
