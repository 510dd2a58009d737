//! Who comes to lead when links fail: voters on the network, nothing lost but what is cut.

use std::time::Duration;

use super::network::{HEARTBEAT, Network, TIMEOUT};
use super::transcript::{Voter, ballot, held};
use crate::paxos::*;

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);

/// Voters with a leader, which is named first.
fn group(voters: u32) -> (Network, Vec<NodeId>) {
    let mut network = Network::new(voters, 1);
    network.start_all();
    network.run(TIMEOUT * 2);
    let leader = the_leader(&network);
    let mut ids = network.ids();
    ids.retain(|&id| id != leader);
    ids.insert(0, leader);
    (network, ids)
}

fn the_leader(network: &Network) -> NodeId {
    let leaders = network.leaders();
    assert_eq!(leaders.len(), 1, "one leads");
    leaders[0]
}

fn cut(network: &mut Network, a: NodeId, b: NodeId) {
    network.cut.extend([(a, b), (b, a)]);
}

/// The group commits, and those named learn of it.
fn commits(network: &mut Network, who: &[NodeId]) {
    let leader = *network.leaders().first().expect("somebody leads");
    network.propose(leader);
    network.run(HEARTBEAT * 3);
    for &id in who {
        assert_eq!(
            network.replica(id).decided(),
            network.replica(leader).last(),
            "{id} knows it decided"
        );
    }
}

#[test]
fn a_group_that_is_connected_elects_a_leader_within_half_a_timeout() {
    for seed in 0..50 {
        let mut network = Network::new(3, seed * 100);
        network.start_all();
        network.run(TIMEOUT / 2);
        the_leader(&network);
        commits(&mut network, &[N1, N2, N3]);
    }
}

#[test]
fn a_healthy_group_keeps_its_leader() {
    let (mut network, ids) = group(3);
    let ballot = network.replica(ids[0]).ballot();
    network.run(Duration::from_secs(60));
    assert!(ids.iter().all(|&id| network.replica(id).ballot() == ballot));
}

#[test]
fn a_closed_connection_to_the_leader_is_enough_to_stand() {
    let (mut network, ids) = group(3);
    network.crash(ids[0], 0);
    network.input(ids[1], Input::Disconnected(ids[0]));
    network.input(ids[2], Input::Disconnected(ids[0]));
    network.run(TIMEOUT / 2);
    assert_ne!(the_leader(&network), ids[0]);
    commits(&mut network, &ids[1..]);
}

#[test]
fn a_silent_leader_is_replaced_within_two_timeouts() {
    let (mut network, ids) = group(3);
    network.crash(ids[0], 0);
    network.run(TIMEOUT * 2);
    assert_ne!(the_leader(&network), ids[0]);
}

#[test]
fn a_leader_without_a_majority_steps_down_and_the_others_go_on() {
    let (mut network, ids) = group(3);
    cut(&mut network, ids[0], ids[1]);
    cut(&mut network, ids[0], ids[2]);
    network.run(TIMEOUT * 3);
    assert_eq!(network.replica(ids[0]).role(), Role::Follower);
    assert_ne!(the_leader(&network), ids[0]);
    commits(&mut network, &ids[1..]);
}

#[test]
fn a_voter_that_was_cut_off_does_not_depose_the_leader_on_its_return() {
    let (mut network, ids) = group(3);
    let ballot = network.replica(ids[0]).ballot();
    cut(&mut network, ids[2], ids[0]);
    cut(&mut network, ids[2], ids[1]);
    network.run(TIMEOUT * 20);
    network.cut.clear();
    commits(&mut network, &ids[1..2]);
    network.run(TIMEOUT);
    assert_eq!(
        (the_leader(&network), network.replica(ids[2]).ballot()),
        (ids[0], ballot)
    );
    commits(&mut network, &ids);
}

#[test]
fn chained_links_do_not_unseat_a_leader_with_a_majority() {
    let (mut network, ids) = group(3);
    let ballot = network.replica(ids[0]).ballot();
    cut(&mut network, ids[0], ids[2]);
    network.run(TIMEOUT * 20);
    assert_eq!(
        (the_leader(&network), network.replica(ids[0]).ballot()),
        (ids[0], ballot)
    );
    commits(&mut network, &ids[..2]);
}

#[test]
fn with_chained_links_the_one_in_the_middle_or_an_end_comes_to_lead_even_if_it_lags() {
    // The middle has missed what the ends agreed on; nobody but through it has a majority.
    let (mut network, ids) = group(3);
    let (end, other, middle) = (ids[0], ids[1], ids[2]);
    cut(&mut network, middle, end);
    cut(&mut network, middle, other);
    for _ in 0..5 {
        commits(&mut network, &[end, other]);
    }
    network.cut.clear();
    cut(&mut network, end, other);
    network.crash(end, 0);
    network.run(TIMEOUT * 4);
    let leader = the_leader(&network);
    assert_ne!(leader, end);
    network.start(end);
    network.run(TIMEOUT * 4);
    let leader = the_leader(&network);
    commits(&mut network, &[leader, middle]);
}

