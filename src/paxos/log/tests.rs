use super::*;
use crate::paxos::{Epoch, NodeId, SyncId};

fn ballot(round: u64) -> Ballot {
    Ballot {
        epoch: Epoch(0),
        round,
        node: Some(NodeId(1)),
    }
}

/// A log whose entries were first proposed in these rounds.
fn log(rounds: &[u64]) -> Log {
    Log::new(
        Slot(1),
        Ballot::initial(Epoch(0)),
        rounds
            .iter()
            .map(|&round| Entry {
                ballot: ballot(round),
                payload: Payload::Barrier,
            })
            .collect(),
    )
}

fn summary(log: &Log) -> Summary {
    Summary {
        sync: SyncId(1),
        start: log.start(),
        last: log.last(),
        decided: Slot::ZERO,
        base: log.base().ballot,
        runs: log.runs().to_vec(),
    }
}

#[test]
fn a_sync_starts_at_the_first_difference() {
    let table: [(&[u64], &[u64], u64); 8] = [
        (&[], &[], 1),
        (&[1, 1, 2], &[], 1),
        (&[], &[1, 1, 2], 1),
        (&[1, 1, 2], &[1, 1, 2], 4),
        (&[1, 1, 2], &[1, 1], 3),
        (&[1, 1, 3, 3], &[1, 1, 2, 2, 2], 3),
        (&[1, 1, 1, 3], &[1, 1, 2, 2, 2], 3),
        (&[2, 2], &[1, 1, 1], 1),
    ];
    for (mine, other, expected) in table {
        assert_eq!(
            log(mine).first_difference(&summary(&log(other))),
            Slot(expected),
            "{mine:?} and {other:?}"
        );
    }
}

#[test]
fn runs_that_are_not_listed_are_equal_only_before_an_entry_that_is() {
    let mine = log(&[1, 2, 3, 4, 5]);
    let mut other = summary(&log(&[1, 2, 3, 4, 4]));
    other.runs.drain(..2);
    assert_eq!(mine.first_difference(&other), Slot(5));
    let mut stranger = summary(&log(&[1, 2, 2, 6, 7]));
    stranger.runs.drain(..2);
    assert_eq!(mine.first_difference(&stranger), Slot(1));
}

/// The same log behind a checkpoint of these slots.
fn compacted(rounds: &[u64], through: u64) -> Log {
    let mut log = log(rounds);
    log.compact(Slot(through));
    log
}

#[test]
fn a_log_that_differs_below_the_others_start_needs_a_checkpoint() {
    let leader = compacted(&[1, 1, 2, 4], 2);
    let table: [(&[u64], u64, Option<u64>); 6] = [
        (&[1], 0, None),
        (&[1, 1], 0, Some(3)),
        (&[1, 1, 2, 3], 0, Some(4)),
        (&[1, 2, 2], 0, None),
        (&[1, 1], 2, Some(3)),
        (&[], 0, None),
    ];
    for (rounds, decided, expected) in table {
        let other = log(rounds);
        let theirs = Summary {
            decided: Slot(decided),
            ..summary(&other)
        };
        let expected = expected.map(Slot);
        assert_eq!(leader.meets(&theirs), expected, "{rounds:?}");
        let pulled = other.met_by(Slot(decided), &summary(&leader));
        assert_eq!(pulled, expected, "{rounds:?}, as a candidate");
    }
}

#[test]
fn a_checkpoint_is_adopted_only_with_a_log_that_holds_its_last_entry() {
    let deposed = log(&[1, 1, 1, 1]);
    let behind = |slot, round| Summary {
        start: Slot(slot).next(),
        last: Slot(slot),
        decided: Slot(slot),
        base: ballot(round),
        ..summary(&log(&[]))
    };
    assert_eq!(deposed.meets(&behind(3, 2)), None, "another chose that");
    assert_eq!(deposed.meets(&behind(3, 1)), Some(Slot(4)));
    assert_eq!(deposed.meets(&behind(5, 1)), None, "it does not reach");
    let base = |slot, round| Base {
        slot: Slot(slot),
        ballot: ballot(round),
    };
    for best in [log(&[1, 1, 2, 4]), compacted(&[1, 1, 2, 4], 2)] {
        let best = summary(&best);
        assert!(Log::holds(&best, base(3, 2)) && Log::holds(&best, base(4, 4)));
        assert!(!Log::holds(&best, base(3, 3)) && !Log::holds(&best, base(5, 4)));
    }
    assert!(Log::holds(&summary(&compacted(&[1, 1, 2], 2)), base(2, 1)));
}

#[test]
fn what_is_compacted_leaves_the_runs_behind_it() {
    for through in 0..=4 {
        let mut log = compacted(&[1, 1, 2, 4], through);
        let whole = [1, 1, 2, 4];
        assert_eq!((log.start(), log.last()), (Slot(through + 1), Slot(4)));
        for slot in through + 1..=4 {
            let ballot = ballot_at(&log.runs, log.last(), Slot(slot));
            assert_eq!(ballot.map(|it| it.round), Some(whole[slot as usize - 1]));
        }
        if through > 0 {
            assert_eq!(log.base().ballot.round, whole[through as usize - 1]);
        }
        log.append(Entry {
            ballot: ballot(5),
            payload: Payload::Barrier,
        });
        assert_eq!(log.runs().last().map(|run| run.first), Some(Slot(5)));
    }
}

#[test]
fn runs_follow_what_is_appended_and_cut() {
    let mut log = log(&[1, 1, 2, 4]);
    let heads = |log: &Log| {
        log.runs()
            .iter()
            .map(|run| (run.ballot.round, run.first.0))
            .collect::<Vec<_>>()
    };
    assert_eq!(heads(&log), [(1, 1), (2, 3), (4, 4)]);
    log.cut(Slot(3));
    assert_eq!((heads(&log), log.last()), (vec![(1, 1)], Slot(2)));
    log.append(Entry {
        ballot: ballot(5),
        payload: Payload::Barrier,
    });
    assert_eq!((heads(&log), log.last()), (vec![(1, 1), (5, 3)], Slot(3)));
}

#[test]
#[should_panic(expected = "behind one of")]
fn ballots_never_fall_along_a_log() {
    log(&[2, 1]);
}

#[test]
fn a_chunk_is_bounded_but_never_empty() {
    let large = |bytes: usize| Entry {
        ballot: ballot(1),
        payload: Payload::Command(vec![0; bytes].into()),
    };
    let sizes = [4 << 20, 600 << 10, 600 << 10, 10, 10];
    let log = Log::new(
        Slot(1),
        Ballot::initial(Epoch(0)),
        sizes.into_iter().map(large).collect(),
    );
    let lengths = [1, 2, 3].map(|first| log.chunk(Slot(first), Slot(5)).len());
    assert_eq!(lengths, [1, 1, 3]);
    assert_eq!(log.chunk(Slot(3), Slot(4)).len(), 2);
    assert!(log.chunk(Slot(6), Slot(9)).is_empty());
}
