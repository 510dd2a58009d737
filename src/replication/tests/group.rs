//! Three voters: any node takes writes and reads, and a minority may go.

use std::time::Duration;

use super::harness::{LONG, Nodes, pools, put, put_pool, until};
use crate::config::Revision;
use crate::replication::{Activation, Handle, OrderError, ProposeError, Rejected, State};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_takes_writes_and_reads_back_what_any_acknowledged() {
    let nodes = Nodes::started(&["a", "b", "c"]).await;
    for name in ["a", "b", "c"] {
        put(&nodes.handle(name), name).await;
        for handle in nodes.handles() {
            handle
                .read_barrier(LONG)
                .await
                .expect("a majority is there");
            assert!(
                pools(&handle).contains(&name.to_owned()),
                "{name} at {:?}",
                handle.status().name
            );
        }
    }
    let digests: Vec<u64> = nodes
        .handles()
        .iter()
        .map(|node| node.inspect(|m| m.digest()))
        .collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_leads_when_the_leader_is_gone_and_nothing_acknowledged_is_lost() {
    let mut nodes = Nodes::started(&["a", "b", "c"]).await;
    put(&nodes.handle("a"), "before").await;
    let leader = nodes.leader().await;
    nodes.stop(&leader).await;
    for handle in nodes.handles() {
        put(&handle, &format!("after-{}", handle.status().name)).await;
    }
    nodes.start(&leader).await.expect("it comes back");
    let back = nodes.handle(&leader);
    back.read_barrier(LONG).await.expect("a majority is there");
    assert_eq!(pools(&back).len(), 3);
    put(&back, "last").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_writes_end_in_time_and_the_config_stays() {
    let mut nodes = Nodes::started(&["a", "b", "c"]).await;
    let revision = put(&nodes.handle("a"), "web").await;
    for handle in nodes.handles() {
        handle
            .read_barrier(LONG)
            .await
            .expect("a majority is there");
        let covered = || *handle.0.durable.borrow() >= revision.0;
        until("the decision to be durable everywhere", covered).await;
    }
    for name in ["a", "b"] {
        nodes.stop(name).await;
    }
    let c = nodes.handle("c");
    let began = std::time::Instant::now();
    let result = c
        .propose(put_pool("late"), Duration::from_millis(700))
        .await;
    assert!(result.is_err() && began.elapsed() < LONG / 2, "{result:?}");
    assert!(c.read_barrier(Duration::from_millis(100)).await.is_err());

    nodes.stop("c").await;
    nodes.start("c").await.expect("alone, it starts");
    let c = nodes.handle("c");
    assert_eq!(
        (pools(&c), c.watch().borrow().revision),
        (vec!["web".to_owned()], revision)
    );
    let result = c
        .propose(put_pool("later"), Duration::from_millis(300))
        .await;
    assert!(
        matches!(result, Err(ProposeError::NotProposed { .. })),
        "{result:?}"
    );

    nodes.start("b").await.expect("a second one starts");
    put(&c, "again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_reaches_all_once_its_decision_is_durable() {
    let nodes = Nodes::started(&["a", "b", "c"]).await;
    let revision = put(&nodes.handle("a"), "web").await;
    let serves = |handle: &Handle, name: &str| {
        let nodes = handle.nodes();
        let node = nodes
            .iter()
            .find(|node| node.name == name)
            .expect("all voters are listed");
        (node.applied, node.digest, node.rejected.clone())
    };
    let b = nodes.handle("b");
    b.report(Activation {
        revision: Revision(revision.0 + 1),
        digest: 1,
        rejected: None,
    });
    b.report(Activation {
        revision,
        digest: 7,
        rejected: None,
    });
    for handle in nodes.handles() {
        until("the report", || serves(&handle, "b") == (revision, 7, None)).await;
        assert_eq!(serves(&handle, "c").0, Revision(0));
    }
    let rejected = Some(Rejected {
        revision: Revision(9),
        reason: "too large".to_owned(),
    });
    let mut news = nodes.handle("c").nodes_changed();
    news.mark_unchanged();
    b.report(Activation {
        revision,
        digest: 7,
        rejected: rejected.clone(),
    });
    tokio::time::timeout(LONG, news.changed())
        .await
        .expect("in time")
        .expect("it lives");
    let c = nodes.handle("c");
    until("the rejection", || serves(&c, "b").2 == rejected).await;
    assert_eq!(
        nodes
            .handle("a")
            .nodes()
            .iter()
            .map(|node| node.id.map_or(0, |id| id.0))
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(
        nodes
            .handles()
            .iter()
            .all(|handle| handle.status().state == State::Running)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_goes_to_whom_any_node_names_and_writes_go_on() {
    let nodes = Nodes::started(&["a", "b", "c"]).await;
    put(&nodes.handle("a"), "before").await;
    let leader = nodes.leader().await;
    for (turn, node) in ["a", "b", "c"].into_iter().enumerate() {
        let to = ["b", "c", "a"][turn];
        let before = put(&nodes.handle(to), &format!("turn-{turn}")).await;
        let done = nodes
            .handle(node)
            .transfer(Some(to.to_owned()), LONG)
            .await
            .expect("all are well");
        assert_eq!(done, to);
        until("everybody to know", || {
            let knows = |handle: &Handle| handle.status().leader_name.as_deref() == Some(to);
            nodes.handles().iter().all(knows)
        })
        .await;
        assert!(put(&nodes.handle(&leader), &format!("after-{turn}")).await > before);
    }
    let stranger = nodes.handle("b").transfer(Some("z".to_owned()), LONG).await;
    assert!(
        matches!(&stranger, Err(OrderError::Refused { why }) if why.contains("`z` is no voter")),
        "{stranger:?}"
    );
    let elections = |handle: &Handle| handle.status().counts.elections;
    let stood: u64 = nodes.handles().iter().map(elections).sum();
    let taken = nodes.handle("a").transfer(None, LONG).await;
    assert_ne!(taken.expect("another takes over"), "a");
    let now: u64 = nodes.handles().iter().map(elections).sum();
    assert!(now > stood);
}
