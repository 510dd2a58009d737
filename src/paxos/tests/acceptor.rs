//! What a voter promises, accepts and adopts.

use super::transcript::{Voter, ballot, command, entries, held};
use crate::paxos::*;

const NONE: [&str; 0] = [];

/// The name by which the voter wants to be synced, from its answer to a heartbeat.
fn sync_of(voter: &mut Voter, from: u32, ballot: Ballot) -> SyncId {
    let heartbeat = Message::Heartbeat {
        ballot,
        round: Round(1),
        decided: Slot::ZERO,
    };
    let outputs = voter.replica.handle(
        voter.now,
        Input::Message {
            from: NodeId(from),
            message: heartbeat,
        },
    );
    let sync = outputs.into_iter().find_map(|output| match output {
        Output::Send {
            message: Message::Behind { log, .. },
            ..
        } => Some(log.sync),
        _ => None,
    });
    sync.expect("asks for a sync")
}

fn sync(
    ballot: Ballot,
    sync: SyncId,
    from: u64,
    through: u64,
    first: u64,
    texts: &[&str],
) -> Message {
    let entries = entries(texts);
    Message::Sync {
        ballot,
        sync,
        from: Slot(from),
        through: Slot(through),
        first: Slot(first),
        entries,
    }
}

fn accept(ballot: Ballot, first: u64, texts: &[&str], decided: u64) -> Message {
    let payloads = texts.iter().map(|text| command(text)).collect();
    Message::Accept {
        ballot,
        first: Slot(first),
        payloads,
        decided: Slot(decided),
    }
}

#[test]
fn promise_is_durable_before_reply() {
    let mut voter = Voter::of(3, held(ballot(1, 3), ballot(1, 3), 1, &["|@1.3", "a@1.3"]));
    assert_eq!(
        voter.gets(
            2,
            Message::Prepare {
                ballot: ballot(2, 2)
            }
        ),
        [
            "persist 1: promised 2.2",
            "to 2 after 1: promise 2.2, synced 1.3, 1..2 1@1.3"
        ]
    );
    // Asked again before that is durable: the answer waits just so. Afterwards it does not wait.
    let again = Message::Prepare {
        ballot: ballot(2, 2),
    };
    assert_eq!(
        voter.gets(2, again.clone()),
        ["to 2 after 1: promise 2.2, synced 1.3, 1..2 1@1.3"]
    );
    assert_eq!(voter.is_told(1), NONE);
    assert_eq!(
        voter.gets(2, again),
        ["to 2: promise 2.2, synced 1.3, 1..2 1@1.3"]
    );
}

#[test]
fn a_promise_never_falls() {
    let mut voter = Voter::of(3, held(ballot(5, 3), ballot(1, 3), 0, &["|@1.3"]));
    let lower = ballot(4, 2);
    let refusal = ["to 2: reject 4.2, promised 5.3"];
    assert_eq!(voter.gets(2, Message::Prepare { ballot: lower }), refusal);
    assert_eq!(
        voter.gets(
            2,
            Message::Pull {
                ballot: lower,
                first: Slot(1)
            }
        ),
        refusal
    );
    assert_eq!(voter.gets(2, accept(lower, 2, &["x"], 0)), refusal);
    assert_eq!(
        voter.gets(2, sync(lower, SyncId(1), 1, 1, 1, &["|@4.2"])),
        refusal
    );
    assert_eq!(
        voter.gets(
            2,
            Message::Heartbeat {
                ballot: lower,
                round: Round(1),
                decided: Slot(1)
            }
        ),
        refusal
    );
    assert_eq!(
        (voter.replica.ballot(), voter.replica.last()),
        (ballot(5, 3), Slot(1))
    );
}

#[test]
fn a_ballot_is_led_by_its_own_node_only() {
    let mut voter = Voter::of(3, held(ballot(1, 2), ballot(1, 2), 0, &["|@1.2"]));
    assert_eq!(voter.gets(3, accept(ballot(1, 2), 2, &["x"], 0)), NONE);
    assert_eq!(
        voter.gets(
            3,
            Message::Prepare {
                ballot: ballot(2, 2)
            }
        ),
        NONE
    );
    assert_eq!(
        voter.gets(
            9,
            Message::Prepare {
                ballot: ballot(2, 9)
            }
        ),
        NONE,
        "9 is no voter"
    );
}

