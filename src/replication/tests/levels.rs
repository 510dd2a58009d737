//! Builds of two feature levels in one group, and the way from one to the other.

use std::time::Duration;

use super::harness::{LONG, Nodes, newer, pools, put, until, until_upgrade};
use crate::paxos::Role;
use crate::replication::{Handle, ProposeError};
use crate::state::{LEVEL, Outcome};

async fn refused(handle: &Handle, name: &str) -> String {
    let short = Duration::from_millis(300);
    match handle.propose(newer(name), short).await {
        Err(ProposeError::NotProposed { why }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_new_waits_until_every_node_has_been_upgraded() {
    let mut nodes = Nodes::started(&["a", "b", "c"]).await;
    nodes.follow("f", "a").await.expect("it follows");
    let mut expected = Vec::new();
    for name in ["a", "b", "c", "f"] {
        let leader = nodes.leader().await;
        let why = refused(&nodes.handle(&leader), "new").await;
        assert!(why.contains("upgrade"), "{why}");
        // What all know goes on meanwhile.
        put(&nodes.handle(&leader), &format!("known-{name}")).await;
        expected.push(format!("known-{name}"));
        nodes.stop(name).await;
        nodes.level = LEVEL + 1;
        match name {
            "f" => nodes.follow(name, "a").await.expect("it follows again"),
            _ => nodes.start(name).await.expect("it starts again"),
        }
        nodes.level = LEVEL;
    }
    // Whoever was asked waits until the last one has said so.
    let leader = nodes.handle(&nodes.leader().await);
    let done = leader.propose(newer("new"), LONG).await;
    assert!(
        matches!(done, Ok(Outcome::Done { changed: true, .. })),
        "{done:?}"
    );
    expected.push("new".to_owned());
    expected.sort();
    for handle in nodes.handles() {
        until("all to apply it", || pools(&handle) == expected).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_build_that_meets_what_is_new_serves_on_and_says_upgrade() {
    let mut nodes = Nodes::started_newer(&["a", "b", "c"]).await;
    let leader = nodes.leader().await;
    put(&nodes.handle(&leader), "known").await;
    let old = ["a", "b", "c"].into_iter().find(|name| *name != leader);
    let old = old.expect("three");
    until("all to have it", || pools(&nodes.handle(old)) == ["known"]).await;
    // It has said that it knows what is new, and comes back as an older build.
    nodes.stop(old).await;
    let leader = nodes.leader().await;
    let leader = nodes.handle(&leader);
    let done = leader.propose(newer("new"), LONG).await;
    assert!(done.is_ok(), "{done:?}");
    nodes.level = LEVEL;
    nodes.start(old).await.expect("it starts");
    let handle = nodes.handle(old);
    until_upgrade(&handle).await;
    assert_eq!(pools(&handle), ["known"], "it serves what it had");
    assert_ne!(handle.status().role, Role::Leader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_must_be_upgraded_does_not_go_on_leading() {
    let mut nodes = Nodes::started_newer(&["a", "b", "c"]).await;
    let a = nodes.handle("a");
    put(&a, "known").await;
    nodes.stop("c").await;
    let done = a.propose(newer("new"), LONG).await;
    assert!(matches!(done, Ok(Outcome::Done { .. })), "{done:?}");
    nodes.level = LEVEL;
    nodes.start("c").await.expect("it has its directory");
    let c = nodes.handle("c");
    until_upgrade(&c).await;
    let leader = nodes.handle(&nodes.leader().await);
    // What it is handed it hands on.
    let _ = leader.transfer(Some("c".to_owned()), LONG).await;
    put(&a, "later").await;
    let leads = |handle: &Handle| handle.status().role == Role::Leader;
    until("another to lead", || !leads(&c)).await;
}
