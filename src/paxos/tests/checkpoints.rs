//! Logs that begin behind a checkpoint: one voter, transcripts.

use bytes::Bytes;

use super::transcript::{Voter, ballot, entries, held, summary};
use crate::paxos::*;

const NONE: [&str; 0] = [];

fn base(slot: u64, ballot: Ballot) -> Base {
    let slot = Slot(slot);
    Base { slot, ballot }
}

fn fetched(base: Base) -> Input {
    let succession = None;
    Input::Fetched { base, succession }
}

/// In sync with 1.3, and promised to the leader of 2.2.
fn behind() -> Voter {
    let texts = ["|@1.3", "a@1.3", "b@1.3"];
    let mut voter = Voter::of(3, held(ballot(1, 3), ballot(1, 3), 2, &texts));
    let heartbeat = Message::Heartbeat {
        ballot: ballot(2, 2),
        round: Round(1),
        decided: Slot(9),
    };
    voter.gets(2, heartbeat);
    voter.is_told(1);
    voter
}

fn told_to_fetch(voter: &mut Voter) -> Vec<String> {
    let (ballot, start) = (ballot(2, 2), Slot(5));
    voter.gets(2, Message::Fetch { ballot, start })
}

#[test]
fn a_checkpoint_older_than_what_is_here_is_passed_over() {
    let mut voter = behind();
    assert_eq!(told_to_fetch(&mut voter), ["fetch from 2 for 5"]);
    let before = voter.replica.decided();
    for older in [1, 2, 3] {
        // Slot 3 is not decided here, but such a checkpoint does not reach.
        assert_eq!(voter.does(fetched(base(older, ballot(1, 3)))), NONE);
        assert_eq!(told_to_fetch(&mut voter), ["fetch from 2 for 5"]);
    }
    assert_eq!(
        (voter.replica.decided(), voter.replica.last()),
        (before, Slot(3))
    );
}

#[test]
fn a_checkpoint_counts_with_the_log_behind_it_and_takes_what_conflicts_with_it() {
    let mut voter = behind();
    told_to_fetch(&mut voter);
    assert_eq!(voter.does(fetched(base(4, ballot(1, 2)))), NONE);
    assert_eq!(
        told_to_fetch(&mut voter),
        ["to 2: behind 2.2, 5..4"],
        "the log as it will be"
    );
    let sync = |sync, texts| Message::Sync {
        ballot: ballot(2, 2),
        sync,
        from: Slot(5),
        through: Slot(6),
        first: Slot(5),
        entries: entries(texts),
    };
    // It joins the checkpoint, not the log as it is.
    let plain = voter.sync();
    let mut other = Voter {
        replica: voter.replica.clone(),
        ..behind()
    };
    assert_eq!(
        other.gets(2, sync(SyncId(plain.0 ^ 1), &["c@1.2", "|@2.2"])),
        NONE
    );
    assert_eq!(
        voter.gets(2, sync(plain, &["c@1.2", "|@2.2"])),
        [
            "persist 2: adopt 2.2 behind 4@1.2, 5: c@1.2 |@2.2 decided 4",
            "to 2 after 2: accepted 2.2 through 6",
            "install 4@1.2",
        ]
    );
    assert_eq!(
        (voter.replica.start(), voter.replica.last()),
        (Slot(5), Slot(6))
    );
}

