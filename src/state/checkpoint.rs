//! Checkpoints: the whole machine as bytes, and back.
//!
//! The bytes are self-contained: they begin with a format and the feature level needed to read them, carry a checksum
//! over all else, and the digest of the machine they were made of, which a machine read back must have. Whatever the
//! bytes are, reading gives that machine or a refusal.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::borrowed::{self, Value};
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

/// What is read; [`checkpoint`] writes the same from what it borrows.
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
    let first = [
        (1, Value::Number(machine.applied)),
        (2, Value::Number(machine.now.0)),
        (3, Value::Fixed(machine.digest())),
        (4, Value::Bytes(&config)),
    ];
    let history = machine.history.image_length();
    let locks = LocksImage::whole(&machine.locks);

    let length = borrowed::length(&first)
        + borrowed::nested_length(5, history)
        + machine.keys.images_length(6)
        + borrowed::nested_length(7, locks.encoded_len());
    let mut bytes = Vec::with_capacity(HEADER + length);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&machine.level.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    borrowed::write(&first, &mut bytes);
    borrowed::begin(5, history, &mut bytes);
    machine.history.write_image(&mut bytes);
    machine.keys.write_images(6, &mut bytes);
    borrowed::begin(7, locks.encoded_len(), &mut bytes);
    locks.encode_raw(&mut bytes);
    assert_eq!(
        bytes.len(),
        HEADER + length,
        "a checkpoint is as long as its parts"
    );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Body, Command, Key, Operation};

    #[test]
    fn what_is_written_is_what_its_message_would_be() {
        let mut machine = Machine::new();
        let put = r#"[{"op": "put", "path": "/pools/a", "value": {"name": "a", "backends": []}}]"#;
        let put = serde_json::from_str(put).expect("it is JSON");
        let put = crate::config::Transaction::from_json(put).expect("it is valid");
        let lease = crate::config::limits::LEASE;
        let bodies = [
            Body::Config(put),
            Body::Locks(Operation::Open { lease }),
            // Refused, and remembered as that.
            Body::Config(crate::config::Transaction::default()),
        ];
        for (slot, body) in (1..).zip(bodies) {
            let command = Command {
                key: Key::new(&format!("key-{slot}")).expect("a key"),
                stamp: Stamp(slot * 1000),
                level: LEVEL,
                author: "a".to_owned(),
                comment: String::new(),
                sticky_key: None,
                body,
            };
            machine.apply(slot, &command.encode());
        }
        for machine in [Machine::new(), machine] {
            let bytes = checkpoint(&machine);
            let image = Image::decode(&bytes[HEADER..]).expect("it can be read");
            assert_eq!(image.encode_to_vec(), bytes[HEADER..]);
        }
    }
}
