//! Checkpoint files: written aside, synced, and only then given their name.
//!
//! A file is one sector that tells which slot it is of, how long it is and its checksum, then the body: who votes
//! behind the slot, and the content, which is opaque here. It counts once the log vouches for it: a start passes over
//! one whose slot the log does not know to be decided. Two are kept, so that one may rot. `Wal::keep` gives the name
//! and removes what is no longer needed. [`list`] and [`read`] are for whoever looks at a data directory from outside.

use bytes::Bytes;
use prost::Message;

use super::batch::WireSuccession;
use super::document::{TEMPORARY, seal, unseal};
use super::record::SECTOR;
use super::{Disk, Error, File};
use crate::paxos::{Ballot, Base, Slot, Succession};
use crate::replication::codec::WireBallot;

/// Of the files; those of the first one told nothing of who votes.
const VERSION: u32 = 2;
const PREFIX: &str = "checkpoint-";
const FETCHED: &str = "fetched-";
/// The body is written in pieces of this size.
const PIECE: usize = 1 << 20;
/// Far above any state; a length beyond it is damage, and is not allocated.
pub(super) const MAX_BODY: u64 = 4 << 30;

#[derive(Clone, PartialEq, Message)]
struct WireMeta {
    #[prost(uint64, tag = "1")]
    slot: u64,
    #[prost(message, optional, tag = "2")]
    ballot: Option<WireBallot>,
    #[prost(uint64, tag = "3")]
    size: u64,
    #[prost(fixed32, tag = "4")]
    sum: u32,
    #[prost(uint32, tag = "5")]
    head: u32,
}

/// What a checkpoint file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// The last slot applied in it.
    pub slot: Slot,
    /// The ballot that the entry of this slot was first proposed in.
    pub ballot: Ballot,
    /// Bytes of the body.
    pub size: u64,
    /// CRC32C of the body.
    pub sum: u32,
    /// Bytes at the beginning of the body that tell who votes; none before the first Seal.
    pub head: u32,
}

/// A checkpoint, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// What it says of itself.
    pub meta: Meta,
    /// The epoch of what follows its slot; none before the first Seal.
    pub succession: Option<Succession>,
    /// The state machine, as whoever wrote it made it.
    pub content: Bytes,
}

impl Meta {
    /// Of the checkpoint that ends there and whose body these make.
    pub(in crate::replication) fn of(base: Base, head: &[u8], content: &[u8]) -> Self {
        Meta {
            slot: base.slot,
            ballot: base.ballot,
            size: (head.len() + content.len()) as u64,
            sum: crc32c::crc32c_append(crc32c::crc32c(head), content),
            head: head.len() as u32,
        }
    }

    /// What a log that begins behind it begins behind.
    pub fn base(&self) -> Base {
        Base {
            slot: self.slot,
            ballot: self.ballot,
        }
    }
}

impl Checkpoint {
    /// The checkpoint of this body, or what is wrong with it.
    pub fn of(meta: Meta, body: Bytes) -> Result<Self, &'static str> {
        if body.len() as u64 != meta.size || crc32c::crc32c(&body) != meta.sum {
            return Err("its content does not match its checksum");
        }
        if meta.size < u64::from(meta.head) {
            return Err("it is cut short");
        }
        let mut content = body;
        let head = content.split_to(meta.head as usize);
        let succession = match head.is_empty() {
            true => None,
            false => {
                let read = WireSuccession::decode(head)
                    .ok()
                    .and_then(|wire| wire.read());
                Some(read.ok_or("it does not say who votes")?)
            }
        };
        Ok(Checkpoint {
            meta,
            succession,
            content,
        })
    }
}

/// The name of the checkpoint of a slot.
pub(super) fn name(slot: Slot) -> String {
    format!("{PREFIX}{:016x}", slot.0)
}

/// The slot of a checkpoint of this name.
pub(super) fn slot(file: &str) -> Option<Slot> {
    let digits = file.strip_prefix(PREFIX)?;
    if digits.len() == 16 {
        u64::from_str_radix(digits, 16).ok().map(Slot)
    } else {
        None
    }
}

fn temporary(slot: Slot) -> String {
    format!("{}{TEMPORARY}", name(slot))
}

