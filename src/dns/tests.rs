//! Names that are resolved, change, fail, and go.

use std::collections::HashMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::*;
use crate::backend::{Registry, Target};
use crate::config::{Revision, spec};
use crate::routing::compile;
use crate::routing::publish::Publisher;

type Answer = Result<(Vec<IpAddr>, Duration), String>;

/// Answers as it was last told to.
#[derive(Clone, Default)]
struct Scripted {
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    asked: watch::Sender<usize>,
}

impl Lookup for Scripted {
    async fn lookup(&self, host: &str) -> Answer {
        let answer = self.answers.lock().unwrap().get(host).cloned();
        self.asked.send_modify(|asked| *asked += 1);
        answer.unwrap_or_else(|| Err("no such name".into()))
    }
}

impl Scripted {
    fn answer(&self, host: &str, addresses: &[&str], holds: u64) {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let answer = Ok((addresses, Duration::from_secs(holds)));
        self.answers.lock().unwrap().insert(host.into(), answer);
    }

    fn fail(&self, host: &str) {
        let answer = Err("refused".into());
        self.answers.lock().unwrap().insert(host.into(), answer);
    }

    async fn asked_again(&self, times: usize) {
        let mut asked = self.asked.subscribe();
        let until = *asked.borrow() + times;
        asked.wait_for(|asked| *asked >= until).await.unwrap();
    }
}

const QUICK: Pace = Pace {
    soonest: Duration::from_millis(5),
    latest: Duration::from_millis(20),
    first_retry: Duration::from_millis(5),
    last_retry: Duration::from_millis(20),
};

struct Node {
    publisher: Publisher,
    lookup: Scripted,
    _running: AbortOnDropHandle<()>,
}

impl Node {
    fn start(config: &Value) -> Self {
        Self::at(QUICK, config)
    }

    fn at(pace: Pace, config: &Value) -> Self {
        let publisher = Publisher {
            cell: Arc::new(SnapshotCell::new()),
            registry: Arc::new(Registry::scratch()),
        };
        let lookup = Scripted::default();
        let running = tokio::spawn(follow(publisher.cell.clone(), lookup.clone(), pace));
        let node = Self {
            publisher,
            lookup,
            _running: AbortOnDropHandle::new(running),
        };
        node.publish(1, config);
        node
    }

    fn publish(&self, revision: u64, config: &Value) {
        let mut config = spec::parse_config(config).unwrap();
        config.revision = Revision(revision);
        let snapshot = compile(&config, &self.publisher.registry, None).unwrap();
        self.publisher.activate(snapshot);
    }

    fn backend(&self, pool: &str, index: usize) -> Arc<Backend> {
        let snapshot = self.publisher.cell.load();
        snapshot.pool(pool).unwrap().members()[index]
            .backend
            .clone()
    }
}

fn pools(addresses: &[&str]) -> Value {
    let backends: Vec<Value> = (0..)
        .zip(addresses)
        .map(|(i, address)| json!({"id": format!("b{i}"), "address": address}))
        .collect();
    json!({"pools": [{"name": "web", "backends": backends}], "routes": []})
}

async fn targets(backend: &Backend, n: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..n {
        match backend.target().await.expect("an address") {
            Target::Tcp(address) => all.push(address.to_string()),
            Target::Unix(path) => all.push(path.to_owned()),
        }
    }
    all
}

#[tokio::test]
async fn several_addresses_take_turns() {
    let node = Node::start(&pools(&["app.example:80"]));
    node.lookup.answer(
        "app.example",
        &["10.0.0.3", "10.0.0.1", "::1", "10.0.0.1"],
        60,
    );
    let backend = node.backend("web", 0);
    let expected = ["10.0.0.1:80", "10.0.0.3:80", "[::1]:80", "10.0.0.1:80"];
    assert_eq!(targets(&backend, 4).await, expected);
}

