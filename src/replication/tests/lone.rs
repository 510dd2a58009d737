//! One voter: every acknowledgement is durable.

use std::time::Duration;

use super::harness::{LONG, Nodes, failure, not_proposed, pools, put, put_pool};
use crate::config::Revision;
use crate::replication::State;
use crate::state::Outcome;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let mut nodes = Nodes::started(&["a"]).await;
    let a = nodes.handle("a");
    let mut watch = a.watch();
    assert_eq!(watch.borrow_and_update().revision, Revision(0));
    let revision = put(&a, "web").await;
    assert_eq!(
        watch.borrow_and_update().revision,
        revision,
        "an answer is never ahead of the watch"
    );
    a.read_barrier(LONG).await.expect("it leads");
    assert!(a.status().counts.syncs >= 1 && a.status().counts.commits == 1);

    nodes.stop("a").await;
    nodes.start("a").await.expect("it starts again");
    let a = nodes.handle("a");
    a.read_barrier(LONG).await.expect("it leads again");
    assert_eq!(pools(&a), ["web"]);
    assert_eq!(a.watch().borrow().revision, revision);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_with_the_same_key_is_applied_once() {
    let nodes = Nodes::started(&["a"]).await;
    let a = nodes.handle("a");
    let first = a.propose(put_pool("web"), LONG).await;
    let again = a.propose(put_pool("web"), LONG).await;
    assert!(matches!(first, Ok(Outcome::Done { changed: true, .. })));
    assert_eq!(first, again);
    let key = a.inspect(|machine| machine.config().sticky_key);
    assert!(
        key.is_some(),
        "the first write brings the key of sticky cookies"
    );
    put(&a, "api").await;
    assert_eq!(a.inspect(|machine| machine.config().sticky_key), key);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_replica_answers_at_once_and_keeps_its_last_config() {
    let mut nodes = Nodes::started(&["a"]).await;
    let a = nodes.handle("a");
    let revision = put(&a, "web").await;
    nodes.stop("a").await;
    let late = a.propose(put_pool("late"), LONG);
    let late = tokio::time::timeout(Duration::from_secs(2), late)
        .await
        .expect("at once");
    assert!(late.is_err() && failure(&a).contains("stopping"));
    assert_eq!(
        (pools(&a), a.watch().borrow().revision),
        (vec!["web".to_owned()], revision)
    );
    assert!(matches!(a.status().state, State::Failed { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_too_large_for_any_leader_is_refused_at_once() {
    let nodes = Nodes::started(&["a"]).await;
    let a = nodes.handle("a");
    put(&a, "web").await;
    let mut large = put_pool("large");
    large.comment = "x".repeat(5 << 20);
    let refused = tokio::time::timeout(Duration::from_secs(20), a.propose(large, LONG)).await;
    assert!(not_proposed(&refused.expect("at once")));
}
