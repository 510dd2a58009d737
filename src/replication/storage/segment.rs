//! Segment files: how they are named, allocated and linked.
//!
//! A segment is allocated whole and zero-filled before it gets its name, so that a sync later journals no length, and
//! what was never written is zero. Its first sector tells where the log before it ends (all of that is synced) and
//! what the log was by then. It also bridges damage: the segment that follows a damaged place links to the last good
//! byte before it and says so; the damaged bytes stay where they are.

use prost::Message;

use super::document::{TEMPORARY, seal, unseal};
use super::error::out_of_space;
use super::record::{Position, SECTOR};
use super::{Disk, Error, File};
use crate::bugs::{Bug, broken};
use crate::paxos::{Ballot, Slot};
use crate::replication::codec::WireBallot;

const VERSION: u32 = 1;
const PREFIX: &str = "log-";
/// Zeros are written in pieces of this size.
const PIECE: usize = 1 << 20;

#[derive(Clone, PartialEq, Message)]
struct WireHeader {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(uint64, tag = "2")]
    previous: u64,
    #[prost(uint64, tag = "3")]
    end: u64,
    #[prost(uint32, tag = "4")]
    chain: u32,
    #[prost(uint64, tag = "5")]
    last: u64,
    #[prost(uint64, tag = "6")]
    decided: u64,
    #[prost(message, optional, tag = "7")]
    synced: Option<WireBallot>,
    #[prost(uint64, tag = "8")]
    size: u64,
}

/// The first sector of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) index: u64,
    /// Where the log before this segment ends; segment 0 when there is none.
    pub(super) previous: Position,
    /// The chain up to there.
    pub(super) chain: u32,
    /// The slot of the last entry by then.
    pub(super) last: Slot,
    pub(super) decided: Slot,
    /// `None`: damage lies behind `previous`.
    pub(super) synced: Option<Ballot>,
    /// Bytes it was made of, before it got its name: one that has fewer was cut by no crash. 0 where that was not told.
    pub(super) size: u64,
}

/// Bytes of a segment before its first record.
pub(super) const HEADER: u64 = SECTOR as u64;

pub(super) fn name(index: u64) -> String {
    format!("{PREFIX}{index:016x}")
}

/// The index of a segment of this name.
pub(super) fn index(file: &str) -> Option<u64> {
    let digits = file.strip_prefix(PREFIX)?;
    if digits.len() == 16 {
        u64::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

/// Makes a segment durable under its name. Without space nothing is left of it.
pub(super) fn create<D: Disk>(disk: &D, header: Header, syncs: &mut u64) -> Result<D::File, Error> {
    let name = name(header.index);
    let temporary = format!("{name}{TEMPORARY}");
    let file = match allocate(disk, &temporary, header) {
        Ok(file) => file,
        Err(source) if out_of_space(&source) => {
            // What is left is removed at start, too, and emptied by the next try.
            let _ = disk.remove(&temporary);
            return Err(Error::Full {
                wanted: header.size,
                source,
            });
        }
        Err(source) => return Err(Error::io("allocate", &temporary)(source)),
    };
    disk.rename(&temporary, &name)
        .map_err(Error::io("rename", &temporary))?;
    if !broken(Bug::Etcd6368) {
        disk.sync_directory()
            .map_err(Error::io("sync the directory of", &name))?;
    }
    *syncs += 2;
    Ok(file)
}

fn allocate<D: Disk>(disk: &D, temporary: &str, header: Header) -> std::io::Result<D::File> {
    let mut file = disk.create(temporary)?;
    zero(&mut file, 0, header.size)?;
    file.write_at(0, &encode(header))?;
    file.sync()?;
    Ok(file)
}

/// Writes zeros from one offset up to another.
pub(super) fn zero<F: File>(file: &mut F, from: u64, to: u64) -> std::io::Result<()> {
    let zeros = vec![0; PIECE.min((to - from) as usize)];
    let mut at = from;
    while at < to {
        let length = (to - at).min(PIECE as u64);
        file.write_at(at, &zeros[..length as usize])?;
        at += length;
    }
    Ok(())
}

fn encode(header: Header) -> Vec<u8> {
    let wire = WireHeader {
        index: header.index,
        previous: header.previous.segment,
        end: header.previous.offset,
        chain: header.chain,
        last: header.last.0,
        decided: header.decided.0,
        synced: header.synced.map(WireBallot::from),
        size: header.size,
    };
    let mut sector = seal(VERSION, &wire.encode_to_vec());
    assert!(
        sector.len() <= SECTOR,
        "a segment's header takes one sector"
    );
    sector.resize(SECTOR, 0);
    sector
}

/// Reads the header of segment `index`; the inner error says what is wrong with it.
pub(super) fn read_header<F: File>(
    file: &F,
    index: u64,
) -> Result<Result<Header, &'static str>, Error> {
    let name = name(index);
    if file.size().map_err(Error::io("measure", &name))? < HEADER {
        return Ok(Err("the segment is cut short"));
    }
    let mut sector = [0; SECTOR];
    file.read_at(0, &mut sector)
        .map_err(Error::io("read", &name))?;
    let (found, content) = match unseal(&sector) {
        Ok(unsealed) => unsealed,
        Err(_) => return Ok(Err("the segment's header does not verify")),
    };
    if found > VERSION {
        return Err(Error::Version {
            file: name,
            found,
            known: VERSION,
        });
    }
    let Ok(wire) = WireHeader::decode(content) else {
        return Ok(Err("the segment's header cannot be decoded"));
    };
    if wire.index != index {
        return Ok(Err("the segment has another's name"));
    }
    Ok(Ok(Header {
        index,
        previous: Position {
            segment: wire.previous,
            offset: wire.end,
        },
        chain: wire.chain,
        last: Slot(wire.last),
        decided: Slot(wire.decided),
        synced: wire.synced.map(Ballot::from),
        size: wire.size,
    }))
}

/// Bytes of a segment that holds a record of `wanted` bytes.
pub(super) fn sized(usual: u64, wanted: u64) -> u64 {
    usual.max(HEADER + wanted).next_multiple_of(SECTOR as u64)
}