#[test]
fn accepted_entries_are_durable_before_they_are_acknowledged() {
    let mut voter = Voter::of(3, held(ballot(1, 2), ballot(1, 2), 1, &["|@1.2"]));
    assert_eq!(
        voter.gets(2, accept(ballot(1, 2), 2, &["a", "b"], 2)),
        [
            "decided 1: |@1.2",
            "persist 1: append 2: a@1.2 b@1.2",
            "to 2 after 1: accepted 1.2 through 3",
            "decided 2: a@1.2",
            "Follower, 2 leads",
        ][1..]
    );
    // Heartbeats wait for nothing, and claim nothing that is not durable.
    let heartbeat = |round| Message::Heartbeat {
        ballot: ballot(1, 2),
        round: Round(round),
        decided: Slot(2),
    };
    assert_eq!(
        voter.gets(2, heartbeat(7)),
        ["to 2: heard 1.2 round 7, at 1 of 3"]
    );
    assert_eq!(voter.is_told(1), ["persist 2: decided 2"]);
    assert_eq!(
        voter.gets(2, heartbeat(8)),
        ["to 2: heard 1.2 round 8, at 3 of 3"]
    );
}

#[test]
fn what_is_decided_rides_on_the_next_batch() {
    let mut voter = Voter::of(3, held(ballot(1, 2), ballot(1, 2), 1, &["|@1.2"]));
    voter.gets(2, accept(ballot(1, 2), 2, &["a"], 1));
    assert_eq!(
        voter.gets(2, accept(ballot(1, 2), 3, &["b"], 2)),
        [
            "persist 2: append 3: b@1.2",
            "to 2 after 2: accepted 1.2 through 3",
            "decided 2: a@1.2"
        ]
    );
    assert_eq!(
        voter.gets(2, accept(ballot(1, 2), 4, &["c"], 3)),
        [
            "persist 3: append 4: c@1.2 decided 2",
            "to 2 after 3: accepted 1.2 through 4",
            "decided 3: b@1.2"
        ]
    );
}

#[test]
fn no_entry_is_accepted_behind_a_gap() {
    let mut voter = Voter::of(3, held(ballot(1, 2), ballot(1, 2), 0, &["|@1.2"]));
    assert_eq!(
        voter.gets(2, accept(ballot(1, 2), 3, &["b"], 3)),
        [
            "decided 1: |@1.2",
            "persist 1: decided 1",
            "Follower, 2 leads"
        ]
    );
    assert_eq!(voter.replica.last(), Slot(1));
}

#[test]
fn an_entry_sent_again_is_not_written_again() {
    let mut voter = Voter::of(3, held(ballot(1, 2), ballot(1, 2), 1, &["|@1.2", "a@1.2"]));
    assert_eq!(
        voter.gets(2, accept(ballot(1, 2), 2, &["a", "b"], 1))[..2],
        [
            "persist 1: append 3: b@1.2",
            "to 2 after 1: accepted 1.2 through 3"
        ]
    );
    assert_eq!(voter.gets(2, accept(ballot(1, 2), 2, &["a", "b"], 1)), NONE);
}

#[test]
#[should_panic(expected = "two values in slot 2")]
fn another_value_in_the_same_slot_and_ballot_ends_the_replica() {
    let mut voter = Voter::of(3, held(ballot(1, 2), ballot(1, 2), 1, &["|@1.2", "a@1.2"]));
    voter.gets(2, accept(ballot(1, 2), 2, &["b"], 1));
}

#[test]
fn nothing_is_accepted_before_the_sync() {
    let mut voter = Voter::of(3, held(ballot(1, 3), ballot(1, 3), 0, &["|@1.3", "a@1.3"]));
    let b = ballot(2, 2);
    assert_eq!(
        voter.gets(
            2,
            Message::Heartbeat {
                ballot: b,
                round: Round(1),
                decided: Slot(2)
            }
        ),
        [
            "persist 1: promised 2.2",
            "to 2: heard 2.2 round 1",
            "to 2 after 1: behind 2.2, 1..2 1@1.3",
            "Follower, 2 leads"
        ]
    );
    // Promised alone is not enough, for its own log may be another one up to there.
    assert_eq!(voter.gets(2, accept(b, 3, &["x"], 2)), NONE);
    assert_eq!(
        (voter.replica.last(), voter.replica.decided()),
        (Slot(2), Slot(0))
    );
}

