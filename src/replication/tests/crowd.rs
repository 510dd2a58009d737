//! One voter and a thousand followers, each as little as a follower can be: a connection that reads.

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use super::harness::{Nodes, put, until};
use crate::paxos::Message;
use crate::replication::codec;
use crate::replication::connection::connect;
use crate::replication::frame::{Body, Follow, Report, VERSION};

const CROWD: u32 = 1000;

/// Follows the voter at `address`, again whenever it is cut off as too slow, and answers whatever it sends; slots must
/// follow each other.
async fn follow(address: std::net::SocketAddr, number: u32) {
    let mut last = 0;
    loop {
        follow_once(address, number, &mut last).await;
    }
}

async fn follow_once(address: std::net::SocketAddr, number: u32, last: &mut u64) {
    let Ok((mut reader, mut writer)) = connect(None, &address.to_string()).await else {
        return;
    };
    let follow = Follow {
        version: VERSION,
        name: format!("p{number}"),
        instance: Bytes::from(u128::from(number).to_be_bytes().to_vec()),
        slot: *last,
        ..Follow::default()
    };
    if writer.send(Body::Follow(follow)).await.is_err() {
        return;
    }
    let Ok(Some(first)) = reader.next().await else {
        return;
    };
    assert!(matches!(first, Body::Welcome(_)), "{first:?}");
    reader.trust();
    while let Ok(Some(body)) = reader.next().await {
        if let Body::Entries(bytes) = body {
            let message = codec::decode(bytes).expect("entries");
            let Message::Chunk { first, entries, .. } = message else {
                panic!("no entries");
            };
            assert!(first.0 <= *last + 1, "a gap behind {last}");
            *last = (*last).max(first.plus(entries.len()).0 - 1);
        }
        let report = Report {
            applied: *last,
            slot: *last,
            ..Report::default()
        };
        if writer.send(Body::Report(report)).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_voter_feeds_a_thousand() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit");
    let nodes = Nodes::started(&["a"]).await;
    let a = nodes.handle("a");
    let early = put(&a, "early").await.0;
    let mut crowd = JoinSet::new();
    for number in 1..=CROWD {
        crowd.spawn(follow(nodes.address("a"), number));
    }
    let applied = |slot| a.nodes().iter().filter(|n| n.applied.0 >= slot).count();
    until("all to be fed", || applied(early) >= CROWD as usize).await;
    assert_eq!(a.status().feeding, CROWD as usize);
    assert_eq!(a.nodes().len(), 1 + CROWD as usize);

    let mut last = early;
    for turn in 0..5 {
        last = put(&a, &format!("late-{turn}")).await.0;
    }
    until("all reports", || applied(last) >= CROWD as usize).await;
    drop(crowd);
    until("all to be gone", || a.status().feeding == 0).await;
}
