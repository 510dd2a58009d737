//! From one membership to the next: one voter, transcripts.

use bytes::Bytes;

use super::transcript::{Voter, ballot, command, entries, summary};
use crate::paxos::*;

const NONE: [&str; 0] = [];

fn seal(voters: &[u32]) -> Seal {
    Seal {
        voters: voters.iter().copied().map(NodeId).collect(),
        details: Bytes::from_static(b"who they are"),
    }
}

/// The entry of a Seal, first proposed in this ballot.
fn sealing(voters: &[u32], ballot: Ballot) -> Entry {
    Entry {
        ballot,
        payload: Payload::Seal(seal(voters)),
    }
}

fn next(round: u64, node: u32) -> Ballot {
    Ballot {
        epoch: Epoch(1),
        ..ballot(round, node)
    }
}

fn accepted(last: u64) -> Message {
    Message::Accepted {
        ballot: ballot(1, 1),
        last: Slot(last),
    }
}

/// A leader whose Seal for these voters is in slot 2, durable here and accepted by nobody else.
fn sealed(voters: &[u32]) -> Voter {
    let mut leader = Voter::leading();
    let heard = Message::Heard {
        ballot: ballot(1, 1),
        round: Round(1),
        position: Some(Position {
            accepted: Slot(1),
            received: Slot(1),
        }),
    };
    leader.gets(2, heard);
    let (epoch, seal) = (Epoch(0), seal(voters));
    let outputs = leader.does(Input::Seal { epoch, seal });
    assert_eq!(
        outputs,
        [
            "persist 4: append 2: #@1.1",
            "to 2: accept 1.1, 2: #; decided 1"
        ]
    );
    assert_eq!(leader.is_told(4), NONE, "it takes no effect on append");
    leader
}

#[test]
fn nothing_is_proposed_above_a_seal_and_no_read_is_taken() {
    let mut leader = sealed(&[1, 2, 4]);
    assert_eq!(leader.is_asked_for(7, "a"), NONE);
    assert_eq!(leader.reads(7), NONE);
    let (epoch, again) = (Epoch(0), seal(&[1, 2]));
    assert_eq!(
        leader.does(Input::Seal { epoch, seal: again }),
        ["seal refused: Busy"],
        "one change an epoch"
    );
}

#[test]
fn a_voter_enters_an_epoch_in_one_write_and_says_nothing_before_it_is_durable() {
    let mut leader = sealed(&[1, 2, 4]);
    leader.is_asked_for(7, "a");
    assert_eq!(
        leader.gets(2, accepted(2)),
        [
            "decided 2: #@1.1",
            "to 2: accept 1.1, 3: ; decided 2",
            "refused 7: NotLeader { leader: None }",
            "persist 5: adopt 0.0, 3:  decided 2",
            "Follower, nobody leads"
        ]
    );
    let heartbeat = Message::Heartbeat {
        ballot: next(1, 4),
        round: Round(1),
        decided: Slot(2),
    };
    assert_eq!(leader.gets(4, heartbeat), NONE, "it is between the epochs");
    // Then it stands at once: nobody else knows yet.
    assert_eq!(
        leader.is_told(5),
        [
            "entered epoch 1: {NodeId(1), NodeId(2), NodeId(4)}",
            "persist 6: promised 1.1",
            "to 2 after 6: prepare 1.1",
            "to 4 after 6: prepare 1.1",
            "Candidate, nobody leads"
        ]
    );
    assert_eq!(leader.replica.ballot(), next(1, 1));
}

#[test]
fn a_leader_that_leaves_by_its_own_seal_only_hands_over_what_it_knows() {
    let mut leader = sealed(&[2, 3]);
    leader.gets(2, accepted(2));
    assert_eq!(
        leader.is_told(5),
        ["entered epoch 1: {NodeId(2), NodeId(3)}"]
    );
    let prepare = Message::Prepare { ballot: next(1, 2) };
    assert_eq!(leader.gets(2, prepare), NONE, "it has no vote");
    let ask = Message::Ask {
        attempt: Attempt(7),
    };
    assert_eq!(leader.gets(3, ask), ["to 3: answer false, promised 0.0"]);
    let outdated = Message::Outdated {
        epoch: Epoch(0),
        log: summary(9, &["|@1.1"]),
        next: None,
    };
    assert_eq!(
        leader.gets(3, outdated.clone()),
        ["to 3: sealed 0 2..2, 2: #@1.1"]
    );
    leader.does(Input::Compact { through: Slot(2) });
    assert_eq!(leader.gets(3, outdated), ["to 3: compacted 0 3"]);
}

