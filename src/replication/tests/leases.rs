//! Sessions in a real group: kept alive through any node and any leader, ended when nobody does, and not before.

use std::time::{Duration, Instant};

use super::harness::{LONG, Nodes, until};
use crate::config::limits;
use crate::replication::Handle;
use crate::state::{Answer, Body, Command, Key, LEVEL, Operation, Outcome, SessionId, Stamp};

/// Opens a session of the shortest lease there is.
pub(in crate::replication) async fn open(handle: &Handle, key: &str) -> SessionId {
    let lease = limits::SHORTEST_LEASE;
    let command = Command {
        key: Key::new(key).expect("printable"),
        stamp: Stamp(0),
        level: LEVEL,
        sticky_key: None,
        author: "test".to_owned(),
        comment: String::new(),
        body: Body::Locks(Operation::Open { lease }),
    };
    match handle.propose(command, LONG).await {
        Ok(Outcome::Locks(Answer::Opened { session })) => session,
        other => panic!("opening came to {other:?}"),
    }
}

/// Whether the session lives, as the leader says; and that it may be counted on for so long.
pub(in crate::replication) async fn keep(handle: &Handle, session: SessionId) -> Option<Duration> {
    let lives = handle.keep_alive(&[session], LONG).await;
    let lives = lives.expect("a majority is there");
    assert_eq!(lives.len(), 1);
    lives[0].1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_lives_as_long_as_it_is_kept_alive_through_any_node_and_leader() {
    let mut nodes = Nodes::started(&["a", "b", "c"]).await;
    nodes.follow("f", "a").await.expect("a follower starts");
    let session = open(&nodes.handle("a"), "s").await;
    let kept = Instant::now();
    for name in ["a", "b", "c", "f"] {
        let lease = keep(&nodes.handle(name), session).await;
        assert_eq!(lease, Some(limits::SHORTEST_LEASE), "through {name}");
    }
    let leader = nodes.leader().await;
    nodes.drop(&leader).await;
    let others: Vec<Handle> = nodes.handles();
    let mut last = Instant::now();
    while kept.elapsed() < 3 * limits::SHORTEST_LEASE {
        for handle in &others {
            let lease = keep(handle, session).await;
            // On a machine that stood still for longer than the lease it may have ended.
            assert!(lease.is_some() || last.elapsed() > limits::SHORTEST_LEASE);
            last = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_nobody_keeps_alive_ends_everywhere_and_not_early() {
    let nodes = Nodes::started(&["a", "b", "c"]).await;
    let asked = Instant::now();
    let session = open(&nodes.handle("a"), "s").await;
    for handle in nodes.handles() {
        let gone = || handle.inspect(|machine| machine.locks().session(session).is_none());
        until("the session to end", || {
            *handle.0.applied.borrow() >= session.0 && gone()
        })
        .await;
        assert!(asked.elapsed() >= limits::SHORTEST_LEASE, "it ended early");
    }
    assert_eq!(keep(&nodes.handle("b"), session).await, None);
}