/// The name of a peer's checkpoint until the log adopts it. Not that of one taken here: both may be of one slot.
pub(super) fn fetched(slot: Slot) -> String {
    format!("{FETCHED}{:016x}{TEMPORARY}", slot.0)
}

/// The slot of a peer's checkpoint of this name.
pub(super) fn fetched_slot(file: &str) -> Option<Slot> {
    let digits = file.strip_prefix(FETCHED)?.strip_suffix(TEMPORARY)?;
    u64::from_str_radix(digits, 16).ok().map(Slot)
}

/// Writes the checkpoint of a slot, durably but without its name: until `Wal::keep` it does not count, and a start
/// removes it. Takes a while; no lock is needed beside the log.
pub fn write<D: Disk>(
    disk: &D,
    slot: Slot,
    ballot: Ballot,
    succession: Option<&Succession>,
    content: &[u8],
) -> Result<Meta, Error> {
    let head = succession.map(|known| WireSuccession::from(known).encode_to_vec());
    let head = head.unwrap_or_default();
    let meta = Meta::of(Base { slot, ballot }, &head, content);
    let temporary = temporary(slot);
    let written = disk.create(&temporary).and_then(|mut file| {
        file.write_at(0, &header(&meta))?;
        let mut at = SECTOR;
        for piece in std::iter::once(&head[..]).chain(content.chunks(PIECE)) {
            file.write_at(at as u64, piece)?;
            at += piece.len();
        }
        file.sync()
    });
    written.map_err(|error| {
        // What is left is removed at start, too.
        let _ = disk.remove(&temporary);
        Error::io("write", &temporary)(error)
    })?;
    Ok(meta)
}

/// Gives a written checkpoint its name, durably.
pub(super) fn name_durably<D: Disk>(disk: &D, slot: Slot) -> Result<(), Error> {
    let (temporary, name) = (temporary(slot), name(slot));
    disk.rename(&temporary, &name)
        .map_err(Error::io("rename", &temporary))?;
    disk.sync_directory()
        .map_err(Error::io("sync the directory of", &name))
}

/// Gives a peer's checkpoint its name, durably.
pub(super) fn name_fetched<D: Disk>(disk: &D, slot: Slot) -> Result<Meta, Error> {
    let (fetched, name) = (fetched(slot), name(slot));
    disk.rename(&fetched, &name)
        .map_err(Error::io("rename", &fetched))?;
    disk.sync_directory()
        .map_err(Error::io("sync the directory of", &name))?;
    let file = disk.open(&name).map_err(Error::io("open", &name))?;
    meta(&file, &name)
}

/// Removes a written checkpoint that was not given its name.
pub(super) fn discard<D: Disk>(disk: &D, slot: Slot) -> Result<(), Error> {
    let temporary = temporary(slot);
    disk.remove(&temporary)
        .map_err(Error::io("remove", &temporary))
}

/// The slots of all checkpoints of a directory, ascending; whether the log vouches for them is another matter.
pub fn list<D: Disk>(disk: &D) -> Result<Vec<Slot>, Error> {
    let names = disk
        .list()
        .map_err(Error::io("list", "the data directory"))?;
    let mut slots: Vec<Slot> = names.iter().filter_map(|name| slot(name)).collect();
    slots.sort_unstable();
    Ok(slots)
}

/// Reads the checkpoint of a slot; the inner error says what is wrong with it.
pub fn read<D: Disk>(disk: &D, slot: Slot) -> Result<Result<Checkpoint, &'static str>, Error> {
    let name = name(slot);
    let file = disk.open(&name).map_err(Error::io("open", &name))?;
    let length = file.size().map_err(Error::io("measure", &name))?;
    if length < SECTOR as u64 {
        return Ok(Err("it is cut short"));
    }
    let mut sector = [0; SECTOR];
    file.read_at(0, &mut sector)
        .map_err(Error::io("read", &name))?;
    let meta = match parse(&sector, &name)? {
        Ok(meta) if meta.slot != slot => return Ok(Err("it has another's name")),
        Ok(meta) if meta.size > MAX_BODY => return Ok(Err("it is too long")),
        Ok(meta) if meta.size != length - SECTOR as u64 => return Ok(Err("it is cut short")),
        Ok(meta) => meta,
        Err(reason) => return Ok(Err(reason)),
    };
    whole(&file, &name, meta)
}

