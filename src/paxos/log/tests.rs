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
    let log = Log::new(Slot(1), sizes.into_iter().map(large).collect());
    let lengths = [1, 2, 3].map(|first| log.chunk(Slot(first), Slot(5)).len());
    assert_eq!(lengths, [1, 1, 3]);
    assert_eq!(log.chunk(Slot(3), Slot(4)).len(), 2);
    assert!(log.chunk(Slot(6), Slot(9)).is_empty());
}
