//! What must hold whatever bytes a disk or a peer hands over. The checks are shared with `tests/fuzz`.

use std::sync::OnceLock;

use bytes::Bytes;
use prost::Message as _;
use serde_json::json;

use super::codec;
use super::frame::{Body, Frame};
use super::storage::checkpoint::{self, Meta};
use super::storage::{Memory, Storage, Wal, WalOptions};
use crate::config::Transaction;
use crate::paxos::{
    Ballot, Base, Batch, Entry, Epoch, LogChange, NodeId, Payload, Recovered, Seal, Slot,
    Succession,
};
use crate::state::{self, Applied, Command, Key, LEVEL, Machine, Outcome, Stamp};

const SEGMENT: u64 = 8 << 10;
const SECTOR: usize = 512;
/// Entries written, one a batch.
const ENTRIES: u64 = 16;

/// What is done to a disk: a file, a place in it and a byte, in four bytes each.
struct Harm {
    file: usize,
    offset: usize,
    byte: u8,
    /// The whole sector becomes that byte.
    sector: bool,
}

fn harms(bytes: &[u8]) -> impl Iterator<Item = Harm> {
    bytes.chunks_exact(4).map(|harm| Harm {
        file: usize::from(harm[0] & 0x7f),
        offset: usize::from(u16::from_le_bytes([harm[1], harm[2]])),
        byte: harm[3],
        sector: harm[0] > 0x7f,
    })
}

/// A copy of the disk on which this was done to its files.
fn harmed(disk: &Memory, bytes: &[u8]) -> Memory {
    let image = disk.image();
    let names = image.names();
    for harm in harms(bytes) {
        let name = &names[harm.file % names.len()];
        let length = image.content(name).map_or(0, |content| content.len());
        let at = harm.offset % length.max(1);
        match harm.sector {
            true => image.damage(name, at / SECTOR * SECTOR, &[harm.byte; SECTOR]),
            false => image.damage(name, at, &[harm.byte]),
        }
    }
    image
}

fn ballot(round: u64) -> Ballot {
    Ballot {
        epoch: Epoch(0),
        round,
        node: Some(NodeId(1)),
    }
}

/// The log of a voter over two segments, and what a start finds in it.
fn written() -> &'static (Memory, Recovered) {
    static WRITTEN: OnceLock<(Memory, Recovered)> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let memory = Memory::new(7);
        let disk = memory.boot().expect("nobody holds it");
        let options = WalOptions {
            segment_bytes: SEGMENT,
            ..WalOptions::new(Ballot::initial(Epoch(0)), true)
        };
        let (mut wal, ..) = Wal::open(disk, options, |_| Ok(())).expect("it is new");
        for slot in 1..=ENTRIES {
            let entry = Entry {
                ballot: ballot(1),
                payload: Payload::Command(vec![slot as u8; 900].into()),
            };
            let (first, entries) = (Slot(slot), vec![entry]);
            let log = match slot {
                1 => LogChange::Adopt {
                    base: None,
                    first,
                    entries,
                    synced: ballot(1),
                },
                _ => LogChange::Append { first, entries },
            };
            let batch = Batch {
                promised: (slot == 1).then(|| ballot(1)),
                log: Some(log),
                decided: Some(Slot(slot - 1)),
            };
            wal.write(&[batch]).expect("a good disk");
        }
        drop(wal);
        let (_, recovered) = start(&memory.image()).expect("nothing happened to it");
        assert_eq!(recovered.entries.len() as u64, ENTRIES);
        (memory, recovered)
    })
}

/// Starts on it; also tells whether damage is told.
fn start(memory: &Memory) -> Option<(bool, Recovered)> {
    memory.kill();
    let disk = memory.boot().ok()?;
    let options = WalOptions {
        segment_bytes: SEGMENT,
        ..WalOptions::new(Ballot::initial(Epoch(0)), false)
    };
    let (wal, recovered, _) = Wal::open(disk, options, |_| Ok(())).ok()?;
    Some((wal.damage().is_some(), recovered))
}