#[test]
fn a_log_that_ends_with_a_seal_gets_no_barrier() {
    let mut log = entries(&["|@1.2"]);
    log.push(sealing(&[1, 2], ballot(1, 2)));
    let mut voter = Voter::of(
        3,
        Recovered {
            synced: Some(ballot(1, 2)),
            promised: ballot(1, 2),
            entries: log,
            ..Recovered::empty(ballot(0, 0))
        },
    );
    voter.stands();
    voter.is_told(1);
    let promise = Message::Promise {
        ballot: ballot(2, 1),
        synced: ballot(0, 0),
        log: summary(9, &[]),
    };
    let outputs = voter.gets(2, promise);
    assert_eq!(outputs[0], "persist 2: adopt 2.1, 3: ");
    assert!(!voter.replica.ready());
    assert_eq!(
        voter.reads(1),
        NONE,
        "no read below a Seal that may be decided"
    );
    voter.is_told(2);
    let accepted = Message::Accepted {
        ballot: ballot(2, 1),
        last: Slot(2),
    };
    // Decided again, in this ballot: now it takes effect.
    assert!(
        voter
            .gets(2, accepted)
            .iter()
            .any(|line| line.starts_with("persist 3: adopt 0.0, 3:"))
    );
}

#[test]
fn a_voter_enters_an_epoch_with_the_decided_log_alone() {
    let mut voter = Voter::of(
        3,
        Recovered {
            entries: entries(&["a@0.3", "b@0.3"]),
            ..Recovered::empty(ballot(0, 0))
        },
    );
    let heartbeat = Message::Heartbeat {
        ballot: next(1, 4),
        round: Round(1),
        decided: Slot(3),
    };
    assert_eq!(
        voter.gets(4, heartbeat),
        ["to 4: outdated in 0, 1..2 1@0.3"]
    );
    let outdated = voter.replica.clone();
    let mut decided = entries(&["c@1.2"]);
    decided.push(sealing(&[1, 4], ballot(1, 2)));
    let part = |sync| Message::Sealed {
        epoch: Epoch(0),
        sync,
        from: Slot(1),
        through: Slot(2),
        first: Slot(1),
        entries: decided.clone(),
    };
    assert_eq!(
        voter.gets(4, part(SyncId(0))),
        NONE,
        "no answer to what this voter asked"
    );
    assert_eq!(voter.replica, outdated);
    let sync = voter.sync();
    assert_eq!(
        voter.gets(4, part(sync)),
        [
            "persist 1: adopt 0.0, 1: c@1.2 #@1.2 decided 2",
            "decided 1: c@1.2 #@1.2"
        ]
    );
    assert_eq!(
        voter.is_told(1),
        ["entered epoch 1: {NodeId(1), NodeId(4)}"]
    );
    assert_eq!(
        (voter.replica.last(), voter.replica.synced()),
        (Slot(2), Some(next(0, 0)))
    );
}

#[test]
fn a_start_finds_the_epoch_that_was_entered() {
    let mut log = entries(&["|@1.2"]);
    log.push(sealing(&[1, 2], ballot(1, 2)));
    let recovered = Recovered {
        promised: next(3, 2),
        synced: Some(next(0, 0)),
        decided: Slot(2),
        entries: log,
        ..Recovered::empty(ballot(0, 0))
    };
    let began = |epoch| {
        let seal = seal(&[1, 2]);
        Some(Succession { epoch, seal })
    };
    let epoch = next(0, 0).epoch;
    assert_eq!(recovered.entered_by(), began(epoch));
    let unknown = Recovered {
        decided: Slot(1),
        ..recovered.clone()
    };
    assert_eq!(unknown.entered_by(), None, "only what is decided counts");
    let mut further = recovered.clone();
    further.go_on_from(Slot(1));
    assert_eq!(further.succession, None, "the Seal is behind it");
    further.go_on_from(Slot(2));
    assert_eq!(
        (further.succession, further.applied),
        (began(epoch), Slot(2))
    );
    for epoch in [epoch, epoch.next()] {
        let compacted = Recovered {
            succession: began(epoch),
            entries: Vec::new(),
            ..unknown.clone()
        };
        assert_eq!(compacted.entered_by(), began(epoch));
    }
    assert_ne!(command("x"), Payload::Seal(seal(&[1])));
}

/// Of voters 1, 2 and 4, in the epoch that its own Seal began, behind one that led it; nobody leads any more.
fn succeeding() -> Voter {
    let mut voter = sealed(&[1, 2, 4]);
    voter.gets(2, accepted(2));
    voter.is_told(5);
    voter.is_told(6);
    let higher = Message::Prepare { ballot: next(2, 4) };
    voter.gets(4, higher);
    voter.is_told(7);
    voter
}

