//! Conditions, idempotency, problem documents, and answers of paths that are not there.

use std::sync::Arc;

use axum::body::Body;
use http::Request;
use serde_json::json;
use tokio::task::JoinSet;

use super::{Node, pool};
use crate::admin::openapi;

#[tokio::test]
async fn of_clients_with_the_same_etag_exactly_one_wins() {
    let node = Arc::new(Node::new().await);
    let revision = node.put("/v1/pools/web", pool(&[1])).await;
    let mut racers = JoinSet::new();
    for port in 2..10 {
        let (node, line) = (
            node.clone(),
            format!("PUT /v1/pools/web\nif-match: \"{revision}\""),
        );
        racers.spawn(async move { node.call(&line, Some(pool(&[port]))).await.status });
    }
    let answers = racers.join_all().await;
    let won = answers.iter().filter(|status| **status == 200).count();
    let lost = answers.iter().filter(|status| **status == 412).count();
    assert_eq!((won, lost), (1, 7));
}

#[tokio::test]
async fn conditions_are_of_the_resource_not_of_the_config() {
    let node = Node::new().await;
    let web = node.put("/v1/pools/web", pool(&[1])).await;
    node.put("/v1/pools/other", pool(&[2])).await;
    let same = format!("PUT /v1/pools/web\nif-match: \"{web}\"");
    assert_eq!(node.call(&same, Some(pool(&[3]))).await.status, 200);
    let stale = node.call(&same, Some(pool(&[4]))).await;
    assert_eq!(stale.status, 412);
    assert_eq!(stale.body["expected"], web);
    let absent = "PUT /v1/pools/web\nif-none-match: *";
    assert_eq!(node.call(absent, Some(pool(&[5]))).await.status, 412);
    let present = "PUT /v1/pools/new\nif-match: *";
    assert_eq!(node.call(present, Some(pool(&[5]))).await.status, 412);
    let unquoted = format!("PUT /v1/pools/web\nif-match: {web}");
    assert_eq!(node.call(&unquoted, Some(pool(&[5]))).await.status, 400);
}

#[tokio::test]
async fn a_retry_with_its_key_is_the_same_write() {
    let node = Node::new().await;
    let line = "PUT /v1/pools/web\nidempotency-key: once";
    let first = node.call(line, Some(pool(&[1]))).await;
    node.put("/v1/pools/web", pool(&[2])).await;
    let again = node.call(line, Some(pool(&[1]))).await;
    assert_eq!(
        (again.status, &again.body["revision"]),
        (first.status, &first.body["revision"])
    );
    assert_eq!(
        node.get("/v1/pools/web").await.body["spec"]["backends"][0]["address"],
        "127.0.0.1:2"
    );
    let other = node.call(line, Some(pool(&[3]))).await;
    assert_eq!(
        (other.status.as_u16(), &other.body["key"]),
        (409, &json!("once"))
    );
    // What would be refused now was done then: the retry of a delete is no 404.
    let delete = "DELETE /v1/pools/web\nidempotency-key: gone";
    assert_eq!(node.call(delete, None).await.status, 200);
    assert_eq!(node.call(delete, None).await.status, 200);
    assert_eq!(node.call("DELETE /v1/pools/web", None).await.status, 404);
}

#[tokio::test]
async fn every_refusal_is_a_problem_with_the_revision() {
    let node = Node::new().await;
    let revision = node.put("/v1/pools/web", pool(&[1])).await.to_string();
    for (line, status) in [
        ("GET /v1/nothing", 404),
        ("GET /nothing", 404),
        ("POST /v1/pools/web", 405),
        ("DELETE /v1/config", 405),
        ("PUT /v1/pools/web\ncontent-type: text/plain", 415),
        ("PUT /v1/pools/web", 400),
        ("GET /v1/pools?limit=0", 400),
        ("GET /v1/pools/web?consistency=eventual", 400),
        ("GET /v1/pools/%FF", 400),
        ("GET /v1/pools/a%2Fb", 404),
        (
            "POST /v1/pools/web/backends/b1/drain\norigin: http://evil.example",
            403,
        ),
    ] {
        let answer = node.call(line, None).await;
        assert_eq!(answer.status.as_u16(), status, "{line}: {}", answer.body);
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{line}"
        );
        assert_eq!(answer.header("synod-revision"), revision, "{line}");
        assert_eq!(answer.body["status"], status, "{line}");
        assert!(
            answer.body["title"].is_string() && answer.body["faults"].is_array(),
            "{line}"
        );
    }
    assert!(
        node.call("POST /v1/pools/web", None)
            .await
            .header("allow")
            .contains("PATCH")
    );
}

#[tokio::test]
async fn json_that_is_none_is_told_with_its_place() {
    let node = Node::new().await;
    let request = Request::put("/v1/pools/web").header("content-type", "application/json");
    let answer = node
        .send(request.body(Body::from("{\n  \"a\" 1}")).unwrap())
        .await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["line"]),
        (400, &json!(2))
    );
    assert_eq!(answer.body["column"], 7);
    let braces = Request::put("/v1/config")
        .body(Body::from("{".repeat(10_000_000)))
        .unwrap();
    assert_eq!(node.send(braces).await.status, 413);
}

#[tokio::test]
async fn the_description_names_only_paths_and_methods_that_are_there() {
    let node = Node::new().await;
    // So that no stream goes on.
    node.shutdown.set();
    let document: serde_json::Value = serde_json::from_str(openapi::DOCUMENT).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.replace("{revision}", "1").replace(['{', '}'], "");
        for method in ["get", "put", "patch", "post", "delete"] {
            if item.get(method).is_none() {
                continue;
            }
            let answer = node
                .call(&format!("{} {path}", method.to_uppercase()), None)
                .await;
            let missing = answer.body["detail"]
                .as_str()
                .is_some_and(|why| why.contains("there is nothing at"));
            assert!(
                answer.status != 405 && !missing,
                "{method} {path}: {}",
                answer.body
            );
        }
    }
}