/// The checkpoint of a file that is as long as it says; the inner error says what is wrong with it.
pub(super) fn whole<F: File>(
    file: &F,
    name: &str,
    meta: Meta,
) -> Result<Result<Checkpoint, &'static str>, Error> {
    let mut body = vec![0; meta.size as usize];
    file.read_at(SECTOR as u64, &mut body)
        .map_err(Error::io("read", name))?;
    Ok(Checkpoint::of(meta, body.into()))
}

/// What the file of a checkpoint says of itself, which was verified as it was written.
pub(super) fn meta<F: File>(file: &F, name: &str) -> Result<Meta, Error> {
    let mut sector = [0; SECTOR];
    file.read_at(0, &mut sector)
        .map_err(Error::io("read", name))?;
    parse(&sector, name)?.map_err(|reason| Error::damaged(name, reason))
}

pub(super) fn header(meta: &Meta) -> Vec<u8> {
    let wire = WireMeta {
        slot: meta.slot.0,
        ballot: Some(meta.ballot.into()),
        size: meta.size,
        sum: meta.sum,
        head: meta.head,
    };
    let mut sector = seal(VERSION, &wire.encode_to_vec());
    assert!(
        sector.len() <= SECTOR,
        "a checkpoint's header takes one sector"
    );
    sector.resize(SECTOR, 0);
    sector
}

fn parse(sector: &[u8], name: &str) -> Result<Result<Meta, &'static str>, Error> {
    let (found, content) = match unseal(sector) {
        Ok(unsealed) => unsealed,
        Err(_) => return Ok(Err("its header does not verify")),
    };
    if found > VERSION {
        return Err(Error::Version {
            file: name.to_owned(),
            found,
            known: VERSION,
        });
    }
    if found < VERSION {
        return Ok(Err(
            "it is of an earlier format, which did not tell who votes",
        ));
    }
    let decoded = WireMeta::decode(content).ok();
    let meta = decoded.and_then(|wire| {
        Some(Meta {
            slot: Slot(wire.slot),
            ballot: wire.ballot?.into(),
            size: wire.size,
            sum: wire.sum,
            head: wire.head,
        })
    });
    Ok(meta.ok_or("its header cannot be decoded"))
}

/// The checkpoints of a directory that the log vouches for.
pub(super) struct Found<T> {
    /// Those that verify, the oldest first.
    pub(super) whole: Vec<Meta>,
    /// The newest of them that could be restored, and what came of it.
    pub(super) restored: Option<Restored<T>>,
    /// What is wrong with the others, each with its file.
    pub(super) flaws: Vec<String>,
}

/// A checkpoint that a start goes on from.
pub(super) struct Restored<T> {
    pub(super) slot: Slot,
    pub(super) succession: Option<Succession>,
    pub(super) state: T,
}

impl<T> Found<T> {
    /// The slot of the one restored; 0 when there is none.
    pub(super) fn applied(&self) -> Slot {
        self.restored
            .as_ref()
            .map_or(Slot::ZERO, |restored| restored.slot)
    }
}

/// Reads all checkpoints of slots up to `vouched`, restores the newest that can be, and removes those beyond: they were
/// given their name by a start that ended before the log knew of them.
pub(super) fn find<D: Disk, T>(
    disk: &D,
    vouched: Slot,
    mut restore: impl FnMut(Bytes) -> Result<T, String>,
) -> Result<Found<T>, Error> {
    let mut found = Found {
        whole: Vec::new(),
        restored: None,
        flaws: Vec::new(),
    };
    for slot in list(disk)?.into_iter().rev() {
        let name = name(slot);
        if slot > vouched {
            disk.remove(&name).map_err(Error::io("remove", &name))?;
            continue;
        }
        match read(disk, slot)? {
            Err(flaw) => found.flaws.push(format!("{name}: {flaw}")),
            Ok(Checkpoint {
                meta,
                succession,
                content,
            }) => {
                if found.restored.is_none() {
                    match restore(content) {
                        Ok(state) => {
                            found.restored = Some(Restored {
                                slot,
                                succession,
                                state,
                            });
                        }
                        Err(why) => found.flaws.push(format!("{name}: {why}")),
                    }
                }
                found.whole.push(meta);
            }
        }
    }
    found.whole.reverse();
    Ok(found)
}
