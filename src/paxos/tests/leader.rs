//! Phase 1 and 2 as transcripts of the one who leads.

use bytes::Bytes;

use super::transcript::{Voter, ballot, command, entries, held, summary};
use crate::paxos::*;

const NONE: [&str; 0] = [];
/// The ballot of [`Voter::leading`].
fn own() -> Ballot {
    ballot(1, 1)
}

fn accepted(ballot: Ballot, last: u64) -> Message {
    Message::Accepted {
        ballot,
        last: Slot(last),
    }
}

fn heard(round: u64, accepted: u64, received: u64) -> Message {
    let position = Position {
        accepted: Slot(accepted),
        received: Slot(received),
    };
    Message::Heard {
        ballot: own(),
        round: Round(round),
        position: Some(position),
    }
}

fn promise(of: Ballot, synced: Ballot, texts: &[&str]) -> Message {
    Message::Promise {
        ballot: of,
        synced,
        log: summary(5, texts),
    }
}

#[test]
fn a_candidate_asks_only_when_its_own_promise_is_durable() {
    let mut voter = Voter::of(3, held(ballot(4, 3), ballot(4, 3), 0, &["|@4.3"]));
    assert_eq!(
        voter.stands(),
        [
            "decided",
            "persist 1: promised 5.1",
            "to 2 after 1: prepare 5.1",
            "to 3 after 1: prepare 5.1",
            "Candidate, nobody leads"
        ][1..]
    );
    // Others' promises do not help before its own is durable.
    assert_eq!(
        voter.gets(2, promise(ballot(5, 1), ballot(4, 3), &["|@4.3"])),
        NONE
    );
    assert_eq!(
        voter.is_told(1),
        [
            "persist 2: adopt 5.1, 2: |@5.1",
            "to 2: sync 5.1 2..2, 2: |@5.1",
            "to 2: heartbeat 5.1 round 1, decided 0",
            "to 3: heartbeat 5.1 round 1, decided 0",
            "Leader, 1 leads"
        ]
    );
}

#[test]
fn a_single_voter_decides_only_what_is_durable() {
    let mut voter = Voter::of(1, Recovered::empty(ballot(0, 0)));
    assert_eq!(
        voter.does(Input::Tick),
        ["persist 1: promised 1.1", "Candidate, nobody leads"]
    );
    assert_eq!(
        voter.is_told(1),
        ["persist 2: adopt 1.1, 1: |@1.1", "Leader, 1 leads"]
    );
    assert_eq!(
        (voter.is_asked_for(1, "a"), voter.reads(1)),
        (vec![], vec![]),
        "they wait for the barrier"
    );
    assert_eq!(
        voter.is_told(2),
        [
            "decided 1: |@1.1",
            "persist 3: append 2: a@1.1 decided 1",
            "read 1 at 1"
        ]
    );
    assert_eq!(
        voter.is_told(3),
        ["decided 2: a@1.1", "persist 4: decided 2"]
    );
    assert_eq!(voter.reads(2), ["read 2 at 2"]);
}

#[test]
fn a_restarted_node_does_not_resume_the_ballot_it_led() {
    let mut voter = Voter::of(1, held(own(), own(), 1, &["|@1.1", "a@1.1"]));
    let outputs = voter.does(Input::Tick);
    assert_eq!(
        outputs,
        [
            "decided 1: |@1.1",
            "persist 1: promised 2.1",
            "Candidate, nobody leads"
        ]
    );
}

