//! Changes: what each answers, and that nothing is changed by what is refused.

use serde_json::json;

use super::{Node, pool, route};

#[tokio::test]
async fn a_put_creates_then_updates_then_changes_nothing() {
    let node = Node::new().await;
    let created = node.call("PUT /v1/pools/web", Some(pool(&[1]))).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let revision = created.body["revision"].as_u64().unwrap();
    assert_eq!(created.header("etag"), format!("\"{revision}\""));
    assert_eq!(created.header("synod-revision"), revision.to_string());
    assert_eq!(created.header("location"), "/v1/pools/web");
    let updated = node.call("PUT /v1/pools/web", Some(pool(&[1, 2]))).await;
    assert_eq!(
        (updated.status.as_u16(), &updated.body["effect"]),
        (200, &json!("updated"))
    );
    let same = node.call("PUT /v1/pools/web", Some(pool(&[1, 2]))).await;
    assert_eq!(
        (same.status.as_u16(), &same.body["changed"]),
        (200, &json!(false))
    );
    assert_eq!(same.body["revision"], updated.body["revision"]);
    assert_eq!(same.header("etag"), updated.header("etag"));
    let read = node.get("/v1/pools/web").await;
    assert_eq!(read.body["spec"]["backends"][1]["address"], "127.0.0.1:2");
    assert_eq!(read.header("etag"), updated.header("etag"));
}

#[tokio::test]
async fn refusals_have_their_status_name_all_faults_and_change_nothing() {
    let node = Node::new().await;
    node.put("/v1/pools/web", pool(&[1])).await;
    let revision = node.put("/v1/routes/shop", route("web")).await;
    let wrong = json!({"backends": [{"id": "b1", "address": "127.0.0.1:1", "weight": -1}], "colour": "red"});
    let table = [
        (
            "PUT /v1/pools/web",
            Some(wrong),
            422,
            vec!["/backends/0/weight", "/colour"],
        ),
        (
            "PUT /v1/routes/shop",
            Some(route("gone")),
            422,
            vec!["/to/0/pool"],
        ),
        ("PUT /v1/pools/-", Some(pool(&[])), 422, vec!["/name"]),
        (
            "PUT /v1/pools/web",
            Some(json!({"name": "other"})),
            422,
            vec!["/name"],
        ),
        ("PATCH /v1/pools/gone", Some(json!({})), 404, vec![]),
        (
            "PATCH /v1/pools/web/backends/gone",
            Some(json!({})),
            404,
            vec![],
        ),
        ("DELETE /v1/pools/gone", None, 404, vec![]),
        ("DELETE /v1/pools/web", None, 409, vec![]),
        ("POST /v1/pools/web/backends/gone/drain", None, 404, vec![]),
        (
            "PUT /v1/pools/web?dryrun=true",
            Some(pool(&[])),
            400,
            vec!["?dryrun"],
        ),
        (
            "PUT /v1/pools/web?wait=empty",
            Some(pool(&[])),
            400,
            vec!["?wait"],
        ),
        (
            "POST /v1/pools/web/backends/b1/ready?wait=empty",
            None,
            400,
            vec!["?wait"],
        ),
        (
            "POST /v1/transactions",
            Some(json!([{"op": "put", "path": "/pools/a"}, {"op": "x"}])),
            422,
            vec!["/0/value", "/1/op", "/1/path"],
        ),
        (
            "POST /v1/transactions\nif-match: \"1\"",
            Some(json!([])),
            400,
            vec![],
        ),
        (
            "POST /v1/rollback",
            Some(json!({"revision": "x"})),
            422,
            vec!["/revision"],
        ),
        (
            "POST /v1/rollback",
            Some(json!({"revision": 999})),
            404,
            vec![],
        ),
    ];
    for (line, body, status, pointers) in table {
        let answer = node.call(line, body).await;
        assert_eq!(answer.status.as_u16(), status, "{line}: {}", answer.body);
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{line}"
        );
        assert_eq!(answer.body["status"], status, "{line}");
        let mut found = answer.pointers();
        found.sort_unstable();
        assert_eq!(found, pointers, "{line}: {}", answer.body);
    }
    assert_eq!(
        node.get("/v1/config").await.header("etag"),
        format!("\"{revision}\"")
    );
}

