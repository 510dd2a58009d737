//! The stream of what happens: whole, in order, at any node, from anywhere.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::super::watch::WATCHERS;
use super::{Node, pool};
use crate::config::limits;

/// Far beyond what any event takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A stream as its reader has it.
struct Watcher {
    status: StatusCode,
    body: BodyDataStream,
    text: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Event {
    id: Option<u64>,
    kind: String,
    data: Value,
}

impl Node {
    async fn watch(&self, query: &str) -> Watcher {
        let request = Request::get(format!("/v1/watch{query}"));
        self.watch_with(request.body(Body::empty()).unwrap()).await
    }

    async fn watch_with(&self, request: Request<Body>) -> Watcher {
        let response = self.router.clone().oneshot(request).await.unwrap();
        Watcher {
            status: response.status(),
            body: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.call(&format!("POST {path}"), Some(body)).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.body);
        answer.body
    }

    async fn session(&self) -> u64 {
        let opened = self.post("/v1/sessions", json!({"lease": "1h"})).await;
        opened["session"].as_u64().unwrap()
    }
}

impl Watcher {
    /// One block of the stream as its lines have it; `None` at its end.
    async fn block(&mut self) -> Option<Event> {
        while !self.text.contains("\n\n") {
            let more = timeout(DEADLINE, self.body.next()).await.unwrap()?;
            self.text
                .push_str(std::str::from_utf8(&more.unwrap()).unwrap());
        }
        let (block, rest) = self.text.split_once("\n\n").unwrap();
        let field = |name: &str| {
            let mut lines = block.lines().filter_map(|line| line.strip_prefix(name));
            lines.next().map(str::to_owned)
        };
        let event = Event {
            id: field("id: ").map(|id| id.parse().unwrap()),
            kind: field("event: ").unwrap_or_default(),
            data: field("data: ").map_or(Value::Null, |data| serde_json::from_str(&data).unwrap()),
        };
        self.text = rest.to_owned();
        Some(event)
    }

    /// The next event; ids alone are passed over.
    async fn next(&mut self) -> Event {
        loop {
            let event = self.block().await.expect("the stream goes on");
            if !event.kind.is_empty() {
                return event;
            }
        }
    }

