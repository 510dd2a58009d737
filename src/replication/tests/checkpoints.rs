//! Starts from checkpoints.

use std::net::SocketAddr;

use tokio::sync::oneshot;

use super::harness::{LONG, Nodes, pools, put, put_pool, until};
use crate::paxos::Epoch;
use crate::replication::membership::Newcomer;
use crate::replication::shared::Event;
use crate::replication::{Handle, Pace};
use crate::state::Key;

fn pace(entries: u64) -> Pace {
    Pace {
        entries,
        bytes: 1 << 30,
    }
}

fn digest(handle: &Handle) -> (u64, u64) {
    handle.inspect(|machine| (machine.applied(), machine.digest()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_goes_on_from_a_checkpoint_and_replays_what_is_behind_it() {
    let mut nodes = Nodes::new(&["a"]);
    nodes.pace = pace(10);
    nodes.start("a").await.expect("a new node starts");
    for nth in 0..45 {
        put(&nodes.handle("a"), &format!("p{nth}")).await;
    }
    let taken = || nodes.handle("a").status().checkpoint.0;
    until("a checkpoint", || taken() >= 10).await;
    let (before, state) = (taken(), digest(&nodes.handle("a")));
    for restart in 0..3 {
        nodes.drop("a").await;
        nodes.start("a").await.expect("it starts again");
        let a = nodes.handle("a");
        assert!(a.status().checkpoint.0 >= before);
        // Its new barrier may be decided already.
        assert_eq!(pools(&a).len(), 45 + restart);
        if restart == 0 {
            assert!(digest(&a).0 >= state.0);
        }
        let served = a.watch().borrow().revision;
        assert_eq!(served, a.inspect(|machine| machine.revision()));
        put(&a, &format!("again{restart}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voters_and_a_follower_take_checkpoints_and_start_from_them() {
    let mut nodes = Nodes::new(&["a", "b", "c"]);
    nodes.pace = pace(8);
    for name in ["a", "b", "c"] {
        nodes.start(name).await.expect("a new node starts");
    }
    let leader = nodes.leader().await;
    nodes.follow("f", &leader).await.expect("a follower starts");
    for nth in 0..30 {
        put(&nodes.handle(&leader), &format!("p{nth}")).await;
    }
    let everybody = ["a", "b", "c", "f"];
    for name in everybody {
        let handle = nodes.handle(name);
        until("its checkpoint", || handle.status().checkpoint.0 >= 8).await;
        until("all pools", || pools(&handle).len() == 30).await;
    }
    for name in everybody {
        nodes.drop(name).await;
    }
    for name in ["a", "b", "c"] {
        nodes.start(name).await.expect("it starts again");
    }
    nodes.follow("f", "a").await.expect("it starts again");
    let leader = nodes.leader().await;
    put(&nodes.handle(&leader), "last").await;
    for name in everybody {
        let handle = nodes.handle(name);
        until("all pools again", || pools(&handle).len() == 31).await;
    }
}

/// So many commands of so many bytes, of which the state keeps one.
async fn write(handle: &Handle, commands: usize, bytes: usize) {
    let mut large = put_pool("large");
    large.comment = "x".repeat(bytes);
    for nth in 0..commands {
        large.key = Key::new(&format!("write-{nth}")).expect("printable");
        let done = handle.propose(large.clone(), LONG).await;
        done.expect("a majority is there");
    }
}

/// The log files of a node.
fn segments(nodes: &Nodes, name: &str) -> Vec<String> {
    let files = std::fs::read_dir(nodes.directory(name)).expect("it is there");
    let names = files.map(|file| file.expect("it is listed").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("log-")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lacks_what_no_log_holds_goes_on_from_a_peers_checkpoint() {
    let mut nodes = Nodes::new(&["a", "b", "c"]);
    nodes.pace = pace(5);
    for name in ["a", "b", "c"] {
        nodes.start(name).await.expect("a new node starts");
    }
    let leader = nodes.leader().await;
    nodes.follow("f", &leader).await.expect("a follower starts");
    put(&nodes.handle(&leader), "first").await;
    let absent = ["a", "b", "c"].into_iter().find(|name| *name != leader);
    let absent = absent.expect("one does not lead");
    until("all to be in step", || pools(&nodes.handle("f")).len() == 1).await;
    nodes.drop(absent).await;
    nodes.drop("f").await;
    let mut count = 1;
    while nodes.handle(&leader).status().checkpoint.0 <= 30 {
        assert!(count < 1_000, "the log is not compacted");
        put(&nodes.handle(&leader), &format!("p{count}")).await;
        count += 1;
    }

    nodes.start(absent).await.expect("it starts again");
    nodes.follow("f", &leader).await.expect("it starts again");
    for name in [absent, "f"] {
        let handle = nodes.handle(name);
        until("it to catch up", || pools(&handle).len() == count).await;
        assert!(handle.status().checkpoint.0 > 0, "{name} replayed a log");
        let (slot, state) = digest(&handle);
        let other = nodes.handle(&leader);
        until("equal states", || {
            digest(&other).0 <= slot || digest(&handle).0 > slot
        })
        .await;
        assert!(digest(&other) == (slot, state) || digest(&other).0 != slot);
    }
    // Its vote counts again, and what it came by outlives a restart.
    let third = ["a", "b", "c"]
        .into_iter()
        .find(|name| *name != leader && *name != absent);
    nodes.drop(third.expect("there are three")).await;
    put(&nodes.handle(&leader), "with-its-vote").await;
    nodes.drop("f").await;
    nodes.drop(absent).await;
    nodes.start(absent).await.expect("it starts again");
    nodes.follow("f", absent).await.expect("it starts again");
    for name in [absent, "f"] {
        let handle = nodes.handle(name);
        until("all to be there", || pools(&handle).len() == count + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_bounded_with_one_voter_dead_for_ever() {
    let mut nodes = Nodes::new(&["a", "b", "c"]);
    nodes.pace = Pace {
        entries: 10_000,
        bytes: 4 << 20,
    };
    for name in ["a", "b", "c"] {
        nodes.start(name).await.expect("a new node starts");
    }
    let leader = nodes.leader().await;
    // Once this is applied, the leader knows what all voters know.
    put(&nodes.handle(&leader), "first").await;
    let absent = ["a", "b", "c"].into_iter().find(|name| *name != leader);
    nodes.drop(absent.expect("one does not lead")).await;
    write(&nodes.handle(&leader), 48, 1 << 20).await;
    until("segments to go", || segments(&nodes, &leader).len() < 5).await;
}

/// Writes until the log of the node no longer holds what there was before.
async fn cut(nodes: &Nodes, name: &str) {
    let handle = nodes.handle(name);
    let first = *handle.0.applied.borrow();
    write(&handle, 40, 4 << 10).await;
    put(&handle, "last").await;
    until("the log to be cut", || {
        handle.status().checkpoint.0 > first + 30
    })
    .await;
}

/// It came by a checkpoint, and has all that the others have.
async fn came_by_a_checkpoint(nodes: &Nodes, name: &str) {
    let handle = nodes.handle(name);
    until("it to catch up", || {
        pools(&handle).contains(&"last".to_owned())
    })
    .await;
    assert!(
        handle.status().counts.installed > 0,
        "{name} was sent a log"
    );
}

const ANYWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_missed_a_change_and_the_log_comes_by_a_checkpoint() {
    let mut nodes = Nodes::new(&["a", "b", "c"]);
    nodes.pace = pace(5);
    for name in ["a", "b", "c"] {
        nodes.start(name).await.expect("a new node starts");
    }
    let leader = nodes.leader().await;
    // Once this is applied, the leader knows what all voters know.
    put(&nodes.handle(&leader), "first").await;
    nodes.join("d", &leader, ANYWHERE).await.expect("it starts");
    let others: Vec<&str> = ["a", "b", "c"]
        .into_iter()
        .filter(|it| *it != leader)
        .collect();
    let (away, replaced) = (others[0], others[1]);
    nodes.drop(away).await;
    let handle = nodes.handle(&leader);
    let change = handle.change_members(vec!["d".into()], vec![replaced.into()], LONG);
    change.await.expect("a majority of both is there");
    // It would still serve the log through the end of its epoch.
    nodes.drop(replaced).await;
    let leader = nodes.leader().await;
    cut(&nodes, &leader).await;

    nodes.start(away).await.expect("it starts again");
    came_by_a_checkpoint(&nodes, away).await;
    nodes.drop(&leader).await;
    put(&nodes.handle(away), "with-both-votes").await;
    // And it knows so after a restart.
    nodes.drop(away).await;
    nodes.start(away).await.expect("it starts again");
    put(&nodes.handle(away), "again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_a_checkpoint_names_comes_to_its_vote() {
    let mut nodes = Nodes::new(&["a", "b", "c"]);
    nodes.pace = pace(5);
    for name in ["a", "b", "c"] {
        nodes.start(name).await.expect("a new node starts");
    }
    let leader = nodes.leader().await;
    let at = nodes.join("d", &leader, ANYWHERE).await;
    let at = at.expect("it starts");
    put(&nodes.handle(&leader), "first").await;
    let d = nodes.handle("d");
    until("it to follow", || pools(&d).len() == 1).await;
    let newcomer = Newcomer {
        name: "d".to_owned(),
        instance: d.0.group().own().expect("itself").instance.clone(),
        address: at.to_string(),
    };
    nodes.drop("d").await;
    // No operator could: a newcomer must be there.
    let handle = nodes.handle(&leader);
    let details = handle
        .0
        .group()
        .change(&[newcomer], &[])
        .expect("it makes sense");
    let (reply, done) = oneshot::channel();
    let _ = handle.0.inbox.push(Event::Seal {
        epoch: Epoch(1),
        seal: details.seal(),
        reply,
    });
    done.await.expect("it lives").expect("a majority is there");
    let leader = nodes.leader().await;
    cut(&nodes, &leader).await;

    nodes.join("d", &leader, at).await.expect("it starts again");
    came_by_a_checkpoint(&nodes, "d").await;
    // Three of four are needed.
    let other = ["a", "b", "c"].into_iter().find(|it| *it != leader);
    nodes.drop(other.expect("there are three")).await;
    put(&nodes.handle("d"), "with-its-vote").await;
    nodes.drop("d").await;
    nodes.join("d", &leader, at).await.expect("it starts again");
    put(&nodes.handle("d"), "again").await;
}
