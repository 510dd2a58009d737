//! Checks over real sockets, followed through picks: what is down gets nothing, and nothing is forgotten.

mod backups;

mod ejection;

mod warming;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::backend::{Health as Held, Registry};
use crate::config::{Config, Operation, ResourcePath, Revision, Transaction};
use crate::routing::compile;
use crate::routing::publish::Publisher;

/// A backend that answers what it is told to; with `None`, not before it is told.
struct Server {
    address: SocketAddr,
    status: watch::Sender<Option<u16>>,
    _accepting: AbortOnDropHandle<()>,
}

impl Server {
    async fn start(status: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (status, told) = watch::channel(status);
        Self {
            address: listener.local_addr().unwrap(),
            status,
            _accepting: AbortOnDropHandle::new(tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(answer(stream, told.clone()));
                }
            })),
        }
    }

    fn say(&self, status: impl Into<Option<u16>>) {
        self.status.send_replace(status.into());
    }
}

async fn answer(mut stream: TcpStream, mut told: watch::Receiver<Option<u16>>) {
    let mut request = [0; 1024];
    let Ok(1..) = stream.read(&mut request).await else {
        return;
    };
    let Ok(status) = told.wait_for(Option::is_some).await.map(|status| *status) else {
        return;
    };
    let status = status.unwrap_or_default();
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// A pool `web` under checks, as a node has it.
struct Scene {
    publisher: Publisher,
    spec: Value,
    revision: u64,
    _checking: [AbortOnDropHandle<()>; 3],
}

impl Scene {
    /// Backends `a`, `b`, ... at these servers.
    fn new(servers: &[&Server], health: Value) -> Self {
        let mut scene = Self::of(json!({"name": "web", "backends": []}));
        if !health.is_null() {
            scene.spec["health"] = health;
        }
        servers.iter().for_each(|server| scene.add(server));
        scene.publish();
        scene
    }

    /// With this spec.
    fn of(spec: Value) -> Self {
        let publisher = Publisher {
            cell: Arc::new(SnapshotCell::new()),
            registry: Arc::new(Registry::scratch()),
        };
        let suspects = publisher.registry.suspects().unwrap();
        let tasks = [
            tokio::spawn(run(publisher.cell.clone())),
            tokio::spawn(super::ejection::run(publisher.cell.clone(), suspects)),
            tokio::spawn(super::warming::run(
                publisher.cell.clone(),
                publisher.registry.warming(),
            )),
        ];
        let mut scene = Self {
            publisher,
            spec,
            revision: 0,
            _checking: tasks.map(AbortOnDropHandle::new),
        };
        scene.publish();
        scene
    }

    fn add(&mut self, server: &Server) {
        let backends = self.spec["backends"].as_array_mut().unwrap();
        let id = char::from(b'a' + backends.len() as u8).to_string();
        backends.push(json!({"id": id, "address": server.address.to_string()}));
    }

    /// Makes the spec as it is now the next revision.
    fn publish(&mut self) {
        self.revision += 1;
        let put = Operation::put(
            ResourcePath::Config,
            json!({"pools": [self.spec], "routes": []}),
        );
        let next = Config::default().apply(Revision(self.revision), &Transaction::of(put));
        let config = next.unwrap().config;
        let before = self.publisher.cell.load();
        let next = compile(&config, &self.publisher.registry, Some(&before)).unwrap();
        self.publisher.activate(next);
    }

    fn pool(&self) -> Arc<PoolEntry> {
        self.publisher.cell.load().pool("web").unwrap().clone()
    }

    fn backend(&self, id: &str) -> Arc<Backend> {
        let pool = self.pool();
        let mut members = pool.members().iter();
        let member = members.find(|member| member.backend.id.as_str() == id);
        member.unwrap().backend.clone()
    }

    /// Who is picked in a few rounds.
    fn picked(&self) -> String {
        let pool = self.pool();
        let picks = (0..32).filter_map(|_| pool.pick(0, &[]));
        let ids: BTreeSet<&str> = picks.map(|backend| backend.id.as_str()).collect();
        ids.into_iter().collect()
    }

    async fn until_picked(&self, expected: &str) {
        until(&format!("picks of {expected:?}"), || {
            self.picked() == expected
        })
        .await;
    }

    async fn until_held(&self, id: &str, health: Held) {
        until(&format!("{id} {health:?}"), || {
            self.backend(id).health() == health
        })
        .await;
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(in_time.is_ok(), "waited for {what}");
}

/// By HTTP, as often as may be, and never in panic.
fn http() -> Value {
    json!({"http": {"path": "/healthz"}, "interval": "100ms", "timeout": "20s", "panic_percent": 0})
}

#[tokio::test]
async fn a_backend_goes_down_after_fall_checks() {
    let tcp = json!({"tcp": {}, "interval": "100ms", "panic_percent": 0});
    for (health, reason) in [(http(), "answered 500"), (tcp, "cannot connect")] {
        let (one, two) = (
            Server::start(Some(200)).await,
            Server::start(Some(200)).await,
        );
        let scene = Scene::new(&[&one, &two], health.clone());
        scene.until_picked("ab").await;
        let b = scene.backend("b");
        assert_eq!((b.checks().1, b.health_reason()), (0, None));
        if health["http"].is_object() {
            two.say(500);
        } else {
            drop(two);
        }
        scene.until_held("b", Held::Unhealthy).await;
        assert!(b.checks().1 >= 3, "after fall checks, not before");
        assert!(b.health_reason().unwrap().starts_with(reason));
        assert!(b.admits(), "it is the config that admits, not health");
        assert_eq!(scene.picked(), "a");
    }
}

#[tokio::test]
async fn a_backend_comes_back_after_rise_good_checks() {
    let server = Server::start(Some(503)).await;
    let scene = Scene::new(&[&server], http());
    scene.until_held("a", Held::Unhealthy).await;
    assert_eq!(scene.picked(), "");
    let a = scene.backend("a");
    let good_before = a.checks().0;
    server.say(200);
    scene.until_picked("a").await;
    assert!(a.checks().0 - good_before >= 2);
    assert_eq!(a.health_reason(), None);
}

#[tokio::test]
async fn a_new_backend_gets_nothing_before_its_first_good_check() {
    let (old, new) = (Server::start(None).await, Server::start(None).await);
    let mut health = http();
    health["rise"] = json!(100);
    let mut scene = Scene::new(&[&old], health);
    assert_eq!(scene.picked(), "", "at the start of a node too");
    old.say(200);
    scene.until_picked("a").await;
    scene.add(&new);
    scene.publish();
    assert_eq!(scene.backend("b").health(), Held::Unknown);
    assert_eq!(scene.picked(), "a");
    new.say(204);
    scene.until_picked("ab").await;
    let mut unchecked = Scene::new(&[&old], Value::Null);
    assert_eq!(unchecked.picked(), "a", "without checks at once");
    unchecked.add(&new);
    unchecked.publish();
    assert_eq!(unchecked.picked(), "ab");
}

#[tokio::test]
async fn health_survives_changes_of_weights_and_of_the_checks() {
    let (up, down) = (
        Server::start(Some(200)).await,
        Server::start(Some(500)).await,
    );
    let mut scene = Scene::new(&[&up, &down], http());
    scene.until_held("a", Held::Healthy).await;
    scene.until_held("b", Held::Unhealthy).await;
    for weight in [3, 0, 7] {
        scene.spec["backends"][0]["weight"] = json!(weight);
        scene.spec["backends"][1]["weight"] = json!(weight + 1);
        scene.spec["health"]["rise"] = json!(weight + 1);
        scene.publish();
        tokio::task::yield_now().await;
        assert_eq!(scene.backend("a").health(), Held::Healthy);
        assert_eq!(scene.backend("b").health(), Held::Unhealthy);
        assert_eq!(scene.picked(), if weight == 0 { "" } else { "a" });
    }
}

#[tokio::test]
async fn checks_that_are_turned_off_and_on_again_interrupt_nobody() {
    let (up, down) = (
        Server::start(Some(200)).await,
        Server::start(Some(500)).await,
    );
    let mut scene = Scene::new(&[&up, &down], http());
    scene.until_held("b", Held::Unhealthy).await;
    scene.spec.as_object_mut().unwrap().remove("health");
    scene.publish();
    assert_eq!(scene.backend("b").health(), Held::Unchecked);
    assert_eq!(scene.picked(), "ab");
    scene.spec["health"] = http();
    scene.publish();
    assert_eq!(scene.picked(), "ab", "they took requests already");
    scene.until_picked("a").await;
}

#[tokio::test]
async fn maintenance_is_not_checked_and_ends_with_a_good_check() {
    let server = Server::start(Some(200)).await;
    let mut scene = Scene::new(&[&server], http());
    scene.until_picked("a").await;
    scene.spec["backends"][0]["state"] = json!("maint");
    scene.publish();
    assert_eq!(scene.backend("a").health(), Held::Unknown);
    server.say(None);
    scene.spec["backends"][0]["state"] = json!("ready");
    scene.publish();
    assert_eq!(scene.picked(), "");
    server.say(200);
    scene.until_picked("a").await;
}

/// The first of them that is up would else take what all are there for.
#[tokio::test]
async fn in_a_pool_that_is_new_the_unknown_are_used_until_enough_are_up() {
    let mut servers = Vec::new();
    for _ in 0..5 {
        servers.push(Server::start(None).await);
    }
    let mut health = http();
    health["panic_percent"] = json!(50);
    let scene = Scene::new(&servers.iter().collect::<Vec<_>>(), health);
    assert_eq!(scene.picked(), "abcde");
    servers[0].say(500);
    scene.until_picked("bcde").await;
    assert!(!scene.pool().recourse().is_panic());
    servers[1].say(200);
    scene.until_held("b", Held::Healthy).await;
    assert_eq!(scene.picked(), "bcde", "one of five is not enough");
    servers[2].say(200);
    servers[3].say(200);
    scene.until_picked("bcd").await;
}

#[tokio::test]
async fn below_the_share_all_are_used_but_those_the_config_keeps_out() {
    let mut servers = Vec::new();
    for status in [200, 500, 500, 500, 500, 500] {
        servers.push(Server::start(Some(status)).await);
    }
    let mut health = http();
    health["panic_percent"] = json!(50);
    let mut scene = Scene::new(&servers.iter().collect::<Vec<_>>(), health);
    for (at, field, value) in [
        (3, "state", json!("drain")),
        (4, "state", json!("maint")),
        (5, "weight", json!(0)),
    ] {
        scene.spec["backends"][at][field] = value;
    }
    scene.publish();
    until("panic", || scene.pool().recourse().is_panic()).await;
    scene.until_picked("abc").await;

    servers[1].say(200);
    scene.until_picked("ab").await;
    assert!(
        !scene.pool().recourse().is_panic(),
        "two of three are enough"
    );

    servers[1].say(500);
    scene.until_picked("abc").await;
    scene.spec["health"]["panic_percent"] = json!(0);
    scene.publish();
    assert_eq!(scene.picked(), "a", "switched off");
    scene.spec["health"]["panic_percent"] = json!(33);
    scene.publish();
    assert_eq!(scene.picked(), "a", "a third is not below 33 %");
    scene.spec["health"]["panic_percent"] = json!(34);
    scene.publish();
    assert_eq!(scene.picked(), "abc");
}

#[tokio::test]
async fn a_pool_or_backend_that_goes_is_checked_no_more_and_begins_anew_when_it_comes_back() {
    let (one, two) = (
        Server::start(Some(200)).await,
        Server::start(Some(200)).await,
    );
    let mut scene = Scene::new(&[&one, &two], http());
    scene.until_picked("ab").await;
    // A request under way keeps it known.
    let under_way = scene.backend("b").begin();
    let b = under_way.backend().clone();
    let removed = scene.spec["backends"]
        .as_array_mut()
        .unwrap()
        .pop()
        .unwrap();
    scene.publish();
    assert_eq!(b.health(), Held::Unchecked);
    two.say(None);
    until("its task to end", || Arc::strong_count(&b) == 2).await;
    let backends = scene.spec["backends"].as_array_mut().unwrap();
    backends.push(removed);
    scene.publish();
    assert!(Arc::ptr_eq(&scene.backend("b"), &b));
    assert_eq!((b.health(), scene.picked().as_str()), (Held::Unknown, "a"));
}
