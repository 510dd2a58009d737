//! What a write waits for, and what it says when it waited in vain.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Node, pool};
use crate::config::{Name, Revision};
use crate::replication::{Activation, Rejected};

#[tokio::test]
async fn applied_is_when_every_node_serves_it() {
    let node = Node::new().await;
    let answer = node
        .call("PUT /v1/pools/web?wait=applied", Some(pool(&[1])))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.body["waited_for"], json!({"applied": ["n1"]}));
    assert_eq!(
        node.state.cell.load().revision.0,
        answer.body["revision"].as_u64().unwrap()
    );
}

#[tokio::test]
async fn a_laggard_is_named_and_the_write_is_committed_all_the_same() {
    let node = Node::without_data_plane().await;
    let answer = node
        .call(
            "PUT /v1/pools/web?wait=applied&timeout=200ms",
            Some(pool(&[1])),
        )
        .await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.body["outcome"], "committed");
    let laggard = &answer.body["laggards"][0];
    assert_eq!(
        (&laggard["name"], &laggard["why"]),
        (&json!("n1"), &json!("behind"))
    );
    let read = node.get("/v1/pools/web").await;
    assert_eq!(read.body["revision"], answer.body["revision"]);
    assert_eq!(
        answer.header("synod-revision"),
        answer.body["revision"].to_string()
    );
}

#[tokio::test]
async fn a_node_that_rejects_it_is_not_waited_for_to_the_end() {
    let node = Node::without_data_plane().await;
    let rejected = Rejected {
        revision: Revision(u64::MAX),
        reason: "too many members".to_owned(),
    };
    node.state.replication.report(Activation {
        rejected: Some(rejected),
        ..Activation::default()
    });
    let began = Instant::now();
    let answer = node
        .call(
            "PUT /v1/pools/web?wait=applied&timeout=1m",
            Some(pool(&[1])),
        )
        .await;
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(answer.status, 504);
    let laggard = &answer.body["laggards"][0];
    assert_eq!(
        (&laggard["why"], &laggard["reason"]),
        (&json!("rejected"), &json!("too many members"))
    );
}

#[tokio::test]
async fn empty_is_when_the_last_request_has_ended() {
    let node = Node::new().await;
    node.put("/v1/pools/web?wait=applied", pool(&[7001])).await;
    let (pool, id) = (Name::new("web").unwrap(), Name::new("b1").unwrap());
    let backend = node.state.registry.backends(&pool, &id).pop().unwrap();
    let request = backend.begin();
    let drain = "POST /v1/pools/web/backends/b1/drain?wait=empty&timeout=300ms";
    let busy = node.call(drain, None).await;
    assert_eq!(
        (busy.status.as_u16(), &busy.body["in_flight"]),
        (504, &json!(1))
    );
    assert!(!backend.admits());
    let ends = async {
        tokio::task::yield_now().await;
        drop(request);
    };
    let drain = drain.replace("300ms", "5s");
    let (answer, ()) = tokio::join!(node.call(&drain, None), ends);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        answer.body["waited_for"],
        json!({"applied": ["n1"], "empty": ["n1"], "unknown": []})
    );
}

#[tokio::test]
async fn unwatched_is_answered_with_the_key_that_tells_its_fate() {
    let node = Node::new().await;
    let answer = node
        .call("PUT /v1/pools/web?wait=none", Some(pool(&[1])))
        .await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["outcome"]),
        (202, &json!("unknown"))
    );
    let retry = format!(
        "PUT /v1/pools/web\nidempotency-key: {}",
        answer.body["key"].as_str().unwrap()
    );
    assert_eq!(node.call(&retry, Some(pool(&[1]))).await.status, 201);
}

#[tokio::test]
async fn without_a_quorum_a_write_is_refused_in_bounded_time() {
    let node = Node::without_quorum().await;
    let began = Instant::now();
    let answer = node
        .call("PUT /v1/pools/web?timeout=1m", Some(pool(&[1])))
        .await;
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (503, "1")
    );
    assert_eq!(answer.body["outcome"], "not_proposed");
    assert!(answer.body["key"].is_string());
}
