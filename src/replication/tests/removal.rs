//! A voter that is removed follows from then on, without a start in between.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::harness::{
    LONG, Nodes, newer, not_proposed, pools, put, put_pool, until, until_upgrade,
};
use crate::replication::following::Following;
use crate::replication::founding::Founding;
use crate::replication::membership::Newcomer;
use crate::replication::shared::Event;
use crate::replication::storage::Memory;
use crate::replication::{Handle, State};
use crate::state::LEVEL;

/// Whether it has no vote and a voter feeds it.
fn follows(handle: &Handle) -> bool {
    let status = handle.status();
    let fed = status.following.is_some_and(|it| it.voter.is_some());
    fed && status.state == State::Running
}

/// Whether it still has the number it had as a voter, and has been told that others vote in its place.
fn hands_over(handle: &Handle) -> bool {
    let group = handle.0.group();
    group.me > 0 && group.follower.is_some()
}

/// Has the leader end the epoch, whoever of the next voters is away.
async fn seal(leader: &Handle, add: &[Newcomer], remove: &str) {
    let (shared, remove) = (&leader.0, [remove.to_owned()]);
    let details = shared.group().change(add, &remove);
    let (reply, done) = oneshot::channel();
    let event = Event::Seal {
        epoch: shared.standing.borrow().ballot.epoch,
        seal: details.expect("it makes sense").seal(),
        reply,
    };
    assert!(shared.offer(event).is_ok(), "its replica runs");
    assert_eq!(done.await, Ok(Ok(())));
}

