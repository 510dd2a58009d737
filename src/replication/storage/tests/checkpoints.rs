//! Which checkpoint a start goes on from, whatever happened to the disk.

use super::*;
use crate::paxos::{Seal, Succession};

/// Starts on what is there; what was restored is the content.
fn start(memory: &Memory) -> Result<(Wal<MemoryDisk>, Recovered, Option<Bytes>), Error> {
    let disk = memory.boot()?;
    Wal::open(disk, options(false), Ok)
}

fn content(slot: u64) -> Vec<u8> {
    format!("state {slot} ").repeat(200).into_bytes()
}

/// Those of later slots are behind a Seal.
fn succession(slot: u64) -> Option<Succession> {
    (slot > 4).then(|| Succession {
        epoch: Epoch(3),
        seal: Seal {
            voters: [1, 4].map(NodeId).into(),
            details: Bytes::from(vec![7; 900]),
        },
    })
}

fn take(disk: &MemoryDisk, wal: &mut Wal<MemoryDisk>, slot: u64) -> Result<(), Error> {
    let meta = checkpoint::write(
        disk,
        Slot(slot),
        ballot(1, 1),
        succession(slot).as_ref(),
        &content(slot),
    )?;
    wal.keep(&meta).map(drop)
}

/// A log through slot 12, with checkpoints of 4 and 8.
fn written(seed: u64) -> (Memory, MemoryDisk, Wal<MemoryDisk>) {
    let memory = Memory::new(seed);
    let disk = memory.boot().expect("nobody holds it");
    let (mut wal, _) = open(disk.clone(), true).expect("it opens");
    led(&mut wal);
    for slot in 3..=12 {
        let batch = Batch {
            decided: Some(Slot(slot - 1)),
            ..append(slot, &[entry(1, &"w".repeat(900))])
        };
        wal.write(&[batch]).expect("a good disk");
        if slot % 4 == 0 && slot < 12 {
            take(&disk, &mut wal, slot).expect("a good disk");
        }
    }
    (memory, disk, wal)
}

fn restored(memory: &Memory) -> Option<u64> {
    memory.kill();
    let (_, recovered, restored) = start(memory).expect("it opens");
    let end = recovered.start.plus(recovered.entries.len());
    assert_eq!(end, Slot(13), "the log is whole");
    let slot = recovered.applied.0;
    assert_eq!(restored, (slot > 0).then(|| content(slot).into()));
    assert_eq!(recovered.succession, succession(slot));
    assert!(recovered.decided >= recovered.applied);
    restored.map(|_| slot)
}

#[test]
fn a_start_goes_on_from_the_newest_of_two() {
    let (memory, disk, mut wal) = written(1);
    take(&disk, &mut wal, 12).expect("a good disk");
    let names = memory.names().into_iter();
    let kept: Vec<String> = names.filter(|name| name.contains("check")).collect();
    assert_eq!(
        kept,
        ["checkpoint-0000000000000008", "checkpoint-000000000000000c"]
    );
    drop(wal);
    assert_eq!(restored(&memory), Some(12));
    memory.crash();
    assert_eq!(restored(&memory), Some(12));
}

#[test]
fn a_crash_at_any_step_leaves_the_old_or_the_new_one() {
    for seed in 0..30 {
        for step in 0..10 {
            let (memory, disk, mut wal) = written(seed);
            if seed % 2 == 0 {
                memory.fail_sync_after(step);
            } else {
                memory.fail_write_after(step);
            }
            let kept = take(&disk, &mut wal, 12).is_ok();
            drop(wal);
            memory.crash();
            let found = restored(&memory);
            assert!(
                found == Some(12) || !kept && found == Some(8),
                "seed {seed}, step {step}: {found:?}, kept {kept}"
            );
            memory.crash();
            assert_eq!(restored(&memory), found, "what a start found is durable");
        }
    }
}

