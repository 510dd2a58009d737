//! Checkpoints: the whole machine as bytes, and back.
//!
//! The bytes are self-contained: they begin with a format and the feature level needed to read them, carry a checksum
//! over all else, and the digest of the machine they were made of, which a machine read back must have. Whatever the
//! bytes are, reading gives that machine or a refusal.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::command::LEVEL;
use super::history::{History, HistoryImage};
use super::keys::{KeyImage, Keys};
use super::locks::LocksImage;
use super::{Machine, Stamp};
use crate::config::{Config, Faults};

const MAGIC: [u8; 8] = *b"synodchk";
/// Magic, level, checksum.
const HEADER: usize = MAGIC.len() + 4 + 4;

/// The bytes are no checkpoint that this build can go on from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCheckpoint {
    /// They are not what was written.
    #[error("the checkpoint is damaged: {0}")]
    Damaged(&'static str),
    /// They verify, but this build does not understand the config in them.
    #[error("the checkpoint holds a config that this build does not accept: {0}")]
    Config(Faults),
    /// They are of a later build.
    #[error("the checkpoint needs feature level {level}, and this build knows {LEVEL}")]
    UnknownLevel {
        /// The level it needs.
        level: u32,
    },
}

#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(uint64, tag = "1")]
    applied: u64,
    #[prost(uint64, tag = "2")]
    now: u64,
    #[prost(fixed64, tag = "3")]
    digest: u64,
    #[prost(bytes = "vec", tag = "4")]
    config: Vec<u8>,
    #[prost(message, required, tag = "5")]
    history: HistoryImage,
    #[prost(message, repeated, tag = "6")]
    keys: Vec<KeyImage>,
    #[prost(message, optional, tag = "7")]
    locks: Option<LocksImage>,
}

/// The machine as bytes. It takes a while for a large one: clone the machine, which is cheap, and encode the clone
/// where nobody waits.
pub fn checkpoint(machine: &Machine) -> Bytes {
    let mut config = Vec::new();
    machine.config.write_image(&mut config);
    let image = Image {
        applied: machine.applied,
        now: machine.now.0,
        digest: machine.digest(),
        config,
        history: machine.history.image(),
        keys: machine.keys.image(),
        locks: Some(LocksImage::whole(&machine.locks)),
    };
    let mut bytes = Vec::with_capacity(HEADER + image.encoded_len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&machine.level.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    image
        .encode(&mut bytes)
        .expect("a vector has room for what is encoded");
    let sum = checksum(machine.level, &bytes[HEADER..]);
    bytes[HEADER - 4..HEADER].copy_from_slice(&sum.to_le_bytes());
    bytes.into()
}

/// The machine that [`checkpoint`] was given; total over all bytes.
pub fn restore(bytes: &[u8]) -> Result<Machine, BadCheckpoint> {
    let damaged = BadCheckpoint::Damaged;
    let Some((header, content)) = bytes.split_at_checked(HEADER) else {
        return Err(damaged("it is too short"));
    };
    let number = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    if header[..MAGIC.len()] != MAGIC {
        return Err(damaged("it does not begin as one"));
    }
    let level = number(MAGIC.len());
    if checksum(level, content) != number(HEADER - 4) {
        return Err(damaged("its checksum does not match"));
    }
    // Only now: a level that rotted is no later build.
    if level > LEVEL {
        return Err(BadCheckpoint::UnknownLevel { level });
    }
    let image = Image::decode(content).map_err(|_| damaged("it cannot be decoded"))?;
    let digest = image.digest;
    let mut machine = machine(image)?;
    machine.level = level;
    if machine.digest() != digest {
        return Err(damaged("what is in it has another digest than it says"));
    }
    Ok(machine)
}

fn machine(image: Image) -> Result<Machine, BadCheckpoint> {
    let config = Arc::new(Config::read_image(&image.config).map_err(BadCheckpoint::Config)?);
    if config.revision.0 > image.applied {
        return Err(BadCheckpoint::Damaged("its config is of a later slot"));
    }
    let history = History::from_image(image.history, Arc::clone(&config));
    let locks = image.locks.unwrap_or_default().restore(image.applied);
    Ok(Machine {
        locks: locks.map_err(BadCheckpoint::Damaged)?,
        history: history.map_err(BadCheckpoint::Damaged)?,
        keys: Keys::from_image(image.keys).map_err(BadCheckpoint::Damaged)?,
        config,
        applied: image.applied,
        now: Stamp(image.now),
        ..Machine::new()
    })
}

fn checksum(level: u32, content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&level.to_le_bytes()), content)
}