#[test]
fn phase_one_takes_the_best_log_whole() {
    // Its own log is longer, with a dead leader's tail; that of voter 2 is in sync with a later ballot.
    let mut voter = Voter::of(
        3,
        held(ballot(3, 3), ballot(3, 3), 1, &["|@3.3", "x@3.3", "y@3.3"]),
    );
    voter.stands();
    voter.is_told(1);
    let best = ["|@3.3", "|@3.4", "a@3.4"];
    let b = ballot(4, 1);
    assert_eq!(
        voter.gets(2, promise(b, ballot(3, 4), &best)),
        ["to 2: pull 4.1 from 2"]
    );
    let chunk = |first, texts: &[&str]| Message::Chunk {
        ballot: b,
        first: Slot(first),
        entries: entries(texts),
    };
    // Phase 1 asks no third, takes no other's word, and nothing out of order.
    assert_eq!(voter.gets(3, chunk(2, &["z@3.3"])), NONE);
    assert_eq!(voter.gets(2, chunk(3, &["a@3.4"])), NONE);
    assert_eq!(
        voter.gets(2, chunk(2, &["|@3.4"])),
        ["to 2: pull 4.1 from 3"]
    );
    assert_eq!(
        voter.gets(2, chunk(3, &["a@3.4"]))[..2],
        [
            "persist 2: adopt 4.1, 2: |@3.4 a@3.4 |@4.1",
            "to 2: sync 4.1 4..4, 4: |@4.1"
        ]
    );
}

#[test]
fn acks_of_another_ballot_are_never_counted() {
    let mut leader = Voter::leading();
    leader.is_asked_for(1, "a");
    leader.is_told(4);
    assert_eq!(leader.gets(2, accepted(ballot(0, 2), 2)), NONE);
    assert_eq!(leader.gets(2, accepted(ballot(2, 2), 2)), NONE);
    assert_eq!(
        leader.gets(
            2,
            Message::Heard {
                ballot: ballot(0, 2),
                round: Round(1),
                position: None
            }
        ),
        NONE
    );
    assert_eq!(leader.replica.decided(), Slot(1));
    assert_eq!(leader.gets(2, accepted(own(), 2))[0], "decided 2: a@1.1");
}

#[test]
fn accepts_wait_for_nothing_and_the_leaders_vote_for_its_disk() {
    let mut leader = Voter::leading();
    assert_eq!(
        leader.is_asked_for(1, "a"),
        [
            "persist 4: append 2: a@1.1",
            "to 2: accept 1.1, 2: a; decided 1"
        ]
    );
    assert_eq!(
        leader.gets(2, accepted(own(), 2)),
        NONE,
        "one vote of three"
    );
    assert_eq!(
        leader.is_told(4),
        [
            "decided 2: a@1.1",
            "to 2: accept 1.1, 3: ; decided 2",
            "persist 5: decided 2"
        ]
    );
}

#[test]
fn commands_wait_behind_the_barrier() {
    let mut voter = Voter::of(3, Recovered::empty(ballot(0, 0)));
    voter.stands();
    voter.is_told(1);
    voter.gets(2, promise(own(), ballot(0, 0), &[]));
    assert_eq!(voter.is_asked_for(1, "a"), NONE);
    voter.is_told(2);
    assert_eq!(
        voter.gets(2, accepted(own(), 1)),
        [
            "decided 1: |@1.1",
            "persist 3: append 2: a@1.1 decided 1",
            "to 2: accept 1.1, 2: a; decided 1"
        ]
    );
}

#[test]
fn proposals_fill_the_window_then_a_bounded_queue_then_are_refused() {
    let mut leader = Voter::leading();
    for id in 1..=3 {
        assert_eq!(leader.is_asked_for(id, "a").len(), 2, "proposed");
    }
    for id in 4..=6 {
        assert_eq!(leader.is_asked_for(id, "b"), NONE, "queued");
    }
    assert_eq!(leader.is_asked_for(7, "c"), ["refused 7: Busy"]);
    // Decided is not enough to go on, the own disk must keep up too.
    assert_eq!(leader.gets(2, accepted(own(), 2)), NONE);
    leader.gets(3, heard(1, 0, 1));
    assert_eq!(
        leader.gets(3, accepted(own(), 2))[0],
        "decided 2: a@1.1",
        "by two others, before the leader's own disk"
    );
    assert_eq!(leader.is_asked_for(8, "c"), ["refused 8: Busy"]);
    assert_eq!(leader.is_told(4)[0], "persist 7: append 5: b@1.1 decided 2");
}

