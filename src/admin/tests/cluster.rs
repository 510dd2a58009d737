//! Several voters: every node answers everything, and a node that does not serve is named.

use serde_json::json;

use super::{Node, pool};
use crate::config::Name;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_takes_writes_and_reads_what_was_written_elsewhere() {
    let nodes = Node::group(&["n1", "n2", "n3"]).await;
    for (at, node) in nodes.iter().enumerate() {
        let path = format!("/v1/pools/p{at}");
        let answer = node
            .call(&format!("PUT {path}?wait=applied"), Some(pool(&[1])))
            .await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(
            answer.body["waited_for"]["applied"],
            json!(["n1", "n2", "n3"])
        );
        for other in &nodes {
            assert_eq!(other.state.cell.load().revision.0, answer.body["revision"]);
            assert_eq!(
                other.get(&path).await.body["revision"],
                answer.body["revision"]
            );
        }
    }
    let digests: Vec<_> = nodes[0].get("/v1/nodes").await.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["digest"].clone())
        .collect();
    assert!(
        digests.iter().all(|digest| *digest == digests[0]),
        "{digests:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_named_and_the_others_go_on() {
    let mut nodes = Node::group(&["n1", "n2", "n3"]).await;
    nodes[0].put("/v1/pools/web?wait=applied", pool(&[1])).await;
    drop(nodes.pop());
    let answer = nodes[0]
        .call(
            "PUT /v1/pools/web?wait=applied&timeout=4s",
            Some(pool(&[2])),
        )
        .await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["outcome"]),
        (504, &json!("committed"))
    );
    let laggards = answer.body["laggards"].as_array().unwrap();
    assert_eq!(
        (laggards.len(), &laggards[0]["name"], &laggards[0]["why"]),
        (1, &json!("n3"), &json!("unreachable"))
    );
    let read = nodes[1].get("/v1/pools/web").await;
    assert_eq!(read.body["spec"]["backends"][0]["address"], "127.0.0.1:2");
    let local = nodes[1].get("/v1/pools/web?consistency=local").await;
    assert!(
        local.header("synod-age-ms").parse::<u64>().is_ok(),
        "{:?}",
        local.headers
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_is_on_every_node() {
    let nodes = Node::group(&["n1", "n2", "n3"]).await;
    nodes[0].put("/v1/pools/web?wait=applied", pool(&[1])).await;
    let (pool, id) = (Name::new("web").unwrap(), Name::new("b1").unwrap());
    let request = nodes[2]
        .state
        .registry
        .backends(&pool, &id)
        .pop()
        .unwrap()
        .begin();
    let drain = "POST /v1/pools/web/backends/b1/drain?wait=empty&timeout=1s";
    let busy = nodes[0].call(drain, None).await;
    assert_eq!(busy.status, 504, "{}", busy.body);
    assert_eq!(
        (&busy.body["node"], &busy.body["in_flight"]),
        (&json!("n3"), &json!(1))
    );
    drop(request);
    let empty = nodes[0].call(drain, None).await;
    assert_eq!(empty.status, 200, "{}", empty.body);
    assert_eq!(empty.body["waited_for"]["empty"], json!(["n1", "n2", "n3"]));
    assert_eq!(empty.header("synod-node"), "n1");
}