/// Whether `asked` shows `handle` that those who vote in its place have a leader.
async fn is_succeeded(handle: &Handle, asked: std::net::SocketAddr) -> bool {
    let disk = Memory::new(1).boot().expect("a disk");
    let following = Following {
        founding: Arc::new(Founding::new(disk, handle.0.clone())),
        shared: handle.0.clone(),
        join: Vec::new(),
        peer: None,
        stop: CancellationToken::new(),
    };
    let asked = following.has_successors(&asked.to_string()).await;
    asked.unwrap_or_else(|_| panic!("it is not answered"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_voter_follows_at_once_and_may_vote_again() {
    let nodes = Nodes::started(&["a", "b", "c"]).await;
    let names = ["a", "b", "c"];
    put(&nodes.handle("a"), "first").await;
    for turn in 0..4 {
        // The leader, and whoever has the lowest and the highest number.
        let leaves = match turn {
            0 => nodes.leader().await,
            turn => names[turn - 1].to_owned(),
        };
        let left = nodes.handle(&leaves);
        let stays = names.iter().find(|name| **name != leaves).expect("one");
        let stays = nodes.handle(stays);
        let removed = stays.change_members(Vec::new(), vec![leaves.clone()], LONG);
        removed.await.expect("two are left");
        let pool = format!("without-{turn}");
        put(&stays, &pool).await;
        until("the removed one to follow", || {
            follows(&left) && pools(&left).contains(&pool)
        })
        .await;
        // What is asked of it is asked of the voters.
        put(&left, &format!("asked-{turn}")).await;

        let added = stays.change_members(vec![leaves.clone()], Vec::new(), LONG);
        added.await.expect("it follows, and can be called");
        until("it to vote", || left.status().following.is_none()).await;
        put(&left, &format!("with-{turn}")).await;
    }
    until("all to agree", || {
        let all = nodes.handles();
        all.iter().all(|one| pools(one) == pools(&all[0]))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_away_when_it_was_removed_follows_when_it_is_back() {
    for away in ["a", "c"] {
        let mut nodes = Nodes::started(&["a", "b", "c"]).await;
        let b = nodes.handle("b");
        put(&b, "first").await;
        nodes.drop(away).await;
        // There is a leader again, if it was that one.
        put(&b, "second").await;
        let removed = b.change_members(Vec::new(), vec![away.to_owned()], LONG);
        removed.await.expect("two are left");
        put(&b, "without").await;
        nodes.start(away).await.expect("it has its directory");
        let back = nodes.handle(away);
        until("it to follow", || {
            follows(&back) && pools(&back).contains(&"without".to_owned())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_voter_is_replaced_and_says_so_itself() {
    let mut nodes = Nodes::started(&["a"]).await;
    let a = nodes.handle("a");
    put(&a, "first").await;
    let anywhere = ([127, 0, 0, 1], 0).into();
    nodes.join("d", "a", anywhere).await.expect("it starts");
    let replaced = a.change_members(vec!["d".to_owned()], vec!["a".to_owned()], LONG);
    assert_eq!(replaced.await.as_deref(), Ok("2"));
    until("it to follow", || follows(&a)).await;
    put(&a, "second").await;
    assert_eq!(pools(&nodes.handle("d")), ["first", "second"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_lost_its_vote_has_none_after_its_next_start() {
    let mut nodes = Nodes::started(&["a", "b", "c"]).await;
    let a = nodes.handle("a");
    let anywhere = ([127, 0, 0, 1], 0).into();
    nodes.join("d", "a", anywhere).await.expect("it starts");
    // A Seal that names it, by which it votes in the second epoch.
    let added = a.change_members(vec!["d".to_owned()], Vec::new(), LONG);
    added.await.expect("it follows");
    put(&nodes.handle("c"), "with-four").await;
    nodes.drop("c").await;
    put(&a, "without").await;
    let removed = a.change_members(Vec::new(), vec!["c".to_owned()], LONG);
    removed.await.expect("three are left");
    for start in ["first", "second", "third"] {
        put(&a, start).await;
        nodes.start("c").await.expect("it has its directory");
        let c = nodes.handle("c");
        if start != "first" {
            assert!(c.status().following.is_some(), "the {start} start");
        }
        until("it to follow", || {
            follows(&c) && pools(&c).contains(&start.to_owned())
        })
        .await;
        nodes.drop("c").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_told_that_it_was_removed_keeps_its_vote_until_its_successors_have_a_leader() {
    let mut nodes = Nodes::started(&["a", "b", "c"]).await;
    let a = nodes.handle("a");
    put(&a, "first").await;
    nodes.drop("c").await;
    put(&a, "second").await;
    let removed = a.change_members(Vec::new(), vec!["c".to_owned()], LONG);
    removed.await.expect("two are left");
    nodes.drop("b").await;
    until("nobody to lead", || a.status().leader.is_none()).await;

    nodes.start("c").await.expect("it has its directory");
    let c = nodes.handle("c");
    until("it to be told", || c.0.group().follower.is_some()).await;
    assert!(hands_over(&c), "it may alone hold the end of the epoch");
    assert_eq!(c.status().state, State::Removed);
    assert!(!is_succeeded(&c, nodes.address("a")).await);
    assert!(hands_over(&c));
    nodes.start("b").await.expect("it has its directory");
    until("it to follow", || follows(&c)).await;
    until("it to have all", || pools(&c) == ["first", "second"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_waits_for_an_upgrade_hands_over_as_all_do() {
    let mut nodes = Nodes::started_newer(&["a", "b", "c"]).await;
    let a = nodes.handle("a");
    put(&a, "known").await;
    nodes.drop("c").await;
    let done = a.propose(newer("newer"), LONG).await;
    done.expect("all have known it");
    nodes.level = LEVEL;
    nodes.start("c").await.expect("it has its directory");
    let c = nodes.handle("c");
    until_upgrade(&c).await;

    nodes.drop("b").await;
    put(&a, "without").await;
    let leader = nodes.handle(&nodes.leader().await);
    seal(&leader, &[], "c").await;
    until("both to know", || a.0.group().epoch == 2 && hands_over(&c)).await;
    // It has not applied what it is fed of the epoch that it voted in.
    assert!(!is_succeeded(&c, nodes.address("a")).await);
    assert!(hands_over(&c));
    nodes.level = LEVEL + 1;
    nodes.start("b").await.expect("it has its directory");
    until("it to follow", || c.0.group().me == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_voter_hands_over_after_a_start_too() {
    let mut nodes = Nodes::started(&["a"]).await;
    let at = successor_of("a", &mut nodes).await;
    nodes.drop("a").await;
    nodes.start("a").await.expect("it has its directory");
    let a = nodes.handle("a");
    assert!(hands_over(&a));
    assert_eq!(a.status().state, State::Removed);
    nodes.join("d", "a", at).await.expect("its own port");
    put(&nodes.handle("d"), "second").await;
    until("it to follow", || follows(&a)).await;
    until("it to have all", || pools(&a) == ["first", "second"]).await;
}

/// Has `d` vote in place of the lone voter `of`, and not know: gives where it is to be started again.
async fn successor_of(of: &str, nodes: &mut Nodes) -> std::net::SocketAddr {
    let (newcomer, at) = newcomer_to(of, nodes).await;
    seal(&nodes.handle(of), &[newcomer], of).await;
    at
}

/// `d`, which follows the lone voter `of` and is away now, and where it is to be started again.
async fn newcomer_to(of: &str, nodes: &mut Nodes) -> (Newcomer, std::net::SocketAddr) {
    let a = nodes.handle(of);
    put(&a, "first").await;
    let anywhere = ([127, 0, 0, 1], 0).into();
    let at = nodes.join("d", of, anywhere).await.expect("it starts");
    until("it to follow", || follows(&nodes.handle("d"))).await;
    let known = a.0.reports.followers.all();
    let [(instance, follower)] = &known[..] else {
        panic!("one follows");
    };
    let newcomer = Newcomer {
        name: follower.name.clone(),
        instance: instance.clone(),
        address: follower.peer.clone(),
    };
    nodes.drop("d").await;
    (newcomer, at)
}

/// Leaves no space for anything new.
fn fill(memory: &Memory) {
    let files = memory.names().into_iter();
    let used = files.filter_map(|name| memory.content(&name));
    memory.limit(Some(used.map(|content| content.len() as u64).sum()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_only_delays_that_who_votes_changes() {
    let (mut nodes, memory) = (Nodes::new(&["a"]), Memory::new(1));
    nodes.start_on(&memory, "a").await.expect("a new node");
    let (newcomer, at) = newcomer_to("a", &mut nodes).await;
    fill(&memory);
    let (a, newcomers) = (nodes.handle("a"), [newcomer]);
    let freed = async {
        until("it to say so", || a.status().state == State::Full).await;
        assert_eq!(pools(&a), ["first"], "it serves what it has");
        memory.limit(None);
    };
    tokio::join!(seal(&a, &newcomers, "a"), freed);
    assert!(hands_over(&a));
    assert_eq!(a.status().state, State::Removed);
    nodes.join("d", "a", at).await.expect("its own port");
    put(&nodes.handle("d"), "second").await;
    until("it to follow", || follows(&a)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_only_delays_that_a_removed_voter_follows() {
    let (mut nodes, memory) = (Nodes::new(&["a"]), Memory::new(1));
    nodes.start_on(&memory, "a").await.expect("a new node");
    let at = successor_of("a", &mut nodes).await;
    fill(&memory);
    nodes.join("d", "a", at).await.expect("its own port");
    let (a, d) = (nodes.handle("a"), nodes.handle("d"));
    put(&d, "second").await;
    until("it to say so", || a.status().state == State::Full).await;
    assert_eq!(pools(&a), ["first"], "it serves what it has");
    let refused = a.propose(put_pool("third"), Duration::from_millis(300));
    assert!(not_proposed(&refused.await));
    memory.limit(None);
    until("it to follow", || follows(&a)).await;
    until("it to have all", || pools(&a) == ["first", "second"]).await;
    put(&a, "third").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_voters_all_follow_by_now_is_told_who_votes() {
    let mut nodes = Nodes::started(&["a", "b", "c"]).await;
    let a = nodes.handle("a");
    put(&a, "first").await;
    let (anywhere, before, after) = (([127, 0, 0, 1], 0).into(), ["a", "b", "c"], ["d", "e", "f"]);
    for name in after {
        nodes.join(name, "a", anywhere).await.expect("it starts");
    }
    nodes.follow("x", "a").await.expect("it starts");
    until("it to follow", || follows(&nodes.handle("x"))).await;
    // Its order would be lost with a leader that is away.
    if nodes.leader().await != "a" {
        let to = Some("a".to_owned());
        a.transfer(to, LONG).await.expect("it is well");
    }
    for away in ["c", "x"] {
        nodes.drop(away).await;
    }
    let [add, remove] = [after, before].map(|names| names.map(str::to_owned).to_vec());
    let replaced = a.change_members(add, remove, LONG).await;
    replaced.expect("all that come are well");
    for name in ["a", "b"] {
        until("it to follow", || follows(&nodes.handle(name))).await;
    }
    put(&nodes.handle("d"), "second").await;
    nodes.start("c").await.expect("it has its directory");
    nodes.follow("x", "a").await.expect("it has its directory");
    for name in ["c", "x"] {
        let back = nodes.handle(name);
        until("it to follow", || follows(&back) && pools(&back).len() == 2).await;
    }
}