#[tokio::test]
async fn what_is_referred_to_is_kept_and_the_answer_says_by_whom() {
    let node = Node::new().await;
    node.put("/v1/pools/web", pool(&[1])).await;
    node.put("/v1/routes/shop", route("web")).await;
    let refused = node.call("DELETE /v1/pools/web", None).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["by"]),
        (409, &json!(["/routes/shop"]))
    );
    let both =
        json!([{"op": "delete", "path": "/routes/shop"}, {"op": "delete", "path": "/pools/web"}]);
    let done = node.call("POST /v1/transactions", Some(both)).await;
    assert_eq!(
        (done.status.as_u16(), &done.body["effects"]),
        (200, &json!(["deleted", "deleted"]))
    );
    assert_eq!(
        node.get("/v1/config").await.body,
        json!({"pools": [], "routes": []})
    );
}

#[tokio::test]
async fn a_transaction_is_one_revision_or_nothing() {
    let node = Node::new().await;
    let both = json!([
        {"op": "put", "path": "/pools/web", "value": pool(&[1])},
        {"op": "put", "path": "/routes/shop", "value": route("web")},
    ]);
    let revision = node.call("POST /v1/transactions", Some(both)).await.body["revision"].clone();
    assert_eq!(node.get("/v1/pools/web").await.body["revision"], revision);
    assert_eq!(node.get("/v1/routes/shop").await.body["revision"], revision);
    let torn = json!([
        {"op": "put", "path": "/pools/more", "value": pool(&[2])},
        {"op": "put", "path": "/routes/shop", "value": route("gone")},
    ]);
    let refused = node.call("POST /v1/transactions", Some(torn)).await;
    assert_eq!(
        (refused.status.as_u16(), refused.pointers()),
        (422, vec!["/1/value/to/0/pool"])
    );
    assert_eq!(node.get("/v1/pools/more").await.status, 404);
}

#[tokio::test]
async fn a_backend_is_patched_and_set_to_a_state_alone() {
    let node = Node::new().await;
    node.put("/v1/pools/web", pool(&[1, 2])).await;
    let path = "/v1/pools/web/backends/b2";
    assert_eq!(
        node.call(&format!("PATCH {path}"), Some(json!({"weight": 7})))
            .await
            .status,
        200
    );
    assert_eq!(
        node.call(&format!("POST {path}/drain"), None).await.status,
        200
    );
    let spec = node.get(path).await.body["spec"].clone();
    assert_eq!(
        (&spec["weight"], &spec["state"]),
        (&json!(7), &json!("drain"))
    );
    assert_eq!(
        node.call(&format!("POST {path}/ready"), None).await.body["effect"],
        "updated"
    );
    let b1 = node.get("/v1/pools/web/backends/b1").await;
    assert!(b1.body["revision"].as_u64() < node.get(path).await.body["revision"].as_u64());
}

#[tokio::test]
async fn a_dry_run_answers_the_difference_and_makes_none() {
    let node = Node::new().await;
    let revision = node.put("/v1/pools/web", pool(&[1])).await;
    let answer = node
        .call(
            "PATCH /v1/pools/web?dry_run=true",
            Some(json!({"balance": "least_connections"})),
        )
        .await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["dry_run"]),
        (200, &json!(true))
    );
    assert_eq!(
        answer.body["diff"],
        json!([{"path": "/pools/web/balance", "before": "round_robin", "after": "least_connections"}])
    );
    assert_eq!(node.get("/v1/pools/web").await.body["revision"], revision);
    let refused = node.call("DELETE /v1/pools/gone?dry_run=true", None).await;
    assert_eq!(refused.status, 404);
}

#[tokio::test]
async fn what_no_node_could_serve_is_refused_at_its_place() {
    let node = Node::new().await;
    let mut spec = pool(&[1]);
    spec["tls"] = json!({"ca": "nowhere"});
    let mut web = spec.clone();
    web["name"] = json!("web");
    let config = json!({"pools": [{"name": "a", "backends": []}, web], "routes": []});
    let patch = json!({"pools": {"web": spec}});
    let list = json!([
        {"op": "put", "path": "/pools/a", "value": {"backends": []}},
        {"op": "put", "path": "/pools/web", "value": spec},
    ]);
    for (line, body, pointer) in [
        ("PUT /v1/pools/web", spec, "/tls"),
        ("PUT /v1/config", config, "/pools/1/tls"),
        ("PATCH /v1/config", patch, "/pools/web/tls"),
        ("POST /v1/transactions", list, "/1/value/tls"),
    ] {
        let answer = node.call(line, Some(body)).await;
        assert_eq!(answer.status, 422, "{line}: {}", answer.body);
        assert_eq!(answer.pointers(), [pointer], "{line}");
    }
}