#[test]
fn what_comes_together_is_proposed_together() {
    let mut leader = Voter::leading();
    let propose = |id, text: &'static str| Input::Propose {
        id: ProposalId(id),
        command: Bytes::from_static(text.as_bytes()),
    };
    let votes = |from, last| Input::Message {
        from: NodeId(from),
        message: accepted(own(), last),
    };
    assert_eq!(
        leader.does_all([propose(1, "a"), propose(2, "b")]),
        [
            "persist 4: append 2: a@1.1 b@1.1",
            "to 2: accept 1.1, 2: a b; decided 1"
        ]
    );
    // Votes are counted once, and before whatever is none.
    let read = Input::Read { id: ReadId(1) };
    assert_eq!(
        leader.does_all([
            votes(2, 2),
            votes(2, 3),
            Input::Persisted(PersistId(4)),
            read
        ]),
        [
            "decided 2: a@1.1 b@1.1",
            "to 2: accept 1.1, 4: ; decided 3",
            "persist 5: decided 3"
        ]
    );
}

#[test]
fn a_command_too_large_for_a_message_is_refused() {
    let mut leader = Voter::leading();
    let command = Bytes::from(vec![0; MAX_COMMAND_BYTES + 1]);
    let outputs = leader.does(Input::Propose {
        id: ProposalId(1),
        command,
    });
    assert_eq!(outputs, ["refused 1: TooLarge"]);
    let largest = "x".repeat(MAX_COMMAND_BYTES);
    assert_eq!(
        leader.is_asked_for(2, &largest)[0],
        "persist 4: append 2: (4194304 bytes)@1.1"
    );
}

#[test]
fn what_was_lost_is_sent_again_from_the_acknowledged_position() {
    let mut leader = Voter::leading();
    leader.is_asked_for(1, "a");
    leader.is_asked_for(2, "b");
    let beat = leader.wakes();
    assert_eq!(
        beat,
        [
            "to 2: heartbeat 1.1 round 2, decided 1",
            "to 3: heartbeat 1.1 round 2, decided 1"
        ]
    );
    // An answer to an earlier round tells nothing of what was sent since.
    assert_eq!(leader.gets(2, heard(1, 1, 1)), NONE);
    assert_eq!(
        leader.gets(2, heard(2, 1, 1)),
        ["to 2: accept 1.1, 2: a b; decided 1"]
    );
}

#[test]
fn a_voter_that_comes_late_is_synced_from_the_first_difference() {
    let mut leader = Voter::leading();
    let behind = Message::Behind {
        ballot: own(),
        log: summary(6, &["x@0.3", "y@0.3"]),
    };
    assert_eq!(
        leader.gets(3, behind.clone()),
        ["to 3: sync 1.1 1..1, 1: |@1.1"]
    );
    assert_eq!(leader.gets(3, behind), NONE, "it is on its way");
    leader.is_asked_for(1, "a");
    assert_eq!(
        leader.gets(3, accepted(own(), 1)),
        ["to 3: accept 1.1, 2: a; decided 1"]
    );
}

#[test]
fn a_voter_that_asks_again_is_synced_whatever_was_said_before() {
    let mut leader = Voter::leading();
    let behind = Message::Behind {
        ballot: own(),
        log: summary(6, &[]),
    };
    let sync = ["to 3: sync 1.1 1..1, 1: |@1.1"];
    assert_eq!(leader.gets(3, behind.clone()), sync);
    // Sent before it crashed and lost what it had received.
    leader.gets(3, heard(1, 0, 1));
    assert_eq!(leader.gets(3, behind), sync);
}

#[test]
fn a_large_log_is_synced_in_bounded_parts_and_adopted_at_once() {
    let text = format!("{}@1.3", "x".repeat(600 << 10));
    let texts: Vec<&str> = std::iter::repeat_n(text.as_str(), 3).collect();
    let mut voter = Voter::of(3, held(ballot(1, 3), ballot(1, 3), 0, &texts));
    voter.stands();
    voter.is_told(1);
    let b = ballot(2, 1);
    let part = |outputs: Vec<String>| outputs.into_iter().find(|line| line.contains("sync"));
    let large = "(614400 bytes)@1.3";
    assert_eq!(
        part(voter.gets(2, promise(b, ballot(0, 0), &[]))),
        Some(format!("to 2: sync 2.1 1..4, 1: {large}"))
    );
    let staged = |next| Message::Staged {
        ballot: b,
        sync: SyncId(5),
        next: Slot(next),
    };
    assert_eq!(
        part(voter.gets(2, staged(2))),
        Some(format!("to 2: sync 2.1 1..4, 2: {large}"))
    );
    assert_eq!(
        part(voter.gets(2, staged(3))),
        Some(format!("to 2: sync 2.1 1..4, 3: {large} |@2.1"))
    );
    // Lost on the way: after two more rounds it is sent again, not sooner.
    voter.wakes();
    assert_eq!(part(voter.gets(2, staged(3))), None);
    voter.wakes();
    assert_eq!(
        part(voter.gets(2, staged(3))),
        Some(format!("to 2: sync 2.1 1..4, 3: {large} |@2.1"))
    );
}

