//! Who may take part, on real directories and sockets.

use std::time::Duration;

use super::harness::{Nodes, failure, not_proposed, put_pool, until};
use crate::replication::{StartError, State};

fn running(nodes: &Nodes) -> bool {
    nodes
        .handles()
        .iter()
        .all(|handle| handle.status().state == State::Running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_find_each_other_by_host_names() {
    let mut nodes = Nodes::new(&["a", "b", "c"]).by_name();
    for name in ["a", "b", "c"] {
        nodes.start(name).await.expect("a new node starts");
    }
    until("all to run", || running(&nodes)).await;
    nodes.follow("p", "b").await.expect("a follower starts");
    let follows = || running(&nodes);
    until("the follower to be fed", follows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_votes_before_all_first_voters_agree() {
    let mut nodes = Nodes::new(&["a", "b", "c"]);
    for name in ["a", "b"] {
        nodes.start(name).await.expect("a new node starts");
    }
    let a = nodes.handle("a");
    let waits = |names: &[&str]| State::Founding {
        waiting: names.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(a.status().state, waits(&["b", "c"]));
    let early = a.propose(put_pool("web"), Duration::from_millis(50)).await;
    assert!(not_proposed(&early), "{early:?}");
    assert_eq!((a.status().id, a.status().cluster), (None, None));

    nodes.stop("a").await;
    nodes
        .start("a")
        .await
        .expect("half-founded, it starts again");
    nodes.start("c").await.expect("the last one starts");
    until("all to run", || running(&nodes)).await;
    let clusters: Vec<_> = nodes
        .handles()
        .iter()
        .map(|handle| handle.status().cluster)
        .collect();
    assert!(clusters[0].is_some() && clusters.iter().all(|cluster| *cluster == clusters[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_voter_takes_no_part_and_says_why() {
    let mut nodes = Nodes::started(&["a", "b", "c"]).await;
    until("all to run", || running(&nodes)).await;
    // One that is dialled by others, and one that dials them.
    for name in ["c", "a"] {
        nodes.stop(name).await;
        std::fs::remove_dir_all(nodes.directory(name)).expect("a directory to wipe");
        nodes
            .start(name)
            .await
            .expect("it starts, to serve traffic");
        let wiped = nodes.handle(name);
        until("the refusal", || failure(&wiped).contains("wiped voter")).await;
        let result = wiped.propose(put_pool("web"), Duration::from_secs(1)).await;
        assert!(not_proposed(&result), "{result:?}");
        assert!(wiped.read_barrier(Duration::from_secs(1)).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolled_back_directory_is_refused_as_wiped() {
    let mut nodes = Nodes::started(&["a", "b", "c"]).await;
    until("all to run", || running(&nodes)).await;
    let file = nodes.directory("b").join("group");
    nodes.stop("b").await;
    let old = std::fs::read(&file).expect("the record");
    nodes.start("b").await.expect("it starts again");
    let b = nodes.handle("b");
    until("the others to meet it", || b.status().leader.is_some()).await;
    nodes.stop("b").await;
    std::fs::write(&file, old).expect("an older record");
    nodes.start("b").await.expect("it starts, to serve traffic");
    let b = nodes.handle("b");
    until("the refusal", || {
        failure(&b).contains("older data directory")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_of_another_cluster_is_kept_out_and_harms_nobody() {
    let mut ours = Nodes::started(&["a", "b", "c"]).await;
    let mut theirs = Nodes::started(&["a", "b", "c"]).await;
    until("both to run", || running(&ours) && running(&theirs)).await;
    theirs.stop("a").await;
    for name in ["b", "c"] {
        theirs.readdress(name, ours.address(name));
    }
    theirs.start("a").await.expect("it starts");
    let (stray, member) = (theirs.handle("a"), ours.handle("b"));
    let result = stray
        .propose(put_pool("web"), Duration::from_millis(400))
        .await;
    assert!(not_proposed(&result), "{result:?}");
    assert_eq!(
        (failure(&stray), failure(&member)),
        (String::new(), String::new())
    );
    assert!(
        stray
            .nodes()
            .iter()
            .all(|node| node.name == "a" || node.heard.is_none())
    );
    ours.stop("a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_has_one_process_and_one_name() {
    let mut nodes = Nodes::started(&["a"]).await;
    let second = crate::replication::start(nodes.silent("a")).await;
    assert!(
        matches!(second, Err(StartError::Storage(error)) if error.to_string().contains("in use"))
    );

    nodes.stop("a").await;
    let mut renamed = nodes.silent("a");
    renamed.name = "z".to_owned();
    let listed = crate::replication::start(renamed).await;
    assert!(matches!(listed, Err(StartError::NotListed { .. })));
    let mut renamed = nodes.silent("a");
    (renamed.name, renamed.voters) = ("z".to_owned(), Default::default());
    let renamed = crate::replication::start(renamed).await;
    assert!(
        matches!(renamed, Err(StartError::OtherName { is, asked }) if is == "a" && asked == "z")
    );
}