#[test]
fn a_sync_may_begin_within_a_checkpoint() {
    let sync = |voter: &mut Voter, from, texts: &[&str]| {
        let entries = entries(texts);
        Message::Sync {
            ballot: ballot(2, 2),
            sync: voter.sync(),
            from: Slot(from),
            through: Slot(from).plus(entries.len()).previous(),
            first: Slot(from),
            entries,
        }
    };
    let heartbeat = Message::Heartbeat {
        ballot: ballot(2, 2),
        round: Round(1),
        decided: Slot(4),
    };
    // The last entry of its leader is the last that its checkpoint sums up.
    let recovered = Recovered {
        start: Slot(5),
        base: ballot(2, 2),
        applied: Slot(4),
        ..held(ballot(1, 3), ballot(1, 3), 4, &[])
    };
    let mut voter = Voter::of(3, recovered);
    voter.gets(2, heartbeat);
    voter.is_told(1);
    let last = sync(&mut voter, 4, &["|@2.2"]);
    assert_eq!(
        voter.gets(2, last),
        [
            "persist 2: adopt 2.2, 5: ",
            "to 2 after 2: accepted 2.2 through 4",
        ]
    );
    assert_eq!(voter.replica.last(), Slot(4));

    // It has taken a checkpoint since it asked.
    let mut voter = behind();
    let texts = ["a@1.3", "|@2.2"];
    let asked = sync(&mut voter, 2, &texts);
    voter.does(Input::Compact { through: Slot(2) });
    assert_eq!(voter.replica.start(), Slot(3));
    assert_eq!(
        voter.gets(2, asked),
        [
            "persist 2: adopt 2.2, 3: |@2.2",
            "to 2 after 2: accepted 2.2 through 3",
        ]
    );
}

#[test]
fn a_checkpoint_leads_into_a_later_epoch() {
    let mut voter = behind();
    let later = Ballot {
        epoch: Epoch(2),
        ..ballot(3, 4)
    };
    let seal = Seal {
        voters: [1, 4].map(NodeId).into(),
        details: Bytes::from_static(b"who they are"),
    };
    let succession = Succession {
        epoch: Epoch(2),
        seal,
    };
    let entering = Input::Fetched {
        base: base(7, later),
        succession: Some(succession),
    };
    // One write, and nothing is said before it is durable.
    assert_eq!(
        voter.does(entering),
        [
            "persist 2: adopt 0.0 behind 7@3.4, 8:  decided 7",
            "install 7@3.4",
            "Follower, nobody leads",
        ]
    );
    let prepare = Message::Prepare {
        ballot: Ballot { round: 9, ..later },
    };
    assert_eq!(voter.gets(4, prepare), NONE);
    assert_eq!(
        voter.is_told(2),
        ["entered epoch 2: {NodeId(1), NodeId(4)}"]
    );
    let initial = Ballot::initial(Epoch(2));
    assert_eq!(
        (voter.replica.ballot(), voter.replica.synced()),
        (initial, Some(initial))
    );
}

#[test]
fn who_lacks_the_way_into_the_next_epoch_is_told_to_fetch() {
    let mut voter = behind();
    let (epoch, start) = (Epoch(0), Slot(7));
    let compacted = Message::Compacted { epoch, start };
    assert_eq!(voter.gets(4, compacted.clone()), ["fetch from 4 for 7"]);
    voter.does(fetched(base(8, ballot(1, 2))));
    assert_eq!(voter.gets(4, compacted), NONE, "it has one");
}

#[test]
fn a_checkpoint_leads_past_the_end_of_a_longer_log_into_an_epoch() {
    // It led, and proposed what nobody else has; meanwhile the others changed who votes.
    let texts = ["|@1.1", "a@1.1", "b@1.1", "c@1.1", "d@1.1", "e@1.1"];
    let mut voter = Voter::of(3, held(ballot(1, 1), ballot(1, 1), 2, &texts));
    let (epoch, start) = (Epoch(0), Slot(4));
    let compacted = Message::Compacted { epoch, start };
    assert_eq!(voter.gets(2, compacted.clone()), ["fetch from 2 for 4"]);
    voter.does(fetched(base(4, ballot(2, 2))));
    assert_eq!(voter.gets(2, compacted), NONE, "it has one");

    let later = Message::Heartbeat {
        ballot: Ballot {
            epoch: Epoch(1),
            ..ballot(1, 2)
        },
        round: Round(1),
        decided: Slot(5),
    };
    let asked = voter.replica.handle(
        voter.now,
        Input::Message {
            from: NodeId(2),
            message: later,
        },
    );
    let Some(Output::Send {
        message: Message::Outdated { log, .. },
        ..
    }) = asked.first()
    else {
        panic!("it asks for the way: {asked:?}");
    };
    assert_eq!((log.start, log.last), (Slot(5), Slot(4)), "behind it");
    let seal = Payload::Seal(Seal {
        voters: [1, 2].map(NodeId).into(),
        details: Bytes::new(),
    });
    let sealed = Message::Sealed {
        epoch,
        sync: log.sync,
        from: Slot(5),
        through: Slot(5),
        first: Slot(5),
        entries: vec![Entry {
            ballot: ballot(2, 2),
            payload: seal,
        }],
    };
    let entering = voter.gets(2, sealed);
    assert_eq!(
        entering[0],
        "persist 1: adopt 0.0 behind 4@2.2, 5: #@2.2 decided 5"
    );
}