#[test]
fn what_a_dead_leader_left_is_not_what_a_checkpoint_sums_up() {
    let memory = Memory::new(5);
    let disk = memory.boot().expect("nobody holds it");
    let (mut wal, _) = open(disk.clone(), true).expect("it opens");
    led(&mut wal);
    let old: Vec<Entry> = (3..9).map(|_| entry(1, "left behind")).collect();
    wal.write(&[append(3, &old)]).expect("a good disk");
    // The next leader's log replaces that, is decided, and is summed up.
    let new: Vec<Entry> = (3..7).map(|_| entry(2, "replaces it")).collect();
    let decided = Batch {
        decided: Some(Slot(6)),
        ..Batch::default()
    };
    wal.write(&[promise(ballot(2, 1)), adopt(3, &new, ballot(2, 1)), decided])
        .expect("a good disk");
    let meta = checkpoint::write(&disk, Slot(5), ballot(2, 1), None, &content(5));
    wal.keep(&meta.expect("a good disk")).expect("a good disk");
    drop(wal);
    let log = memory.content("log-0000000000000001").expect("it is there");
    let find = |text: &[u8]| log.windows(text.len()).position(|it| it == text);
    let at = find(b"replaces it").expect("it was written");
    memory.damage("log-0000000000000001", at, b"R");
    memory.kill();
    let (mut wal, recovered, _) = start(&memory).expect("it opens");
    assert_eq!((recovered.synced, recovered.applied), (None, Slot(5)));
    assert_eq!((recovered.start, recovered.decided), (Slot(6), Slot(5)));
    assert_eq!(recovered.entries, []);
    // A leader makes it whole, and whole it stays.
    let synced = [entry(2, "replaces it"), entry(3, "and goes on")];
    wal.write(&[promise(ballot(3, 1)), adopt(6, &synced, ballot(3, 1))])
        .expect("a good disk");
    drop(wal);
    for _ in 0..2 {
        memory.kill();
        let (_, recovered, _) = start(&memory).expect("it opens");
        assert_eq!(recovered.synced, Some(ballot(3, 1)));
        assert_eq!((recovered.start, recovered.decided), (Slot(6), Slot(5)));
        assert_eq!(recovered.entries, synced);
    }
}

#[test]
fn one_that_rots_gives_way_to_the_older() {
    let (memory, _, wal) = written(3);
    drop(wal);
    let name = "checkpoint-0000000000000008";
    let whole = memory.content(name).expect("it is there");
    let header = 40;
    for offset in (0..header).chain(512..whole.len()).step_by(7) {
        let image = memory.image();
        image.damage(name, offset, &[whole[offset] ^ 0x20]);
        assert_eq!(restored(&image), Some(4), "byte {offset}");
        image.lose("checkpoint-0000000000000004");
        assert_eq!(restored(&image), None, "all is in the log");
    }
}

#[test]
fn one_that_cannot_be_understood_gives_way_to_the_older() {
    let (memory, _, wal) = written(4);
    drop(wal);
    memory.kill();
    let disk = memory.boot().expect("killed");
    let mut offered = Vec::new();
    let restore = |bytes: Bytes| {
        offered.push(bytes.len());
        if offered.len() > 1 {
            return Ok(bytes);
        }
        Err("of a later build".to_owned())
    };
    let (_, recovered, _) = Wal::open(disk, options(false), restore).expect("it opens");
    assert_eq!(recovered.applied, Slot(4));
}

#[test]
fn a_log_that_ends_before_its_checkpoint_is_damaged_and_goes_on_behind_it() {
    let lose: fn(&Memory, &str) = Memory::lose;
    let rot: fn(&Memory, &str) = |memory, name| memory.damage(name, 9, b"rot");
    for harm in [lose, rot] {
        // All of it, and only what it begins with.
        for many in [usize::MAX, 1] {
            let (memory, _, wal) = compacted();
            drop(wal);
            memory.kill();
            let logs = memory.names().into_iter();
            let logs = logs.filter(|name| name.starts_with("log-"));
            logs.take(many).for_each(|name| harm(&memory, &name));
            goes_on_behind(&memory, 60);
        }
    }
}

fn goes_on_behind(memory: &Memory, last: u64) {
    let start = || start(memory).expect("it opens");
    for _ in 0..2 {
        memory.crash();
        let (wal, recovered, _) = start();
        assert!(wal.damage().is_some() && recovered.synced.is_none());
        let ends = (recovered.applied, recovered.start, recovered.decided);
        assert_eq!(ends, (Slot(last), Slot(last + 1), Slot(last)));
        assert!(recovered.entries.is_empty());
    }
    memory.kill();
    let (mut wal, ..) = start();
    let next = ballot(2, 2);
    let whole = [entry(2, "whole again")];
    wal.write(&[promise(next), adopt(last + 1, &whole, next)])
        .expect("a good disk");
    drop(wal);
    memory.crash();
    let (wal, recovered, _) = start();
    assert!(wal.damage().is_none() && recovered.synced == Some(next));
    assert_eq!(texts(&recovered), ["whole again"]);
    drop(wal);
    // Checkpoints of what came since leave nothing of the damage.
    for (first, name) in [(last + 2, "x"), (last + 3, "y")] {
        memory.kill();
        let disk = memory.boot().expect("killed");
        let (mut wal, ..) = Wal::open(disk.clone(), options(false), Ok).expect("it opens");
        wal.write(&[append(first, &[entry(2, name)])])
            .expect("a good disk");
        take(&disk, &mut wal, first).expect("a good disk");
    }
    memory.crash();
    let (wal, recovered, _) = start();
    assert!(wal.damage().is_none() && recovered.synced == Some(next));
    assert_eq!(texts(&recovered), ["y"]);
}

