//! What rots, goes missing or was rolled back: told, never cut, never taken for a torn tail.

use super::*;

const FIRST: &str = "log-0000000000000001";
const LAST: &str = "log-0000000000000002";

/// Something done to a disk behind everyone's back.
type Harm<'a> = &'a dyn Fn(&Memory);

fn try_start(memory: &Memory) -> Result<(Wal<MemoryDisk>, Recovered), Error> {
    memory.kill();
    super::open(memory.boot().expect("killed"), false)
}

fn start(memory: &Memory) -> (Wal<MemoryDisk>, Recovered) {
    try_start(memory).expect("it opens")
}

/// Two segments, nine entries, of which the last is in a record of three sectors.
fn written() -> (Memory, Recovered) {
    let memory = Memory::new(11);
    let (mut wal, _) =
        super::open(memory.boot().expect("nobody holds it"), true).expect("it opens");
    led(&mut wal);
    for slot in 3..10 {
        wal.write(&[append(slot, &[entry(1, &"w".repeat(1300))])])
            .expect("a good disk");
    }
    drop(wal);
    let recovered = start(&memory.image()).1;
    assert_eq!((memory.names().len(), recovered.entries.len()), (4, 9));
    (memory, recovered)
}

fn is_prefix(of: &Recovered, part: &Recovered) -> bool {
    of.entries.starts_with(&part.entries)
        && part.decided <= of.decided
        && part.promised == of.promised
}

/// Starts on a copy that `harm` was done to.
fn harmed(memory: &Memory, harm: impl Fn(&Memory)) -> (Memory, Wal<MemoryDisk>, Recovered) {
    let image = memory.image();
    harm(&image);
    let (wal, recovered) = start(&image);
    (image, wal, recovered)
}

/// Overwrites one sector of the last segment.
fn overwrite(memory: &Memory, sector: usize, byte: u8) {
    memory.damage(LAST, sector * 512, &[byte; 512]);
}

#[test]
fn damage_is_never_cut() {
    let (memory, whole) = written();
    for name in [FIRST, LAST] {
        let content = memory.content(name).expect("it is there");
        for offset in (0..content.len()).step_by(13) {
            let flip = |memory: &Memory| memory.damage(name, offset, &[content[offset] ^ 0x41]);
            let (image, wal, recovered) = harmed(&memory, flip);
            assert!(is_prefix(&whole, &recovered));
            match (recovered.synced, wal.damage()) {
                (Some(_), None) => {
                    assert_eq!(recovered, whole, "{name} at {offset}: cut without a word")
                }
                (None, Some(damage)) => {
                    assert!(damage.to_string().contains("damaged in log-"), "{damage}")
                }
                other => panic!("{name} at {offset}: {other:?}"),
            }
            let now = image.content(name).expect("it is there");
            let kept = content
                .iter()
                .zip(&now)
                .enumerate()
                .all(|(at, (old, new))| old == new || at == offset);
            assert!(kept, "{name} at {offset}: bytes were changed");
        }
    }
}

#[test]
fn a_segment_that_was_cut_short_is_damage() {
    let (memory, whole) = written();
    let length = memory.content(LAST).expect("it is there").len();
    // A copy that broke off, mostly between two records; no crash shortens what was allocated before it was named.
    for sectors in 1..length / 512 {
        let (_, wal, recovered) = harmed(&memory, |memory| memory.cut(LAST, sectors * 512));
        assert!(is_prefix(&whole, &recovered));
        assert!(wal.damage().is_some(), "cut behind sector {sectors}");
        assert_eq!(recovered.synced, None, "it takes no part as it is");
    }
}

#[test]
fn a_torn_tail_is_cut() {
    let (memory, whole) = written();
    // The last record takes the sectors 7, 8 and 9; some are as they were before it.
    for sectors in [&[7][..], &[8], &[9], &[7, 8], &[7, 9], &[8, 9]] {
        let (image, wal, recovered) = harmed(&memory, |image| {
            sectors.iter().for_each(|s| overwrite(image, *s, 0))
        });
        assert!(
            wal.damage().is_none() && recovered.synced == whole.synced,
            "{sectors:?}"
        );
        assert_eq!(recovered.entries, whole.entries[..8]);
        let content = image.content(LAST).expect("it is there");
        assert!(
            content[7 * 512..].iter().all(|byte| *byte == 0),
            "what is cut is zero again"
        );
    }
}