#[test]
fn a_read_waits_for_a_round_begun_after_it() {
    let mut leader = Voter::leading();
    // The round on its way began before the read: its answer proves nothing for it.
    assert_eq!(leader.reads(1), NONE);
    assert_eq!(
        leader.gets(2, heard(1, 1, 1)),
        [
            "to 2: heartbeat 1.1 round 2, decided 1",
            "to 3: heartbeat 1.1 round 2, decided 1"
        ]
    );
    assert_eq!(
        leader.gets(2, heard(1, 1, 1)),
        NONE,
        "the answer to an earlier round"
    );
    assert_eq!(leader.gets(2, heard(2, 1, 1)), ["read 1 at 1"]);
    // With none on its way one begins at once.
    assert_eq!(leader.reads(2).len(), 2);
    assert_eq!(leader.gets(2, heard(3, 1, 1)), ["read 2 at 1"]);
}

#[test]
fn a_voter_out_of_sync_confirms_no_read() {
    let mut leader = Voter::leading();
    leader.gets(2, heard(1, 1, 1));
    leader.reads(1);
    let out_of_sync = Message::Heard {
        ballot: own(),
        round: Round(2),
        position: None,
    };
    assert_eq!(leader.gets(3, out_of_sync), NONE);
}

#[test]
fn reads_and_waiting_proposals_are_refused_when_the_role_changes() {
    let mut leader = Voter::leading();
    for id in 1..=4 {
        leader.is_asked_for(id, "a");
    }
    leader.reads(1);
    assert_eq!(
        leader.gets(
            2,
            Message::Reject {
                ballot: own(),
                promised: ballot(7, 3)
            }
        ),
        [
            "refused 4: NotLeader { leader: None }",
            "read 1 refused, nobody leads",
            "Follower, nobody leads"
        ]
    );
    assert_eq!(leader.reads(2), ["read 2 refused, nobody leads"]);
    assert_eq!(
        leader.is_asked_for(5, "b"),
        ["refused 5: NotLeader { leader: None }"]
    );
    // It has promised nothing by that, and stands above it the next time.
    assert_eq!(leader.replica.ballot(), own());
    assert_eq!(leader.stands()[0], "persist 7: promised 8.1");
}

#[test]
fn a_higher_leader_is_followed_and_named() {
    let mut leader = Voter::leading();
    leader.reads(1);
    let heartbeat = Message::Heartbeat {
        ballot: ballot(2, 3),
        round: Round(1),
        decided: Slot(0),
    };
    assert_eq!(
        leader.gets(3, heartbeat),
        [
            "read 1 refused, 3 leads",
            "persist 4: promised 2.3",
            "to 3: heard 2.3 round 1",
            "to 3 after 4: behind 2.3, 1..1 1@1.1",
            "Follower, 3 leads"
        ]
    );
}

#[test]
fn a_late_promise_changes_nothing_but_the_sync_of_its_voter() {
    let mut leader = Voter::leading();
    let mut log = summary(9, &["x@0.3"]);
    log.decided = Slot(1);
    let late = Message::Promise {
        ballot: own(),
        synced: ballot(0, 0),
        log,
    };
    assert_eq!(leader.gets(3, late), ["to 3: sync 1.1 1..1, 1: |@1.1"]);
    assert_eq!(leader.replica.decided(), Slot(1));
}

