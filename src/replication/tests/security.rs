//! Nodes that show each other certificates: who has none of the cluster's authority, or another's name, stays out.

use super::harness::{LONG, Nodes, pools, put, until};
use crate::replication::{Handle, State};
use crate::tls::testing::Authority;

/// Why a node has no voter, as far as it knows.
fn why(handle: &Handle) -> String {
    match handle.status().state {
        State::Joining { why } => why,
        _ => String::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_founded_and_followed_over_tls() {
    let mut nodes = Nodes::new(&["a", "b", "c"]).secured(Authority::new("cluster"));
    for name in ["a", "b", "c"] {
        nodes.start(name).await.expect("a new node starts");
    }
    for index in 0..50 {
        put(&nodes.handle("a"), &format!("pool-{index}")).await;
    }
    nodes.follow("p", "b").await.expect("it starts");
    let p = nodes.handle("p");
    p.read_barrier(LONG).await.expect("a voter asks for it");
    put(&p, "mine").await;
    p.read_barrier(LONG).await.expect("a majority is there");
    assert_eq!(pools(&p).len(), 51);
    nodes.drop("b").await;
    nodes.start("b").await.expect("it starts again");
    let b = nodes.handle("b");
    until("the voter to catch up", || pools(&b).len() == 51).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_show_the_right_certificate_follows_nobody() {
    let mut nodes = Nodes::new(&["a"]).secured(Authority::new("cluster"));
    nodes.start("a").await.expect("a new node starts");
    put(&nodes.handle("a"), "web").await;
    let stranger = Authority::new("cluster");
    for (tls, expected) in [
        (None, ""),
        (Some(nodes.certificate(&stranger, "p")), "no TLS with it"),
        (
            Some(nodes.own_certificate("q")),
            "its certificate is for `q`, not for `p`",
        ),
    ] {
        let directory = format!("p-{}", expected.len());
        let (p, running) = nodes
            .follow_showing("p", &directory, "a", tls)
            .await
            .expect("it starts");
        until(expected, || {
            why(&p).contains(expected) && why(&p).contains("127.0.0.1")
        })
        .await;
        assert_eq!(pools(&p).len(), 0);
        running.stop().await;
    }
    let listed = nodes.handle("a").nodes();
    assert_eq!(listed.len(), 1);
}