/// A log with some of its bytes overwritten is refused, or gives a prefix of what was written. Where that is shorter it
/// is told, unless what is missing is the last write alone, which may never have been acknowledged, or looks like one
/// write that was torn: a sector of it is zero, and every record behind that was harmed, too. A second start finds the
/// same.
pub fn check_log(bytes: &[u8]) {
    let (memory, whole) = written();
    let image = harmed(memory, bytes);
    let Some((damaged, found)) = start(&image) else {
        return;
    };
    assert!(whole.entries.starts_with(&found.entries), "other entries");
    assert!(found.decided <= whole.decided, "decided goes ahead");
    assert!(found.promised <= whole.promised, "promised goes ahead");
    assert_eq!(found.synced.is_none(), damaged, "damage is not told");
    if !damaged {
        let missing = whole.entries.len() - found.entries.len();
        let torn = harms(bytes).any(|harm| harm.sector && harm.byte == 0);
        let explained = torn && missing <= harms(bytes).count();
        assert!(
            missing <= 1 || explained,
            "{missing} entries are gone without a word"
        );
        assert_eq!(found.promised, whole.promised, "it forgets its promise");
    }
    let again = start(&image);
    assert_eq!(again, Some((damaged, found)), "the next start differs");
}

/// Commands that put a pool and a route to it.
fn commands() -> Vec<Command> {
    let backend = json!({"id": "a", "address": "10.0.0.1:80"});
    let operations = [
        json!([{"op": "put", "path": "/pools/web", "value": {"backends": [backend]}}]),
        json!([{"op": "put", "path": "/routes/all", "value": {"to": [{"pool": "web"}]}}]),
    ];
    let command = |(stamp, operations)| Command {
        key: Key::new(&format!("k{stamp}")).expect("printable"),
        stamp: Stamp(stamp),
        level: LEVEL,
        author: "ann".to_owned(),
        comment: String::new(),
        sticky_key: None,
        body: state::Body::Config(Transaction::from_json(operations).expect("it is one")),
    };
    (1..).zip(operations).map(command).collect()
}

/// A machine that has applied them.
fn machine() -> Machine {
    let mut machine = Machine::new();
    for (slot, command) in (1..).zip(commands()) {
        machine.apply(slot, &command.encode());
    }
    machine
}

/// A checkpoint file with some of its bytes overwritten is refused, or is what was written.
pub fn check_checkpoint(bytes: &[u8]) {
    static WRITTEN: OnceLock<(Memory, Bytes)> = OnceLock::new();
    let (memory, content) = WRITTEN.get_or_init(|| {
        let machine = machine();
        let content = state::checkpoint(&machine);
        let memory = Memory::new(7);
        let disk = memory.boot().expect("nobody holds it");
        let options = WalOptions::new(Ballot::initial(Epoch(0)), true);
        let (mut wal, ..) = Wal::open(disk.clone(), options, |_| Ok(())).expect("it is new");
        let entry = Entry {
            ballot: ballot(1),
            payload: Payload::Barrier,
        };
        let slot = Slot(machine.applied());
        let adopt = LogChange::Adopt {
            base: None,
            first: Slot(1),
            entries: vec![entry; slot.0 as usize],
            synced: ballot(1),
        };
        let batch = Batch {
            promised: Some(ballot(1)),
            log: Some(adopt),
            decided: Some(slot),
        };
        wal.write(&[batch]).expect("a good disk");
        let succession = Succession {
            epoch: Epoch(0),
            seal: Seal {
                voters: [NodeId(1)].into(),
                details: Bytes::from_static(b"details"),
            },
        };
        let written = checkpoint::write(&disk, slot, ballot(1), Some(&succession), &content);
        let kept = wal.keep(&written.expect("a good disk"));
        kept.expect("a good disk");
        (memory, content)
    });
    let image = harmed(memory, bytes);
    image.kill();
    let Ok(disk) = image.boot() else {
        return;
    };
    for slot in checkpoint::list(&disk).expect("it is there") {
        if let Ok(Ok(found)) = checkpoint::read(&disk, slot) {
            assert_eq!(found.content, content, "another state");
        }
    }
}

/// Bytes that are taken for the content of a checkpoint make the same machine as that one's content.
pub fn check_content(bytes: &[u8]) {
    if let Ok(machine) = state::restore(bytes) {
        let again = state::restore(&state::checkpoint(&machine)).expect("it was just written");
        assert_eq!(machine.digest(), again.digest());
    }
}

