//! Nodes without a vote: they join, are fed, ask, move on when their voter dies, and serve on alone.

use std::time::Duration;

use super::harness::{LONG, Nodes, pools, put, put_pool, until};
use crate::config::Revision;
use crate::replication::{Activation, Handle, NodeReport, NodeRole, SILENT, State};

fn running(handle: &Handle) -> bool {
    handle.status().state == State::Running
}

fn of<'a>(nodes: &'a [NodeReport], name: &str) -> Option<&'a NodeReport> {
    nodes.iter().find(|node| node.name == name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_catches_up_and_takes_writes_and_reads() {
    let mut nodes = Nodes::started(&["a", "b", "c"]).await;
    for index in 0..50 {
        put(&nodes.handle("a"), &format!("early-{index}")).await;
    }
    nodes.follow("p", "b").await.expect("it starts");
    let p = nodes.handle("p");
    p.read_barrier(LONG).await.expect("a voter asks for it");
    assert_eq!(pools(&p).len(), 50);
    put(&p, "mine").await;
    for name in ["a", "c", "p"] {
        let handle = nodes.handle(name);
        handle
            .read_barrier(LONG)
            .await
            .expect("a majority is there");
        assert!(pools(&handle).contains(&"mine".to_owned()), "{name}");
    }
    let digest = |handle: &Handle| handle.inspect(|m| (m.applied(), m.digest()));
    let a = nodes.handle("a");
    until("equal state", || digest(&p) == digest(&a)).await;
    let status = p.status();
    assert_eq!((status.id, status.cluster), (None, a.status().cluster));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_moves_on_when_its_voter_is_gone() {
    let mut nodes = Nodes::started(&["a", "b", "c"]).await;
    put(&nodes.handle("a"), "web").await;
    nodes.follow("p", "a").await.expect("it starts");
    let p = nodes.handle("p");
    until("a voter", || running(&p)).await;
    let voter = p.status().following.and_then(|now| now.voter);
    let voter = voter.expect("it follows one");
    nodes.stop(&voter).await;
    let survivor = nodes.handles().into_iter().find(|h| h.status().name != "p");
    put(&survivor.expect("two are left"), "after").await;
    until("the change", || pools(&p).len() == 2).await;
    let now = p.status().following.and_then(|now| now.voter);
    assert_ne!(now, Some(voter));
    put(&p, "through-it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alone_it_starts_on_what_it_has_and_takes_it_up_again() {
    let mut nodes = Nodes::started(&["a"]).await;
    let revision = put(&nodes.handle("a"), "web").await;
    nodes.follow("p", "a").await.expect("it starts");
    let covered = |handle: &Handle| *handle.0.durable.borrow() >= revision.0;
    until("the revision to be durable", || covered(&nodes.handle("p"))).await;
    nodes.drop("p").await;
    nodes.stop("a").await;

    nodes.follow("p", "a").await.expect("alone, it starts");
    let p = nodes.handle("p");
    assert_eq!(p.watch().borrow().revision, revision);
    assert!(matches!(p.status().state, State::Alone { .. }));
    let refused = p.propose(put_pool("x"), Duration::from_millis(100)).await;
    assert!(refused.is_err(), "{refused:?}");

    nodes.start("a").await.expect("it comes back");
    put(&nodes.handle("a"), "later").await;
    until("the change", || pools(&p).len() == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_know_what_a_follower_serves_until_it_leaves() {
    let mut nodes = Nodes::started(&["a", "b", "c"]).await;
    let revision = put(&nodes.handle("a"), "web").await;
    nodes.follow("p", "a").await.expect("it starts");
    nodes.follow("q", "b").await.expect("it starts");
    let (p, q) = (nodes.handle("p"), nodes.handle("q"));
    p.report(Activation {
        revision,
        digest: 7,
        rejected: None,
    });
    for name in ["a", "b", "c"] {
        let handle = nodes.handle(name);
        let told = || {
            let nodes = handle.nodes();
            of(&nodes, "p")
                .is_some_and(|p| (p.applied, p.digest, p.role) == (revision, 7, NodeRole::Follower))
        };
        until("the report", told).await;
    }
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        q.renew_nodes(LONG).await;
        let list = q.nodes();
        let served = of(&list, "p").map_or(Revision(0), |p| p.applied);
        if served == revision && list.len() == 5 {
            assert!(of(&list, "q").is_some_and(|q| q.here));
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{list:?}");
    }
    nodes.stop("p").await;
    nodes.drop("q").await;
    for name in ["a", "b", "c"] {
        let handle = nodes.handle(name);
        until("the leave", || of(&handle.nodes(), "p").is_none()).await;
        let silent = || {
            let nodes = handle.nodes();
            let q = of(&nodes, "q").expect("it did not say that it leaves");
            q.heard.is_some_and(|ago| ago > SILENT)
        };
        until("the silence", silent).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_follow_is_told_why() {
    let mut nodes = Nodes::started(&["a", "b", "c"]).await;
    let mut others = Nodes::started(&["x"]).await;
    let refused = |handle: Handle, why: &'static str| async move {
        let says = || match handle.status().state {
            State::Joining { why: told } | State::Alone { why: told } => told.contains(why),
            _ => false,
        };
        until(why, says).await;
    };
    nodes.follow("p", "a").await.expect("it starts");
    until("a voter", || running(&nodes.handle("p"))).await;
    nodes.stop("p").await;
    others.adopt(&nodes, "p");
    others.follow("p", "x").await.expect("it starts");
    // It knows the voters it was told of, and follows those; told of another cluster alone it has nobody.
    for name in ["a", "b", "c"] {
        nodes.stop(name).await;
    }
    refused(others.handle("p"), "of cluster").await;

    others.follow("x2", "x").await.expect("it starts");
    until("a voter", || running(&others.handle("x2"))).await;
    let twin = others.follow_as("x2", "elsewhere", "x").await;
    let twin = twin.expect("it starts");
    refused(twin.0.clone(), "`x2` is that of another follower").await;
    let voter = others.follow_as("x", "third", "x").await;
    let voter = voter.expect("it starts");
    refused(voter.0.clone(), "the name of a voter").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_diverged_says_so_and_applies_no_more() {
    let mut nodes = Nodes::started(&["a"]).await;
    put(&nodes.handle("a"), "web").await;
    nodes.follow("p", "a").await.expect("it starts");
    let p = nodes.handle("p");
    until("the change", || pools(&p).len() == 1).await;
    // As a bug or a bit that fell over would have it.
    let slot = p.inspect(|machine| machine.applied());
    let other = super::super::shared::Event::Digest { slot, digest: 1 };
    p.0.inbox.push(other).expect("it runs");
    until("the failure", || !super::harness::failure(&p).is_empty()).await;
    assert!(super::harness::failure(&p).contains("diverged"));
    put(&nodes.handle("a"), "later").await;
    let a = nodes.handle("a");
    let told = || of(&a.nodes(), "p").is_some_and(|p| p.failed.is_some());
    until("the voter to know", told).await;
    assert_eq!(pools(&p), ["web"]);
}