#[test]
fn a_hole_with_a_valid_record_behind_it_is_damage() {
    let (memory, whole) = written();
    for sector in 4..7 {
        let (_, wal, recovered) = harmed(&memory, |image| overwrite(image, sector, 0));
        let damage = wal.damage().expect("it is told");
        assert!(
            damage.reason.contains("valid record stands behind it"),
            "{damage}"
        );
        assert_eq!(
            (recovered.synced, &recovered.entries[..]),
            (None, &whole.entries[..7])
        );
    }
}

#[test]
fn a_rotten_header_in_front_of_a_torn_tail_is_damage() {
    let (memory, whole) = written();
    let (_, wal, recovered) = harmed(&memory, |image| {
        image.damage(LAST, 4 * 512 + 9, &[0x5a]);
        overwrite(image, 7, 0);
    });
    assert!(wal.damage().is_some());
    assert_eq!(
        (recovered.synced, &recovered.entries[..]),
        (None, &whole.entries[..7])
    );
}

#[test]
fn a_tail_that_was_written_whole_and_does_not_verify_is_damage() {
    let (memory, _) = written();
    for sector in 7..10 {
        let (_, wal, recovered) = harmed(&memory, |image| overwrite(image, sector, 0x77));
        assert!(
            wal.damage()
                .is_some_and(|damage| damage.reason.contains("written whole"))
        );
        assert_eq!((recovered.synced, recovered.entries.len()), (None, 8));
    }
}

#[test]
fn a_log_that_lost_what_the_promise_knows_to_be_synced_is_damaged() {
    let (memory, _) = written();
    let (mut wal, _) = start(&memory);
    wal.write(&[promise(ballot(8, 3))]).expect("a good disk");
    for harm in [&[7, 8, 9][..], &[8]] {
        let (_, wal, recovered) = harmed(&memory, |image| {
            harm.iter().for_each(|s| overwrite(image, *s, 0))
        });
        let damage = wal.damage().expect("it is told");
        assert!(damage.reason.contains("known to"), "{damage}");
        assert_eq!(
            (
                recovered.synced,
                recovered.entries.len(),
                recovered.promised
            ),
            (None, 8, ballot(8, 3))
        );
    }
}

#[test]
fn a_missing_or_unreadable_segment_is_damage() {
    let (memory, whole) = written();
    let cut = |memory: &Memory| memory.damage(FIRST, 0, b"nothing");
    let harms: [(Harm, usize); 4] = [
        (&|memory| memory.lose(FIRST), 0),
        (&cut, 0),
        (&|memory| memory.lose(LAST), 6),
        (&|memory| memory.damage(LAST, 0, &[0; 512]), 6),
    ];
    for (nth, (harm, good)) in harms.into_iter().enumerate() {
        let (image, wal, recovered) = harmed(&memory, |image| harm(image));
        assert!(wal.damage().is_some(), "harm {nth}");
        assert_eq!(
            (recovered.synced, &recovered.entries[..]),
            (None, &whole.entries[..good]),
            "harm {nth}"
        );
        drop(wal);
        let (wal, again) = start(&image);
        assert!(
            wal.damage().is_some() && again == recovered,
            "harm {nth}, started again"
        );
    }
}

