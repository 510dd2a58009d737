//! Sessions and locks through the API, at one node and at three.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, Node};

impl Node {
    async fn open(&self, lease: &str) -> u64 {
        let answer = self
            .call("POST /v1/sessions", Some(json!({ "lease": lease })))
            .await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body["session"].as_u64().unwrap()
    }

    async fn acquire(&self, query: &str, body: Value) -> Answer {
        let line = format!("POST /v1/locks/deploy/acquire{query}");
        self.call(&line, Some(body)).await
    }

    async fn release(&self, session: u64) -> Answer {
        let body = json!({ "session": session });
        self.call("POST /v1/locks/deploy/release", Some(body)).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_goes_from_one_to_the_next_and_its_tokens_rise() {
    let node = Node::without_data_plane().await;
    let (a, b) = (node.open("1h").await, node.open("1h").await);
    let held = node
        .acquire("", json!({"session": a, "content": "deploy of web"}))
        .await;
    assert_eq!(held.status, 200, "{}", held.body);
    let first = held.body["token"].as_u64().unwrap();

    let busy = node.acquire("", json!({ "session": b })).await;
    assert_eq!(busy.status, 409, "{}", busy.body);
    assert_eq!(busy.body["type"], "urn:synod:problem:lock-held");
    assert_eq!(busy.body["holders"][0]["content"], "deploy of web");

    let queued = node
        .acquire("?timeout=10ms", json!({"session": b, "wait": "1h"}))
        .await;
    assert_eq!(
        (queued.status, &queued.body["ahead"]),
        (StatusCode::ACCEPTED, &json!(0))
    );
    let ticket = queued.body["ticket"].clone();
    let resumed = json!({"session": b, "wait": "1h", "ticket": ticket});
    let (next, released) = tokio::join!(node.acquire("", resumed), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        node.release(a).await
    });
    assert_eq!(
        (released.status, next.status),
        (StatusCode::OK, StatusCode::OK)
    );
    assert!(next.body["token"].as_u64().unwrap() > first);

    let check = node
        .get(&format!("/v1/locks/deploy/check?token={first}"))
        .await;
    assert_eq!(
        (&check.body["good"], &check.body["why"]),
        (&json!(false), &json!("older than the newest grant"))
    );
    let lock = node.get("/v1/locks/deploy").await.body;
    assert_eq!(lock["holders"][0]["session"], b);
    let metrics = node.get("/metrics").await.body;
    for line in [
        "synod_sessions_open 2",
        "synod_sessions_expired_total 0",
        "synod_locks_held 1",
        "synod_locks_holders 1",
        "synod_locks_waiting 0",
        "synod_locks_granted_total 2",
    ] {
        let text = metrics.as_str().unwrap();
        assert!(text.lines().any(|it| it == line), "no {line} in {text}");
    }
    let closed = node.call(&format!("DELETE /v1/sessions/{b}"), None).await;
    assert_eq!(closed.body["released"], 1);
    let gone = node.call(&format!("DELETE /v1/sessions/{b}"), None).await;
    assert_eq!(gone.body["type"], "urn:synod:problem:session-ended");
    assert_eq!(
        node.get("/v1/locks").await.body["items"][0]["name"],
        "deploy"
    );
    let sessions = node.get("/v1/sessions").await.body;
    assert_eq!(sessions["items"][0]["session"], a);
    let applied = node.state.replication.inspect(|machine| machine.applied());
    assert_eq!(sessions["slot"], applied, "where a watch goes on from");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_wrongly_is_refused_with_all_that_is_wrong() {
    let node = Node::without_data_plane().await;
    let bad = json!({"mode": "both", "wait": "2d", "lock_delay": 3, "colour": "red"});
    let answer = node.acquire("", bad).await;
    assert_eq!(answer.status, 422);
    assert_eq!(
        answer.pointers(),
        ["/session", "/mode", "/wait", "/lock_delay", "/colour"]
    );
    let short = node
        .call("POST /v1/sessions", Some(json!({"lease": "1s"})))
        .await;
    assert_eq!(
        (short.status.as_u16(), short.pointers()),
        (422, vec!["/lease"])
    );
    let nobody = node.acquire("", json!({"session": 77})).await;
    assert_eq!(
        (nobody.status.as_u16(), &nobody.body["session"]),
        (410, &json!(77))
    );
    assert_eq!(node.get("/v1/locks/deploy").await.status, 404);
    assert_eq!(node.get("/v1/locks/deploy/check").await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_under_its_key_is_the_same_claim() {
    let node = Node::without_data_plane().await;
    let session = node.open("1h").await;
    let retry = "POST /v1/locks/deploy/acquire\nidempotency-key: once";
    let body = json!({ "session": session });
    let first = node.call(retry, Some(body.clone())).await;
    let second = node.call(retry, Some(body.clone())).await;
    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(second.body["token"], first.body["token"]);
    node.release(session).await;
    let late = node.call(retry, Some(body)).await;
    assert_eq!(late.status, 409, "it is not held any more: {}", late.body);
    let lock = node.get("/v1/locks/deploy").await.body;
    assert_eq!(lock["holders"], json!([]), "the retry claimed nothing anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_keeps_alive_grants_and_ends_waits() {
    let nodes = Node::group(&["n1", "n2", "n3"]).await;
    let (a, b) = (nodes[0].open("1h").await, nodes[1].open("2s").await);
    let held = nodes[1].acquire("", json!({ "session": a })).await;
    assert_eq!(held.status, 200, "{}", held.body);
    let waits = json!({"session": b, "wait": "100ms"});
    for node in &nodes {
        let body = json!({"sessions": [a, b, 99]});
        let kept = node.call("POST /v1/sessions/keep-alive", Some(body)).await;
        let items = json!([
            {"session": a, "lease_ms": 3_600_000},
            {"session": b, "lease_ms": 2_000},
            {"session": 99, "lease_ms": null},
        ]);
        assert_eq!(kept.body["items"], items);
    }
    let vain = nodes[2].acquire("", waits).await;
    // Its session may end first on a machine that is slow.
    assert!(matches!(vain.status.as_u16(), 504 | 410), "{}", vain.body);
}