#[tokio::test]
async fn it_is_asked_again_when_the_answer_expires_within_bounds() {
    for (pace, holds) in [(QUICK, 0), (QUICK, 86_400)] {
        let node = Node::at(pace, &pools(&["app.example:80"]));
        node.lookup.answer("app.example", &["10.0.0.1"], holds);
        node.lookup.asked_again(1).await;
        let began = Instant::now();
        node.lookup.answer("app.example", &["10.0.0.2"], holds);
        node.lookup.asked_again(2).await;
        let bound = if holds == 0 {
            pace.soonest
        } else {
            pace.latest
        };
        assert!(began.elapsed() >= bound / 2, "{holds}");
        assert_eq!(targets(&node.backend("web", 0), 1).await, ["10.0.0.2:80"]);
    }
}

#[tokio::test]
async fn a_failed_lookup_keeps_the_last_answer() {
    let node = Node::start(&pools(&["app.example:80"]));
    node.lookup.answer("app.example", &["10.0.0.1"], 1);
    node.lookup.asked_again(1).await;
    let backend = node.backend("web", 0);
    node.lookup.fail("app.example");
    node.lookup.asked_again(3).await;
    assert_eq!(targets(&backend, 1).await, ["10.0.0.1:80"]);
    node.lookup.answer("app.example", &[], 1);
    node.lookup.asked_again(1).await;
    assert_eq!(targets(&backend, 1).await, ["10.0.0.1:80"]);
    node.lookup.answer("app.example", &["10.0.0.2"], 1);
    node.lookup.asked_again(1).await;
    assert_eq!(targets(&backend, 1).await, ["10.0.0.2:80"]);
}

#[tokio::test]
async fn who_connects_before_the_first_answer_waits_for_it() {
    // Of current thread alone: nothing is asked before this waits.
    let node = Node::start(&pools(&["app.example:80"]));
    let backend = node.backend("web", 0);
    assert!(backend.is_unresolved());
    node.lookup.answer("app.example", &["10.0.0.1"], 60);
    assert_eq!(targets(&backend, 1).await, ["10.0.0.1:80"]);
}

#[tokio::test]
async fn who_connects_after_a_failed_lookup_is_told_at_once_until_one_succeeds() {
    let node = Node::start(&pools(&["app.example:80"]));
    let backend = node.backend("web", 0);
    for _ in 0..3 {
        assert_eq!(backend.target().await, None);
    }
    node.lookup.answer("app.example", &["10.0.0.1"], 60);
    node.lookup.asked_again(1).await;
    while backend.is_unresolved() {
        tokio::task::yield_now().await;
    }
    assert_eq!(targets(&backend, 1).await, ["10.0.0.1:80"]);
}

#[tokio::test]
async fn backends_of_one_name_share_its_lookups_and_newcomers_its_answer() {
    let node = Node::at(PACE, &pools(&["app.example:80"]));
    node.lookup.answer("app.example", &["10.0.0.1"], 300);
    node.lookup.asked_again(1).await;
    node.publish(
        2,
        &pools(&["app.example:80", "app.example:81", "10.0.0.9:80"]),
    );
    assert_eq!(targets(&node.backend("web", 1), 1).await, ["10.0.0.1:81"]);
    assert_eq!(targets(&node.backend("web", 2), 1).await, ["10.0.0.9:80"]);
    assert_eq!(*node.lookup.asked.borrow(), 1);
}

#[tokio::test]
async fn a_name_that_nobody_has_any_more_is_asked_for_no_more() {
    let node = Node::start(&pools(&["app.example:80"]));
    node.lookup.answer("app.example", &["10.0.0.1"], 1);
    node.lookup.asked_again(2).await;
    let tasks = || Arc::strong_count(&node.lookup.answers);
    assert_eq!(
        tasks(),
        3,
        "the node's, the follower's, and that of the name"
    );
    node.publish(2, &pools(&["10.0.0.9:80"]));
    let ended = async {
        while tasks() > 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_system_knows_localhost() {
    let (addresses, _) = System::read().lookup("localhost").await.unwrap();
    assert!(addresses.iter().all(IpAddr::is_loopback) && !addresses.is_empty());
}