/// The leadership with `a` in slot 2, accepted by nobody else, on its way to voter 2.
fn handing_over() -> Voter {
    let mut leader = Voter::leading();
    leader.gets(2, heard(1, 1, 1));
    leader.is_asked_for(1, "a");
    let to = Some(NodeId(2));
    assert_eq!(leader.does(Input::Transfer { to }), NONE, "2 lacks slot 2");
    leader
}

#[test]
fn the_target_of_a_transfer_is_told_to_stand_when_it_has_all() {
    let mut leader = handing_over();
    assert_eq!(leader.is_asked_for(2, "b"), NONE, "it waits");
    assert_eq!(leader.reads(1), NONE, "it waits too");
    assert_eq!(
        leader.gets(2, accepted(own(), 2)),
        ["to 2: stand 1.1"],
        "its own vote is not durable yet, and need not be"
    );
    // A word that was lost is said again.
    let again = |line: &String| line == "to 2: stand 1.1";
    assert_eq!(leader.wakes().iter().filter(|line| again(line)).count(), 1);
    let prepare = Message::Prepare {
        ballot: ballot(2, 2),
    };
    assert_eq!(
        leader.gets(2, prepare)[..2],
        [
            "refused 2: NotLeader { leader: Some(NodeId(2)) }",
            "read 1 refused, 2 leads"
        ]
    );
}

#[test]
fn a_leader_that_nobody_follows_in_time_goes_on() {
    let mut leader = handing_over();
    leader.is_asked_for(2, "b");
    leader.reads(1);
    leader.gets(2, accepted(own(), 2));
    let failed = "transfer failed: TimedOut";
    let (mut outputs, mut round) = (Vec::new(), 1);
    while !outputs.iter().any(|line| line == failed) {
        outputs = leader.wakes();
        round += 1;
        outputs.extend(leader.gets(2, heard(round, 2, 2)));
    }
    assert!(
        outputs.iter().any(|line| line.contains("accept 1.1, 3: b")),
        "what waited is proposed: {outputs:?}"
    );
    // The round that begins in that moment began after the read was taken.
    let outputs = leader.gets(2, heard(round + 1, 2, 2));
    assert!(outputs.contains(&"read 1 at 1".to_owned()), "{outputs:?}");
}

#[test]
fn a_transfer_to_nobody_is_refused_at_once() {
    let mut leader = Voter::leading();
    let to = Some(NodeId(9));
    assert_eq!(
        leader.does(Input::Transfer { to }),
        ["transfer failed: NoVoter"]
    );
    let mut alone = Voter::of(1, Recovered::empty(ballot(0, 0)));
    alone.does(Input::Tick);
    alone.is_told(1);
    alone.is_told(2);
    assert_eq!(
        alone.does(Input::Transfer { to: None }),
        ["transfer failed: Alone"]
    );
    let mut follower = Voter::of(3, Recovered::empty(ballot(0, 0)));
    assert_eq!(
        follower.does(Input::Transfer { to: None }),
        ["transfer failed: NotLeader { leader: None }"]
    );
}

#[test]
fn a_leader_that_ends_tells_the_most_advanced_to_stand() {
    let mut leader = Voter::leading();
    leader.gets(3, accepted(own(), 1));
    leader.is_asked_for(1, "a");
    leader.gets(3, accepted(own(), 2));
    assert_eq!(leader.does(Input::Abdicate), ["to 3: stand 1.1"]);
}

#[test]
fn an_idle_leader_sends_heartbeats_and_nothing_else() {
    let mut leader = Voter::leading();
    for round in 2..20 {
        let outputs = leader.wakes();
        assert_eq!(outputs.len(), 2, "{outputs:?}");
        assert!(
            outputs
                .iter()
                .all(|line| line.contains(&format!("heartbeat 1.1 round {round}")))
        );
        assert_eq!(leader.gets(2, heard(round, 1, 1)), NONE);
    }
}

#[test]
#[should_panic(expected = "which was not proposed")]
fn a_vote_for_what_was_never_proposed_ends_the_replica() {
    Voter::leading().gets(2, accepted(own(), 9));
}

#[test]
fn a_barrier_is_no_command() {
    assert_ne!(command("|"), command("x"));
    assert!(
        Payload::Barrier.weight() > 0,
        "an endless run of barriers would fit a message"
    );
}
