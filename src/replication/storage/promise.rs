//! The promised ballot, in two places.
//!
//! A promise that is forgotten lets two leaders have a slot each, so it stands in two files of one sector. Both are
//! written and synced, one after the other, before a promise counts: a crash between them leaves the new one or the
//! old one, and one that rots later leaves the other. Both unreadable: the node must not vote again. The position that
//! the log was synced up to rides along: it tells a log that lost its end from one that never had it. So do the
//! slot of the newest checkpoint that counts and the segment that the log begins with: a segment is removed only when
//! both places say that it is not missed.

use std::io;

use prost::Message;

use super::document::{TEMPORARY, seal, unseal};
use super::record::{Position, SECTOR};
use super::{Disk, Error, File};
use crate::paxos::{Ballot, Slot};
use crate::replication::codec::WireBallot;

const NAMES: [&str; 2] = ["promise-a", "promise-b"];
const VERSION: u32 = 1;

#[derive(Clone, PartialEq, Message)]
struct WirePromise {
    #[prost(message, optional, tag = "1")]
    promised: Option<WireBallot>,
    #[prost(uint64, tag = "2")]
    segment: u64,
    #[prost(uint64, tag = "3")]
    offset: u64,
    #[prost(uint64, tag = "4")]
    checkpoint: u64,
    #[prost(uint64, tag = "5")]
    base: u64,
}

/// What the places hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promise {
    pub(super) ballot: Ballot,
    /// The log was synced up to here when the promise was made.
    pub(super) log: Position,
    /// The slot of the newest checkpoint that counts; 0 when there is none.
    pub(super) checkpoint: Slot,
    /// The segment that the log begins with: those before may have been removed. 0: nothing was removed yet.
    pub(super) base: u64,
}

impl Promise {
    /// Each part only ever grows, so the greater of two promises is the newer one.
    fn age(&self) -> (Ballot, Position, Slot, u64) {
        (self.ballot, self.log, self.checkpoint, self.base)
    }
}

/// Both places, open.
pub(super) struct Places<F> {
    files: [F; 2],
}

/// The promise on disk. `None` when neither place was ever made.
pub(super) fn load<D: Disk>(disk: &D) -> Result<Option<Promise>, Error> {
    let found = [read(disk, NAMES[0])?, read(disk, NAMES[1])?];
    match found {
        [Ok(a), Ok(b)] => Ok(Some(if a.age() >= b.age() { a } else { b })),
        [Ok(one), Err(_)] | [Err(_), Ok(one)] => Ok(Some(one)),
        [Err(Unread::Missing), Err(Unread::Missing)] => Ok(None),
        [Err(first), Err(second)] => Err(Error::PromiseLost {
            first: first.describe(NAMES[0]),
            second: second.describe(NAMES[1]),
        }),
    }
}

/// The error of a directory that should hold a promise and does not.
pub(super) fn lost() -> Error {
    let [first, second] = NAMES.map(|name| Unread::Missing.describe(name));
    Error::PromiseLost { first, second }
}

impl<F: File> Places<F> {
    /// Makes what `load` told (or the first promise of all) durable in both places, mending one that is unreadable.
    ///
    /// After a kill the bytes read may be in the page cache alone, hence the rewrite.
    pub(super) fn open<D: Disk<File = F>>(
        disk: &D,
        promise: Promise,
        syncs: &mut u64,
    ) -> Result<Self, Error> {
        for name in NAMES {
            if !matches!(read(disk, name)?, Err(Unread::Missing)) {
                continue;
            }
            let temporary = format!("{name}{TEMPORARY}");
            let made = disk.create(&temporary).and_then(|mut file| {
                file.write_at(0, &sector(promise))?;
                file.sync()?;
                disk.rename(&temporary, name)?;
                disk.sync_directory()
            });
            made.map_err(Error::io("make", name))?;
            *syncs += 2;
        }
        let open = |name| disk.open(name).map_err(Error::io("open", name));
        let mut places = Places {
            files: [open(NAMES[0])?, open(NAMES[1])?],
        };
        places.store(promise, syncs)?;
        Ok(places)
    }

    /// Makes `promise` durable, in one place after the other.
    pub(super) fn store(&mut self, promise: Promise, syncs: &mut u64) -> Result<(), Error> {
        for (file, name) in self.files.iter_mut().zip(NAMES) {
            file.write_at(0, &sector(promise))
                .map_err(Error::io("write", name))?;
            file.sync().map_err(Error::io("sync", name))?;
            *syncs += 1;
        }
        Ok(())
    }
}

fn sector(promise: Promise) -> Vec<u8> {
    let wire = WirePromise {
        promised: Some(promise.ballot.into()),
        segment: promise.log.segment,
        offset: promise.log.offset,
        checkpoint: promise.checkpoint.0,
        base: promise.base,
    };
    let mut sector = seal(VERSION, &wire.encode_to_vec());
    // One sector is written whole or not at all: a place is never torn, what does not read there has rotted.
    assert!(sector.len() <= SECTOR, "a promise takes one sector");
    sector.resize(SECTOR, 0);
    sector
}

enum Unread {
    Missing,
    Flawed(String),
}

impl Unread {
    fn describe(self, name: &str) -> String {
        match self {
            Unread::Missing => format!("{name} is missing"),
            Unread::Flawed(reason) => format!("{name}: {reason}"),
        }
    }
}

fn read<D: Disk>(disk: &D, name: &str) -> Result<Result<Promise, Unread>, Error> {
    let file = match disk.open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(Unread::Missing)),
        Err(error) => return Err(Error::io("open", name)(error)),
    };
    let mut sector = [0; SECTOR];
    // A place that cannot be read is as good as one that rotted: the other one decides.
    if let Err(error) = file.read_at(0, &mut sector) {
        return Ok(Err(Unread::Flawed(error.to_string())));
    }
    match unseal(&sector) {
        Err(reason) => Ok(Err(Unread::Flawed(reason.to_owned()))),
        Ok((found, _)) if found > VERSION => Err(Error::Version {
            file: name.to_owned(),
            found,
            known: VERSION,
        }),
        Ok((_, content)) => {
            Ok(decode(content).ok_or_else(|| Unread::Flawed("it cannot be decoded".to_owned())))
        }
    }
}

fn decode(content: &[u8]) -> Option<Promise> {
    let wire = WirePromise::decode(content).ok()?;
    let log = Position {
        segment: wire.segment,
        offset: wire.offset,
    };
    Some(Promise {
        ballot: wire.promised?.into(),
        log,
        checkpoint: Slot(wire.checkpoint),
        base: wire.base,
    })
}