#[test]
fn a_leader_that_can_send_but_not_receive_is_replaced() {
    let (mut network, ids) = group(3);
    network.cut.extend([(ids[1], ids[0]), (ids[2], ids[0])]);
    network.run(TIMEOUT * 4);
    assert_ne!(the_leader(&network), ids[0]);
    commits(&mut network, &ids[1..]);
}

#[test]
fn a_leader_that_can_receive_but_not_send_is_replaced() {
    let (mut network, ids) = group(3);
    network.cut.extend([(ids[0], ids[1]), (ids[0], ids[2])]);
    network.run(TIMEOUT * 4);
    assert_ne!(the_leader(&network), ids[0]);
    commits(&mut network, &ids[1..]);
}

#[test]
fn every_single_one_way_cut_leaves_a_leader_that_commits() {
    for seed in 0..10 {
        for pair in [(N1, N2), (N2, N1), (N1, N3), (N3, N1), (N2, N3), (N3, N2)] {
            let mut network = Network::new(3, seed * 1000);
            network.start_all();
            network.run(TIMEOUT * 2);
            network.cut.insert(pair);
            network.run(TIMEOUT * 6);
            let leader = the_leader(&network);
            commits(&mut network, &[leader]);
        }
    }
}

#[test]
fn five_voters_of_which_only_one_reaches_a_majority_elect_it() {
    // Cloudflare's outage of 2020 in the large: a star, whose middle is not the leader.
    let (mut network, ids) = group(5);
    let middle = ids[4];
    for &a in &ids[..4] {
        for &b in &ids[..4] {
            if a < b {
                cut(&mut network, a, b);
            }
        }
    }
    network.run(TIMEOUT * 6);
    assert_eq!(the_leader(&network), middle);
    commits(&mut network, &ids);
}

#[test]
fn a_node_not_connected_to_a_majority_neither_asks_nor_wants_to_be_woken() {
    let mut voter = Voter::of(3, held(ballot(1, 2), ballot(1, 2), 0, &["|@1.2"]));
    voter.does(Input::Disconnected(N2));
    voter.does(Input::Disconnected(N3));
    let stale = voter.wakes();
    assert!(stale.is_empty() && voter.wake_at.is_none(), "{stale:?}");
    voter.does(Input::Connected(N3));
    let at = voter.wake_at.expect("asks soon");
    assert!(at.since(voter.now) < TIMEOUT / 4);
    assert_eq!(voter.wakes(), ["to 3: ask"]);
}

#[test]
fn who_hears_a_leader_supports_nobody_but_that_leader() {
    let mut voter = Voter::of(3, held(ballot(1, 2), ballot(1, 2), 0, &["|@1.2"]));
    let ask = Message::Ask {
        attempt: Attempt(4),
    };
    assert_eq!(
        voter.gets(3, ask.clone()),
        ["to 3: answer true, promised 1.2"]
    );
    voter.gets(
        2,
        Message::Heartbeat {
            ballot: ballot(1, 2),
            round: Round(1),
            decided: Slot(0),
        },
    );
    assert_eq!(
        voter.gets(3, ask.clone()),
        ["to 3: answer false, promised 1.2"]
    );
    // That it asks shows that it does not lead any more.
    assert_eq!(
        voter.gets(2, ask.clone()),
        ["to 2: answer true, promised 1.2"]
    );
    voter.now = voter.now + TIMEOUT;
    assert_eq!(voter.gets(3, ask), ["to 3: answer true, promised 1.2"]);
}

#[test]
fn support_for_an_earlier_question_counts_for_nothing() {
    let mut voter = Voter::of(3, held(ballot(1, 2), ballot(1, 2), 0, &["|@1.2"]));
    assert_eq!(voter.wakes().len(), 2, "asks both");
    let stale = Message::Answer {
        attempt: Attempt(0),
        support: true,
        promised: ballot(1, 2),
    };
    assert_eq!(voter.gets(2, stale), [""; 0]);
    assert_eq!(voter.replica.role(), Role::Follower);
}

#[test]
fn a_candidate_nobody_answers_gives_up_and_asks_again_within_a_quarter() {
    let mut voter = Voter::of(3, held(ballot(1, 2), ballot(1, 2), 0, &["|@1.2"]));
    voter.stands();
    voter.is_told(1);
    let started = voter.now;
    while voter.replica.role() == Role::Candidate {
        voter.wakes();
    }
    assert!(voter.now.since(started) <= TIMEOUT);
    assert!(voter.wake_at.expect("asks again").since(voter.now) < TIMEOUT / 4);
    assert_eq!(voter.wakes(), ["to 2: ask", "to 3: ask"]);
}

#[test]
fn a_voter_that_lost_everything_sent_to_it_catches_up() {
    let (mut network, ids) = group(3);
    network.cut.insert((ids[0], ids[2]));
    for _ in 0..3 {
        network.propose(ids[0]);
        network.settle();
    }
    network.cut.clear();
    network.run(HEARTBEAT * 3);
    assert_eq!(
        network.replica(ids[2]).decided(),
        network.replica(ids[0]).last()
    );
    assert_eq!(the_leader(&network), ids[0]);
}