    async fn until(&mut self, id: u64) -> Vec<Event> {
        let mut events = vec![self.next().await];
        while events.last().unwrap().id.unwrap() < id {
            events.push(self.next().await);
        }
        events
    }
}

fn names(event: &Event) -> Vec<&str> {
    let events = event.data["events"].as_array().unwrap();
    let names = events.iter().map(|event| event["event"].as_str().unwrap());
    names.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_tells_who_changed_what_and_who_holds_a_lock() {
    let node = Node::without_data_plane().await;
    let mut all = node.watch("").await;
    let here = all.block().await.unwrap();
    let first = node
        .call(
            "PUT /v1/pools/web\nsynod-comment: a first one",
            Some(pool(&[1])),
        )
        .await;
    assert_eq!(first.status, 201, "{}", first.body);
    let event = all.next().await;
    assert_eq!(event.kind, "config");
    assert_eq!(event.id, first.body["revision"].as_u64());
    assert!(event.id > here.id, "the first id is where the stream began");
    assert_eq!(event.data["comment"], "a first one");
    assert_eq!(event.data["author"], "anonymous");
    assert_eq!(event.data["changes"][0]["path"], "/pools/web");

    let (a, b) = (node.session().await, node.session().await);
    let acquire = "/v1/locks/deploy/acquire";
    let held = node.post(acquire, json!({ "session": a })).await;
    let waits = json!({"session": b, "wait": "1h"});
    node.post(&format!("{acquire}?timeout=1ms"), waits).await;
    let closed = node.call(&format!("DELETE /v1/sessions/{a}"), None).await;
    assert_eq!(closed.status, 200);
    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(all.next().await);
    }
    let names: Vec<_> = told.iter().map(names).collect();
    assert_eq!(
        names,
        [
            &["opened"][..],
            &["opened"],
            &["granted"],
            &["waiting"],
            &["closed", "released", "granted"],
        ]
    );
    assert_eq!(
        told[2].data["events"][0],
        json!({"event": "granted", "lock": "deploy", "session": a, "mode": "exclusive", "token": held["token"]})
    );
    assert_eq!(told[4].data["events"][2]["session"], b);
    assert_eq!(told[4].data["events"][2]["token"], json!(told[4].id));

    let mut config = node.watch("?since=0&kind=config").await;
    assert_eq!(config.next().await, event);
    let mut lock = node.watch("?since=0&lock=deploy").await;
    assert_eq!(lock.next().await, told[2]);
    let mut other = node.watch("?since=0&lock=other").await;
    other.block().await.unwrap();
    node.put("/v1/pools/web", pool(&[2])).await;
    let c = node.session().await;
    node.post("/v1/locks/other/acquire", json!({ "session": c }))
        .await;
    assert_eq!(other.next().await.data["events"][0]["lock"], "other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_goes_on_at_any_node_with_nothing_left_out_or_told_twice() {
    let nodes = Node::group(&["n1", "n2", "n3"]).await;
    let writes = async {
        for port in 1..40 {
            nodes[0].put("/v1/pools/web", pool(&[port])).await;
        }
        nodes[0].put("/v1/pools/last", pool(&[1])).await
    };
    let locks = async {
        for _ in 0..20 {
            let session = nodes[1].session().await;
            let body = json!({ "session": session });
            nodes[1].post("/v1/locks/deploy/acquire", body).await;
            let line = format!("DELETE /v1/sessions/{session}");
            nodes[2].call(&line, None).await;
        }
    };
    let hops = async {
        let mut told: Vec<Event> = Vec::new();
        for hop in 0.. {
            let at = told.last().map_or(0, |last| last.id.unwrap());
            // The query stays what it was; the header is newer.
            let request = Request::get("/v1/watch?since=0").header("last-event-id", at);
            let request = request.body(Body::empty()).unwrap();
            let mut watcher = nodes[hop % 3].watch_with(request).await;
            for _ in 0..=hop % 4 {
                told.push(watcher.next().await);
                if told.last().unwrap().data["changes"][0]["path"] == "/pools/last" {
                    return told;
                }
            }
        }
        told
    };
    let (last, (), hopped) = tokio::join!(writes, locks, hops);
    for node in &nodes {
        let mut whole = node.watch("?since=0").await.until(last).await;
        whole.truncate(hopped.len());
        assert_eq!(whole, hopped);
        let ids: Vec<_> = whole.iter().map(|event| event.id.unwrap()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        let config = whole.iter().filter(|event| event.kind == "config");
        assert_eq!(config.count(), 40);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_kept_or_never_was_is_refused() {
    let node = Node::without_data_plane().await;
    let mut slow = node.watch("?kind=locks").await;
    let begun = slow.block().await.unwrap().id.unwrap();
    let future = node.get("/v1/watch?since=123456").await;
    assert_eq!(
        (future.status.as_u16(), future.pointers()),
        (422, vec!["?since"])
    );
    for wrong in [
        "?since=-1",
        "?since=x",
        "?kind=pools",
        "?lock=a%20b",
        "?lock=a&kind=config",
        "?from=1",
    ] {
        let answer = node.get(&format!("/v1/watch{wrong}")).await;
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.body);
    }
    let header = "GET /v1/watch\nlast-event-id: x";
    assert_eq!(node.call(header, None).await.status, 400);

    let session = |_| async {
        let session = node.session().await;
        node.call(&format!("DELETE /v1/sessions/{session}"), None)
            .await
    };
    let many = futures_util::stream::iter(0..limits::LOCK_EVENTS / 2 + 2);
    let ended = many.map(session).buffer_unordered(256);
    ended
        .for_each(|ended| async move { assert_eq!(ended.status, 200) })
        .await;
    let gone = node.get(&format!("/v1/watch?since={begun}")).await;
    assert_eq!(gone.status, 410, "{}", gone.body);
    let oldest = gone.body["oldest"].as_u64().unwrap();
    let mut rest = node.watch(&format!("?since={oldest}")).await;
    assert!(rest.next().await.id.unwrap() > oldest);
    assert_eq!(slow.next().await.kind, "compacted", "it is told so");
    assert_eq!(slow.block().await, None);
    let config = node.watch(&format!("?since={begun}&kind=config")).await;
    assert_eq!(config.status, 200, "of the config all is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_so_many_watchers_and_a_node_that_ends_lets_them_go() {
    let node = Node::without_data_plane().await;
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        watchers.push(node.watch("").await);
    }
    let one_more = node.get("/v1/watch").await;
    assert_eq!(one_more.status, 503);
    assert_eq!(one_more.body["type"], "urn:synod:problem:crowded");
    assert!(!one_more.header("retry-after").is_empty());
    watchers.pop();
    let mut last = node.watch("").await;
    assert_eq!(last.status, 200);
    last.block().await.unwrap();
    node.shutdown.set();
    assert_eq!(last.block().await, None);
}