/// It led, and proposed to end the epoch; meanwhile the others went on with another leader.
fn deposed_with_a_seal() -> Voter {
    let mut recovered = held(ballot(2, 2), ballot(1, 1), 1, &["|@1.1", "a@1.1"]);
    let seal = Seal {
        voters: [1, 2].map(NodeId).into(),
        details: Bytes::new(),
    };
    recovered.entries.push(Entry {
        ballot: ballot(1, 1),
        payload: Payload::Seal(seal),
    });
    let mut voter = Voter::of(3, recovered);
    voter.stands();
    voter.is_told(1);
    voter
}

#[test]
fn a_seal_that_a_checkpoint_leaves_behind_ends_no_log() {
    let mut voter = deposed_with_a_seal();
    let log = Summary {
        start: Slot(5),
        last: Slot(6),
        decided: Slot(6),
        base: ballot(2, 2),
        runs: vec![Run {
            ballot: ballot(2, 2),
            first: Slot(5),
        }],
        ..summary(2, &[])
    };
    let promise = Message::Promise {
        ballot: ballot(3, 1),
        synced: ballot(2, 2),
        log,
    };
    assert_eq!(voter.gets(2, promise), ["fetch from 2 for 5"]);
    let leads = voter.does(fetched(base(6, ballot(2, 2))));
    assert_eq!(
        leads[0],
        "persist 2: adopt 3.1 behind 6@2.2, 7: |@3.1 decided 6"
    );
}

#[test]
fn a_seal_that_is_cut_off_ends_no_log() {
    let mut voter = deposed_with_a_seal();
    let promise = Message::Promise {
        ballot: ballot(3, 1),
        synced: ballot(2, 2),
        log: summary(2, &["|@1.1", "a@1.1"]),
    };
    let leads = voter.gets(2, promise);
    assert_eq!(leads[0], "persist 2: adopt 3.1, 3: |@3.1");
}

#[test]
fn a_log_is_forgotten_as_far_as_it_was_handed_on() {
    let mut leader = Voter::leading();
    for (id, text) in [(1, "a"), (2, "b")] {
        leader.is_asked_for(id, text);
    }
    leader.does(Input::Compact { through: Slot(1) });
    assert_eq!(
        (leader.replica.start(), leader.replica.last()),
        (Slot(2), Slot(3))
    );
    assert_eq!(leader.replica.decided_after(Slot(0)), None);
    // Voter 3 has never said anything: it needs what is gone.
    let lost = Message::Behind {
        ballot: ballot(1, 1),
        log: summary(3, &[]),
    };
    assert_eq!(leader.gets(3, lost), ["to 3: fetch 1.1 2"]);
    let there = Message::Behind {
        ballot: ballot(1, 1),
        log: Summary {
            start: Slot(2),
            last: Slot(1),
            decided: Slot(1),
            base: ballot(1, 1),
            ..summary(4, &[])
        },
    };
    assert_eq!(
        leader.gets(3, there),
        ["to 3: sync 1.1 2..3, 2: a@1.1 b@1.1"]
    );
}