/// A frame is refused, or means the same when it is written again; so does what it carries.
pub fn check_frame(bytes: &[u8]) {
    let Ok(frame) = Frame::decode(bytes) else {
        return;
    };
    let again = Frame::decode(&frame.encode_to_vec()[..]);
    assert_eq!(again.as_ref(), Ok(&frame));
    match frame.body {
        Some(Body::Paxos(bytes) | Body::Entries(bytes)) => check_message(&bytes),
        Some(Body::Forward(forward)) => check_command(&forward.command),
        Some(Body::Offer(offer)) => {
            let _ = Meta::try_from(&offer).map(|meta: Meta| -> Base { meta.base() });
        }
        _ => {}
    }
}

/// A message of the core is refused, or means the same when it is written again.
pub fn check_message(bytes: &[u8]) {
    if let Ok(message) = codec::decode(Bytes::copy_from_slice(bytes)) {
        let again = codec::decode(codec::encode(&message));
        assert_eq!(again.as_ref(), Ok(&message));
    }
}

/// A command is refused, or means the same when it is written again; applying it is total and the same everywhere.
pub fn check_command(bytes: &[u8]) {
    if let Ok(command) = Command::decode(bytes) {
        assert_eq!(Command::decode(&command.encode()), Ok(command));
    }
    let (mut one, mut other) = (machine(), machine());
    let slot = one.applied() + 1;
    let applied = [one.apply(slot, bytes), other.apply(slot, bytes)];
    assert_eq!(applied[0], applied[1]);
    assert_eq!(one.digest(), other.digest());
    if let Applied::Command { outcome, .. } = &applied[0] {
        assert_eq!(Outcome::decode(&outcome.encode()).as_ref(), Ok(outcome));
    }
    let restored = state::restore(&state::checkpoint(&one)).expect("it was just written");
    assert_eq!(restored.digest(), one.digest());
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::super::frame::{Forward, Offer};
    use super::*;
    use crate::paxos::Message;

    fn message() -> Bytes {
        let entries = written().1.entries[..2].to_vec();
        codec::encode(&Message::Chunk {
            ballot: ballot(1),
            first: Slot(1),
            entries,
        })
    }

    fn frames() -> Vec<Vec<u8>> {
        let offer = Offer {
            slot: 9,
            ballot: Some(ballot(1).into()),
            size: 100,
            sum: 7,
            offset: 0,
            head: 0,
        };
        let command = commands()[0].encode();
        let bodies = [
            Body::Paxos(message()),
            Body::Forward(Forward {
                request: 1,
                command,
            }),
            Body::Offer(offer),
        ];
        bodies
            .map(|body| Frame::from(body).encode_to_vec())
            .to_vec()
    }

    fn rotten(bytes: &[u8], rot: &[(Index, u8)]) -> Vec<u8> {
        let mut rotten = bytes.to_vec();
        for (at, byte) in rot {
            let at = at.index(rotten.len());
            rotten[at] = *byte;
        }
        rotten
    }

    #[test]
    fn what_looks_like_one_torn_write_may_be_gone() {
        // A sector of the last entry but one is zero, and the header behind it is no header.
        check_log(&[
            0xd2, 0x0a, 0x07, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x05, 0x00,
        ]);
    }

    #[test]
    fn the_checks_accept_what_is_whole() {
        check_log(&[]);
        check_checkpoint(&[]);
        check_content(&state::checkpoint(&machine()));
        frames().iter().for_each(|frame| {
            assert!(Frame::decode(&frame[..]).expect("whole").body.is_some());
            check_frame(frame);
        });
        check_command(&commands()[1].encode());
    }

    proptest! {
        #[test]
        fn a_harmed_log_is_refused_or_gives_a_prefix_and_says_so(harm in vec(any::<u8>(), 0..20)) {
            check_log(&harm);
        }

        #[test]
        fn a_harmed_checkpoint_is_refused_or_is_what_was_written(harm in vec(any::<u8>(), 0..20)) {
            check_checkpoint(&harm);
        }

        #[test]
        fn harmed_bytes_are_refused_or_mean_one_thing(rot in vec((any::<Index>(), any::<u8>()), 0..4)) {
            frames().iter().for_each(|frame| check_frame(&rotten(frame, &rot)));
            check_message(&rotten(&message(), &rot));
            check_command(&rotten(&commands()[0].encode(), &rot));
            check_content(&rotten(&state::checkpoint(&machine()), &rot));
        }
    }
}
