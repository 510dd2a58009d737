//! The history: who, when, why, what; and the way back.

use serde_json::{Value, json};

use super::{Node, pool};

#[tokio::test]
async fn each_change_is_kept_with_author_time_comment_and_difference() {
    let node = Node::new().await;
    let first = node.put("/v1/pools/web", pool(&[1])).await;
    let why = "PATCH /v1/pools/web\nsynod-comment: try the other one";
    let second = node
        .call(why, Some(json!({"balance": "least_connections"})))
        .await
        .body["revision"]
        .as_u64()
        .unwrap();
    node.put(
        "/v1/pools/web",
        node.get("/v1/pools/web").await.body["spec"].clone(),
    )
    .await;
    let list = node.get("/v1/revisions").await.body;
    let items = list["items"].as_array().unwrap();
    let revisions: Vec<u64> = items
        .iter()
        .map(|item| item["revision"].as_u64().unwrap())
        .collect();
    assert_eq!(revisions, [second, first]);
    assert_eq!(
        (&items[0]["comment"], &items[0]["author"]),
        (&json!("try the other one"), &json!("anonymous"))
    );
    let time: jiff::Timestamp = items[0]["time"].as_str().unwrap().parse().unwrap();
    assert!((jiff::Timestamp::now() - time).get_hours() == 0);
    assert_eq!(items[0]["digest"].as_str().unwrap().len(), 64);
    assert_eq!(items[0]["changed"], json!(["/pools/web"]));
    let diff = node.get(&format!("/v1/revisions/{second}/diff")).await.body;
    assert_eq!(
        diff["items"],
        json!([{"path": "/pools/web/balance", "before": "round_robin", "after": "least_connections"}])
    );
    let then = node.get(&format!("/v1/revisions/{first}")).await.body;
    assert_eq!(then["config"]["pools"][0]["balance"], "round_robin");
    let page = node.get("/v1/revisions?limit=1").await.body;
    assert_eq!(page["next"], second.to_string());
    let page = node
        .get(&format!("/v1/revisions?limit=1&after={second}"))
        .await
        .body;
    assert_eq!(
        (&page["items"][0]["revision"], &page["next"]),
        (&json!(first), &json!(null))
    );
    assert_eq!(node.get("/v1/revisions/999").await.status, 404);
    assert_eq!(node.get("/v1/revisions/x/diff").await.status, 404);
}

#[tokio::test]
async fn a_rollback_is_a_new_revision_with_the_old_content() {
    let node = Node::new().await;
    let first = node.put("/v1/pools/web", pool(&[1])).await;
    let then = node.get("/v1/config").await.body;
    node.put("/v1/pools/web", pool(&[2])).await;
    node.put("/v1/pools/more", pool(&[3])).await;
    let back = node
        .call(
            "POST /v1/rollback?wait=applied",
            Some(json!({"revision": first})),
        )
        .await;
    assert_eq!(back.status, 200, "{}", back.body);
    assert_eq!(node.get("/v1/config").await.body, then);
    let newest = node.get("/v1/revisions?limit=1").await.body["items"][0].clone();
    assert_eq!(newest["revision"], back.body["revision"]);
    assert_eq!(newest["comment"], format!("rollback to {first}"));
}

/// As in an incident, while something else goes on changing other pools.
#[tokio::test]
async fn a_rollback_of_some_resources_leaves_all_others_as_they_are() {
    let node = Node::new().await;
    let pool = |name: &str, weight: u32| json!({"name": name, "backends": [{"id": "a", "address": "127.0.0.1:1", "weight": weight}]});
    node.put("/v1/pools/web", pool("web", 1)).await;
    let good = node.put("/v1/pools/scaled", pool("scaled", 1)).await;
    node.put("/v1/pools/web", pool("web", 2)).await;
    node.put("/v1/pools/new", pool("new", 1)).await;
    node.put("/v1/pools/scaled", pool("scaled", 9)).await;
    let back = |only: Value| json!({"revision": good, "only": only});
    let only = back(json!(["/pools/web", "/pools/new"]));
    let done = node.call("POST /v1/rollback", Some(only)).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let weight = async |name: &str| {
        let answer = node.get(&format!("/v1/pools/{name}")).await;
        answer.body["spec"]["backends"][0]["weight"].as_u64()
    };
    assert_eq!(weight("web").await, Some(1));
    assert_eq!(weight("scaled").await, Some(9));
    assert_eq!(weight("new").await, None, "it was not there then");
    let newest = &node.get("/v1/revisions?limit=1").await.body["items"][0];
    assert_eq!(newest["changed"], json!(["/pools/new", "/pools/web"]));
    let comment = format!("rollback of /pools/web, /pools/new to {good}");
    assert_eq!(newest["comment"], comment);
    for (only, at) in [
        (json!([]), "/only"),
        (json!("/pools/web"), "/only"),
        (json!(["/pools/web", "/pools/none"]), "/only/1"),
        (json!(["/config"]), "/only/0"),
        (json!(["/pools/web/backends/a"]), "/only/0"),
        (json!(["pools/web"]), "/only/0"),
    ] {
        let refused = node
            .call("POST /v1/rollback", Some(back(only.clone())))
            .await;
        assert_eq!(refused.status, 422, "{only}: {}", refused.body);
        assert_eq!(refused.pointers(), [at], "{only}");
    }
}
