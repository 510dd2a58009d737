//! What a crash, a failing disk and a full one leave behind.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

fn start(memory: &Memory, create: bool) -> (Wal<MemoryDisk>, Recovered) {
    super::open(memory.boot().expect("nobody holds it"), create).expect("it opens")
}

/// A random group that follows a log of `recovered`, and the log with it.
fn group(rng: &mut StdRng, log: &Recovered) -> (Vec<Batch>, Recovered) {
    let mut log = log.clone();
    let mut batches = Vec::new();
    for _ in 0..rng.random_range(1..4) {
        let last = log.entries.len() as u64;
        let entries: Vec<Entry> = (0..rng.random_range(1..4))
            .map(|n| {
                entry(
                    log.promised.round,
                    &format!("{last}+{n}").repeat(rng.random_range(0..400)),
                )
            })
            .collect();
        let batch = if rng.random_bool(0.3) {
            let first = rng.random_range(log.decided.0 + 1..=last + 1);
            let next = ballot(log.promised.round + 1, rng.random_range(1..4));
            log.promised = next;
            log.synced = Some(next);
            log.entries.truncate(first as usize - 1);
            Batch {
                promised: Some(next),
                ..adopt(first, &entries, next)
            }
        } else {
            append(last + 1, &entries)
        };
        log.entries.extend(entries);
        log.decided = Slot(rng.random_range(log.decided.0..=log.entries.len() as u64));
        batches.push(Batch {
            decided: Some(log.decided),
            ..batch
        });
    }
    (batches, log)
}

/// The log without what a crash may keep of an unacknowledged write on its own: the promise.
fn unpromised(log: &Recovered) -> Recovered {
    Recovered {
        promised: initial(),
        ..log.clone()
    }
}

#[test]
fn a_crash_leaves_all_that_was_acknowledged_and_of_the_rest_all_or_nothing() {
    for seed in 0..100 {
        let mut rng = StdRng::seed_from_u64(seed);
        let memory = Memory::new(seed);
        let mut durable = start(&memory, true).1;
        for _ in 0..8 {
            memory.kill();
            let (mut wal, recovered) = start(&memory, false);
            assert!(
                recovered == durable,
                "seed {seed}: another log after a restart"
            );
            // What a start has shown is durable: the power may fail at once.
            if rng.random_bool(0.3) {
                memory.crash();
                continue;
            }
            for _ in 0..rng.random_range(0..12) {
                let (batches, after) = group(&mut rng, &durable);
                wal.write(&batches).expect("a good disk");
                durable = after;
            }
            let (batches, after) = group(&mut rng, &durable);
            let rolls = rng.random_range(0..5);
            if rng.random_bool(0.7) {
                memory.fail_sync_after(rolls)
            } else {
                memory.fail_write_after(rolls)
            }
            let written = wal.write(&batches);
            if rng.random_bool(0.7) {
                memory.crash()
            } else {
                memory.kill()
            }
            let recovered = start(&memory, false).1;
            let whole = unpromised(&recovered) == unpromised(&after);
            let before = unpromised(&recovered) == unpromised(&durable)
                && recovered.promised >= durable.promised;
            assert!(
                whole || before && written.is_err(),
                "seed {seed}: of {} entries {}, {:?}",
                after.entries.len(),
                recovered.entries.len(),
                recovered.synced
            );
            durable = recovered;
        }
    }
}

#[test]
fn a_failed_sync_is_never_retried() {
    let memory = Memory::new(7);
    let (mut wal, _) = start(&memory, true);
    led(&mut wal);
    memory.fail_sync_after(0);
    assert!(matches!(
        wal.write(&[append(3, &[entry(1, "x")])]),
        Err(Error::Io {
            operation: "sync",
            ..
        })
    ));
    let syncs = memory.syncs();
    assert!(matches!(
        wal.write(&[append(3, &[entry(1, "x")])]),
        Err(Error::Failed)
    ));
    assert!(matches!(
        wal.write(&[promise(ballot(9, 1))]),
        Err(Error::Failed)
    ));
    assert_eq!(memory.syncs(), syncs);
}

#[test]
fn a_full_disk_is_told_before_anything_is_half_done() {
    let memory = Memory::new(8);
    let (mut wal, _) = start(&memory, true);
    led(&mut wal);
    memory.limit(Some(SEGMENT + 2000));
    let large = "z".repeat(3000);
    let mut slot = 3;
    let full = loop {
        match wal.write(&[promise(ballot(slot, 1)), append(slot, &[entry(1, &large)])]) {
            Ok(()) => slot += 1,
            Err(error) => break error,
        }
    };
    assert!(
        full.is_full() && full.to_string().contains("disk is full"),
        "{full}"
    );
    assert_eq!(
        memory.names(),
        ["log-0000000000000001", "promise-a", "promise-b"]
    );
    wal.write(&[append(slot, &[entry(1, "small")])])
        .expect("what fits goes on");
    memory.limit(None);
    let batches = [
        promise(ballot(slot, 1)),
        append(slot + 1, &[entry(1, &large)]),
    ];
    wal.write(&batches).expect("space was made");
    memory.crash();
    let recovered = start(&memory, false).1;
    assert_eq!(
        (recovered.entries.len() as u64, recovered.promised),
        (slot + 1, ballot(slot, 1))
    );
}

#[test]
fn a_start_that_was_cut_short_is_begun_again() {
    for seed in 0..50 {
        for sync in 0..10 {
            let memory = Memory::new(seed);
            memory.fail_sync_after(sync);
            let opened = super::open(memory.boot().expect("nobody holds it"), true).is_ok();
            assert!(sync < 9 || opened, "a first start syncs {sync} times");
            memory.crash();
            assert_eq!(start(&memory, true).1, Recovered::empty(initial()));
        }
    }
}