#[test]
fn who_answers_from_an_earlier_epoch_is_told_of_this_one() {
    let mut voter = succeeding();
    let old = Message::Answer {
        attempt: Attempt(3),
        support: false,
        promised: ballot(1, 1),
    };
    assert_eq!(voter.gets(2, old), ["to 2: answer false, promised 2.4"]);
    let same = Message::Answer {
        attempt: Attempt(3),
        support: false,
        promised: next(1, 1),
    };
    assert_eq!(voter.gets(2, same), NONE);
}

#[test]
fn who_reaches_no_majority_says_in_which_epoch_it_is() {
    // Of these only 2 has a vote in it.
    let mut voter = succeeding();
    voter.does(Input::Disconnected(NodeId(2)));
    voter.does(Input::Disconnected(NodeId(4)));
    assert_eq!(voter.wakes(), NONE, "it had wanted that as a candidate");
    assert_eq!(voter.wakes(), ["to 3: answer false, promised 2.4"]);
    assert_eq!(
        voter.wakes(),
        ["to 3: answer false, promised 2.4"],
        "again and again"
    );
}

/// The decided log through the Seal of `epoch`, for a voter that has nothing and asks by this name.
fn way(epoch: Epoch, sync: SyncId, entries: &[Entry]) -> Message {
    Message::Sealed {
        epoch,
        sync,
        from: Slot(1),
        through: Slot(entries.len() as u64),
        first: Slot(1),
        entries: entries.to_vec(),
    }
}

#[test]
fn a_voter_that_lost_its_way_into_an_epoch_is_brought_there_again() {
    let initial = |epoch| Ballot::initial(Epoch(epoch));
    // Its log was damaged, and holds nothing any more; it had entered the second epoch, or the third by a checkpoint.
    let lost = |promised| Recovered {
        promised,
        synced: None,
        ..Recovered::empty(initial(0))
    };
    let first = [sealing(&[1, 4], ballot(1, 2))];
    let second = [first[0].clone(), sealing(&[1, 5], next(1, 4))];
    let prepare = |ballot| Message::Prepare { ballot };

    let mut voter = Voter::of(3, lost(initial(1)));
    assert_eq!(voter.wake_at, None, "it asks for no votes");
    assert_eq!(
        voter.gets(2, prepare(ballot(9, 2))),
        ["to 2: reject 9.2, promised 0.0"]
    );
    let sync = voter.sync();
    assert_eq!(
        voter.gets(4, way(Epoch(0), sync, &first)),
        [
            "persist 1: adopt 0.0, 1: #@1.2 decided 1",
            "decided 1: #@1.2"
        ]
    );
    assert_eq!(
        voter.is_told(1),
        ["entered epoch 1: {NodeId(1), NodeId(4)}"]
    );
    assert_eq!(voter.replica.synced(), Some(initial(1)));

    let mut voter = Voter::of(3, lost(initial(2)));
    let sync = voter.sync();
    voter.gets(4, way(Epoch(0), sync, &first));
    voter.is_told(1);
    voter.does(Input::Connected(NodeId(4)));
    assert_eq!(voter.replica.membership().epoch, Epoch(1));
    assert_eq!(voter.wake_at, None, "nor there");
    let ask = Message::Ask {
        attempt: Attempt(7),
    };
    assert_eq!(voter.gets(4, ask), ["to 4: answer false, promised 0.0"]);
    assert_eq!(
        voter.gets(4, prepare(next(9, 4))),
        ["to 4: reject 9.4, promised 0.0"]
    );
    let sync = voter.sync();
    voter.gets(4, way(Epoch(1), sync, &second));
    assert_eq!(
        voter.is_told(2),
        ["entered epoch 2: {NodeId(1), NodeId(5)}"]
    );
    assert_eq!(voter.replica.synced(), Some(initial(2)));
}

#[test]
fn a_checkpoint_that_comes_between_epochs_counts() {
    let mut voter = sealed(&[1, 2, 4]);
    voter.gets(2, accepted(2));
    let base = Base {
        slot: Slot(9),
        ballot: next(1, 4),
    };
    let succession = Some(Succession {
        epoch: Epoch(1),
        seal: seal(&[1, 2, 4]),
    });
    assert_eq!(voter.does(Input::Fetched { base, succession }), NONE);
    voter.is_told(5);
    let heartbeat = Message::Heartbeat {
        ballot: next(2, 4),
        round: Round(1),
        decided: Slot(9),
    };
    voter.gets(4, heartbeat);
    voter.is_told(7);
    let fetch = Message::Fetch {
        ballot: next(2, 4),
        start: Slot(5),
    };
    assert_eq!(
        voter.gets(4, fetch),
        ["to 4: behind 2.4, 10..9"],
        "it is at hand"
    );
}