#[test]
fn a_damaged_voter_is_whole_once_it_was_synced() {
    let (memory, _) = written();
    let (image, mut wal, recovered) = harmed(&memory, |image| overwrite(image, 5, 0x33));
    assert_eq!((recovered.synced, recovered.entries.len()), (None, 7));
    drop(wal);
    image.crash();
    (wal, _) = start(&image);
    let next = ballot(2, 2);
    let news = [entry(1, "eight"), entry(1, "nine"), entry(2, "ten")];
    wal.write(&[promise(next), adopt(8, &news, next)])
        .expect("a good disk");
    assert!(wal.damage().is_none());
    wal.write(&[append(11, &[entry(2, "eleven")])])
        .expect("a good disk");
    drop(wal);
    let (wal, recovered) = start(&image);
    assert!(wal.damage().is_none() && recovered.synced == Some(next));
    assert_eq!(texts(&recovered)[7..], ["eight", "nine", "ten", "eleven"]);
    assert!(
        image.content(LAST).expect("it is there")[5 * 512..6 * 512]
            .iter()
            .all(|byte| *byte == 0x33)
    );
    drop(wal);
    // Damage before the bridge is damage again, and is bridged again.
    let (image, wal, recovered) = harmed(&image, |image| image.damage(FIRST, 520, b"!!!!"));
    assert!(wal.damage().is_some() && recovered.synced.is_none());
    drop(wal);
    assert_eq!(start(&image).1, recovered);
}

#[test]
fn what_is_told_in_front_of_damage_is_durable() {
    for seed in 0..20 {
        let memory = Memory::new(seed);
        let disk = memory.boot().expect("nobody holds it");
        let (mut wal, _) = super::open(disk, true).expect("it opens");
        led(&mut wal);
        memory.fail_sync_after(0);
        let unsure = wal.write(&[append(3, &[entry(1, "unsure")])]);
        unsure.expect_err("its sync fails");
        drop(wal);
        memory.damage(FIRST, 4 * 512, b"!");
        let (wal, told) = start(&memory);
        assert!(wal.damage().is_some() && told.entries.len() == 3);
        drop(wal);
        memory.crash();
        assert!(start(&memory).1 == told, "seed {seed}: told and lost");
    }
}

#[test]
fn one_copy_of_the_promise_is_enough_and_the_other_is_mended() {
    let (memory, whole) = written();
    for (one, other) in [("promise-a", "promise-b"), ("promise-b", "promise-a")] {
        let (image, _, recovered) = harmed(&memory, |image| image.damage(one, 9, b"rot"));
        assert_eq!(recovered, whole);
        let (_, _, recovered) = harmed(&image, |image| image.lose(other));
        assert_eq!(recovered, whole);
    }
}

#[test]
fn without_a_promise_a_voter_is_refused() {
    let (memory, _) = written();
    let harms: [Harm; 3] = [
        &|memory| {
            ["promise-a", "promise-b"]
                .iter()
                .for_each(|name| memory.damage(name, 9, b"rot"))
        },
        &|memory| {
            ["promise-a", "promise-b"]
                .iter()
                .for_each(|name| memory.lose(name))
        },
        &|memory| memory.names().iter().for_each(|name| memory.lose(name)),
    ];
    for harm in harms {
        let image = memory.image();
        harm(&image);
        let refused = try_start(&image).err().expect("it must not vote");
        assert!(
            matches!(refused, Error::PromiseLost { .. })
                && refused.to_string().contains("new identity")
        );
    }
}

#[test]
fn a_promise_older_than_the_log_is_refused() {
    let (memory, _) = written();
    let old = memory.image();
    let (mut wal, _) = start(&memory);
    wal.write(&[
        promise(ballot(5, 1)),
        adopt(10, &[entry(5, "x")], ballot(5, 1)),
    ])
    .expect("a good disk");
    for place in ["promise-a", "promise-b"] {
        memory.damage(place, 0, &old.content(place).expect("it is there"));
    }
    drop(wal);
    assert!(matches!(
        try_start(&memory).err(),
        Some(Error::PromiseRolledBack)
    ));
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let memory = Memory::new(1);
    let disk = memory.boot().expect("nobody holds it");
    document::store(&disk, FIRST, 9, &[0; 492]).expect("a good disk");
    drop(disk);
    memory.kill();
    let refused = super::open(memory.boot().expect("killed"), true)
        .err()
        .expect("it is newer");
    assert!(refused.to_string().contains("format 9"), "{refused}");
}