#[test]
fn decided_counts_only_in_sync_with_its_leader() {
    let mut voter = Voter::of(3, held(ballot(1, 3), ballot(1, 3), 1, &["|@1.3", "a@1.3"]));
    let b = ballot(2, 2);
    let sync_id = sync_of(&mut voter, 2, b);
    assert_eq!(
        voter.gets(
            2,
            Message::Heartbeat {
                ballot: b,
                round: Round(2),
                decided: Slot(2)
            }
        ),
        [
            "to 2: heard 2.2 round 2",
            "to 2 after 1: behind 2.2, 1..2 1@1.3"
        ]
    );
    assert_eq!(voter.replica.decided(), Slot(1));
    voter.gets(2, sync(b, sync_id, 2, 2, 2, &["|@2.2"]));
    // In sync now; and what is decided beyond its log counts as far as the log goes.
    let heard = voter.gets(
        2,
        Message::Heartbeat {
            ballot: b,
            round: Round(3),
            decided: Slot(9),
        },
    );
    assert_eq!(
        heard,
        ["to 2: heard 2.2 round 3, at 0 of 2", "decided 2: |@2.2"]
    );
}

#[test]
fn a_sync_counts_whole_or_not_at_all() {
    let mut voter = Voter::of(
        3,
        held(ballot(1, 3), ballot(1, 3), 1, &["|@1.3", "a@1.3", "b@1.3"]),
    );
    let b = ballot(3, 2);
    let id = sync_of(&mut voter, 2, b);
    assert_eq!(
        voter.gets(2, sync(b, id, 2, 4, 2, &["|@2.2"])),
        ["to 2: staged 3.2, next 3"]
    );
    assert_eq!(
        voter.gets(2, sync(b, id, 2, 4, 2, &["|@2.2"])),
        NONE,
        "repeated"
    );
    assert_eq!(
        voter.gets(2, sync(b, id, 2, 4, 4, &["|@3.2"])),
        NONE,
        "out of order"
    );
    assert_eq!(
        (voter.replica.synced(), voter.replica.last()),
        (Some(ballot(1, 3)), Slot(3))
    );
    assert_eq!(
        voter.gets(
            2,
            Message::Heartbeat {
                ballot: b,
                round: Round(2),
                decided: Slot(1)
            }
        ),
        [
            "to 2: heard 3.2 round 2",
            "to 2 after 1: staged 3.2, next 3"
        ]
    );
    assert_eq!(
        voter.gets(2, sync(b, id, 2, 4, 3, &["x@2.2", "|@3.2"])),
        [
            "persist 2: adopt 3.2, 2: |@2.2 x@2.2 |@3.2",
            "to 2 after 2: accepted 3.2 through 4"
        ]
    );
}

#[test]
fn a_sync_of_the_same_ballot_never_truncates() {
    let mut voter = Voter::of(3, held(ballot(1, 3), ballot(1, 3), 0, &[]));
    let b = ballot(2, 2);
    let id = sync_of(&mut voter, 2, b);
    voter.gets(2, sync(b, id, 1, 1, 1, &["|@2.2"]));
    voter.gets(2, accept(b, 2, &["a"], 0));
    assert_eq!(voter.gets(2, sync(b, id, 1, 1, 1, &["|@2.2"])), NONE);
    assert_eq!(voter.replica.last(), Slot(2));
}

#[test]
#[should_panic(expected = "the decided slot 2 is lost or changed")]
fn an_adoption_that_loses_a_decided_entry_ends_the_replica() {
    let mut voter = Voter::of(3, held(ballot(1, 3), ballot(1, 3), 2, &["|@1.3", "a@1.3"]));
    let id = sync_of(&mut voter, 2, ballot(2, 2));
    voter.gets(2, sync(ballot(2, 2), id, 2, 2, 2, &["|@2.2"]));
}