/// A log of many segments, with a checkpoint each few slots.
fn compacted() -> (Memory, MemoryDisk, Wal<MemoryDisk>) {
    let memory = Memory::new(7);
    let disk = memory.boot().expect("nobody holds it");
    let (mut wal, _) = open(disk.clone(), true).expect("it opens");
    led(&mut wal);
    for slot in 3..=60 {
        let batch = Batch {
            decided: Some(Slot(slot - 1)),
            ..append(slot, &[entry(1, &"w".repeat(900))])
        };
        wal.write(&[batch]).expect("a good disk");
        if slot % 15 == 0 {
            take(&disk, &mut wal, slot).expect("a good disk");
        }
    }
    (memory, disk, wal)
}

#[test]
fn what_the_older_checkpoint_sums_up_is_removed() {
    let (memory, _, wal) = compacted();
    drop(wal);
    assert!(!memory.names().contains(&"log-0000000000000001".to_owned()));
    let logs = memory.names().into_iter();
    assert!(logs.filter(|name| name.starts_with("log-")).count() < 6);
    for harm in ["", "checkpoint-000000000000003c"] {
        let image = memory.image();
        image.damage(harm, 600, b"rot");
        image.kill();
        let (wal, recovered, _) = start(&image).expect("it opens");
        assert!(wal.damage().is_none());
        let applied = if harm.is_empty() { 60 } else { 45 };
        assert_eq!(
            (recovered.applied, recovered.start),
            (Slot(applied), Slot(46))
        );
        assert_eq!(
            (recovered.entries.len(), recovered.base),
            (15, ballot(1, 1))
        );
    }
}

#[test]
fn a_state_that_no_checkpoint_holds_any_more_is_a_clear_refusal() {
    let (memory, _, wal) = compacted();
    drop(wal);
    memory.kill();
    for name in memory.names() {
        if name.starts_with("checkpoint-") {
            memory.damage(&name, 600, b"rot");
        }
    }
    let refused = start(&memory).map(drop).expect_err("nothing to go on from");
    let text = refused.to_string();
    assert!(
        text.contains("the state is lost") && text.contains("checksum") && text.contains("restore"),
        "{text}"
    );
}

/// What a peer says of its checkpoint of slot 100.
fn of_a_peer(content: &[u8]) -> checkpoint::Meta {
    checkpoint::Meta {
        slot: Slot(100),
        ballot: ballot(3, 3),
        size: content.len() as u64,
        sum: crc32c::crc32c(content),
        head: 0,
    }
}

/// Goes on behind it.
fn adopting(meta: checkpoint::Meta) -> Batch {
    let log = LogChange::Adopt {
        base: Some(meta.base()),
        first: Slot(101),
        entries: vec![entry(4, "next")],
        synced: ballot(4, 2),
    };
    Batch {
        promised: Some(ballot(4, 2)),
        log: Some(log),
        decided: Some(Slot(100)),
    }
}

#[test]
fn a_log_opened_again_leaves_what_is_being_fetched() {
    let (memory, disk, wal) = compacted();
    let content = content(100);
    let (meta, half) = (of_a_peer(&content), 500);
    disk.receive(&meta, 0, &content[..half])
        .expect("a good disk");
    disk.create("group.tmp").expect("a good disk");
    drop(wal);
    let again = WalOptions {
        again: true,
        ..options(false)
    };
    let (mut wal, ..) = Wal::open(disk.clone(), again, Ok).expect("it opens");
    let left: Vec<String> = memory.names();
    assert_eq!(left.iter().filter(|name| name.ends_with(".tmp")).count(), 1);
    let rest = disk.receive(&meta, half as u64, &content[half..]);
    rest.expect("a good disk");
    disk.received(&meta).expect("it is whole");
    wal.write(&[adopting(meta)]).expect("a good disk");
}

#[test]
fn a_peers_checkpoint_counts_with_the_batch_that_adopts_it_or_not_at_all() {
    for step in 0..14 {
        let (memory, disk, mut wal) = compacted();
        let content = content(100);
        let meta = of_a_peer(&content);
        disk.receive(&meta, 0, &content[..500])
            .expect("a good disk");
        disk.receive(&meta, 500, &content[500..])
            .expect("a good disk");
        let whole = disk.received(&meta).expect("it is whole");
        assert_eq!((&whole.content[..], whole.succession), (&content[..], None));
        let batch = adopting(meta);
        memory.fail_sync_after(step);
        let written = wal.write(&[batch]).is_ok();
        drop((wal, disk));
        memory.crash();
        for _ in 0..2 {
            let (wal, recovered, restored) = start(&memory).expect("it opens");
            assert!(wal.damage().is_none(), "step {step}");
            let ends = (
                recovered.applied.0,
                recovered.start.0,
                recovered.entries.len(),
            );
            match ends {
                (100, 101, 1) => {
                    assert_eq!(recovered.base, ballot(3, 3));
                    assert_eq!(restored.as_deref(), Some(&content[..]));
                    assert_eq!(recovered.synced, Some(ballot(4, 2)));
                }
                (60, 46, 15) => assert!(!written, "step {step}: acknowledged and lost"),
                other => panic!("step {step}: half of it: {other:?}"),
            }
            memory.crash();
        }
    }
}