fn damaged(texts: &[&str]) -> Recovered {
    Recovered {
        synced: None,
        ..held(ballot(2, 2), ballot(2, 2), 0, texts)
    }
}

#[test]
fn a_damaged_voter_promises_and_accepts_nothing() {
    let mut voter = Voter::of(3, damaged(&["|@2.2"]));
    assert_eq!(
        voter.gets(
            3,
            Message::Prepare {
                ballot: ballot(3, 3)
            }
        ),
        NONE
    );
    assert_eq!(
        voter.gets(
            3,
            Message::Ask {
                attempt: Attempt(1)
            }
        ),
        ["to 3: answer false, promised 2.2"]
    );
    assert_eq!(
        voter.gets(2, accept(ballot(2, 2), 2, &["a"], 1)),
        ["Follower, 2 leads"]
    );
    assert_eq!(
        voter.gets(
            2,
            Message::Pull {
                ballot: ballot(2, 2),
                first: Slot(1)
            }
        ),
        NONE
    );
    assert_eq!(
        (voter.replica.last(), voter.replica.decided()),
        (Slot(1), Slot(0))
    );
    assert_eq!(voter.wake_at, None, "it never stands");
}

#[test]
fn a_damaged_voter_is_whole_when_its_leader_has_synced_it() {
    let mut voter = Voter::of(3, damaged(&["|@2.2"]));
    let id = sync_of(&mut voter, 2, ballot(2, 2));
    assert_eq!(
        voter.gets(2, sync(ballot(2, 2), id, 2, 3, 2, &["a@2.2", "b@2.2"])),
        [
            "persist 1: adopt 2.2, 2: a@2.2 b@2.2",
            "to 2 after 1: accepted 2.2 through 3"
        ]
    );
    assert_eq!(voter.replica.synced(), Some(ballot(2, 2)));
}

#[test]
fn a_damaged_voter_is_not_made_whole_by_an_old_sync() {
    // It was synced through slot 1, acknowledged slot 2, and lost it; then the sync of then arrives once more.
    let mut voter = Voter::of(3, damaged(&[]));
    let id = sync_of(&mut voter, 2, ballot(2, 2));
    let stale = SyncId(id.0 ^ 1);
    assert_eq!(
        voter.gets(2, sync(ballot(2, 2), stale, 1, 1, 1, &["|@2.2"])),
        NONE
    );
    assert_eq!(voter.replica.synced(), None);
}

#[test]
fn a_log_is_handed_over_only_to_the_candidate_promised() {
    let mut voter = Voter::of(3, held(ballot(1, 3), ballot(1, 3), 0, &["|@1.3", "a@1.3"]));
    voter.gets(
        2,
        Message::Prepare {
            ballot: ballot(2, 2),
        },
    );
    let pull = Message::Pull {
        ballot: ballot(2, 2),
        first: Slot(2),
    };
    assert_eq!(voter.gets(2, pull.clone()), ["to 2: chunk 2.2, 2: a@1.3"]);
    voter.gets(
        3,
        Message::Prepare {
            ballot: ballot(3, 3),
        },
    );
    assert_eq!(voter.gets(2, pull), ["to 2: reject 2.2, promised 3.3"]);
}

#[test]
fn what_was_decided_before_the_start_is_handed_on_first() {
    let mut replica = Replica::new(
        Time::default(),
        options(),
        held(ballot(1, 2), ballot(1, 2), 2, &["|@1.2", "a@1.2"]),
    );
    let outputs = replica.handle(Time::default(), Input::Tick);
    assert_eq!(
        outputs[0],
        Output::Decided {
            first: Slot(1),
            entries: entries(&["|@1.2", "a@1.2"])
        }
    );
}

fn options() -> Options {
    Options {
        id: NodeId(1),
        membership: Membership {
            epoch: Epoch(0),
            voters: [1, 2, 3].map(NodeId).into(),
        },
        heartbeat: super::network::HEARTBEAT,
        election_timeout: super::network::TIMEOUT,
        window_entries: 3,
        window_bytes: 1 << 20,
        seed: 7,
    }
}
