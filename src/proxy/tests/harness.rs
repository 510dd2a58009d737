//! A proxy on loopback, backends that follow a script, and a client that speaks bytes.
//!
//! Sockets here block, each side on threads of its own; every read ends after a few seconds, so a test that waits
//! for what never comes fails instead of hanging.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::peer::PATIENCE;
pub(super) use super::peer::Peer;
use crate::backend::Registry;
use crate::config::{Config, Network, Operation, ResourcePath, Revision, StickyKey, Transaction};
use crate::proxy::{Listener, Proxy, ProxyOptions, Timeouts, start};
use crate::routing::publish::Publisher;
use crate::routing::{SnapshotCell, compile};
use crate::telemetry::access_log::{AccessLog, Destination, Format};
use crate::telemetry::metrics::MetricsRegistry;
use crate::tls::Keyring;

/// The value of a field in a head.
pub(super) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let line = |line: &'a str| {
        line.split_once(": ")
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    };
    head.split("\r\n").skip(1).find_map(line)
}

pub(super) fn status(head: &str) -> u16 {
    head.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no status in {head:?}"))
}

/// What is told next, in time.
pub(super) fn heard<T>(told: &Receiver<T>) -> T {
    told.recv_timeout(PATIENCE).expect("told in time")
}

/// A backend: every connection runs the script in a thread of its own.
pub(super) struct Scripted {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Scripted {
    pub(super) fn new(script: impl Fn(&mut Peer, usize) + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1:0".parse().unwrap(), script)
    }

    fn on(address: SocketAddr, script: impl Fn(&mut Peer, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let ended = Arc::new(AtomicUsize::new(0));
        let (count, ends, script) = (connections.clone(), ended.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let n = count.fetch_add(1, Ordering::SeqCst);
                let (script, ends) = (script.clone(), ends.clone());
                std::thread::spawn(move || {
                    script(&mut Peer::from(stream.unwrap()), n);
                    ends.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            connections,
            ended,
        }
    }

    /// Answers every request without a body by `answer`, and keeps the connection.
    pub(super) fn always(answer: impl Into<String>) -> Self {
        Self::new(answering(answer.into()))
    }

    /// As [`always`](Self::always), at this address.
    pub(super) fn at(address: impl Into<SocketAddr>, answer: String) -> Self {
        Self::on(address.into(), answering(answer))
    }

    /// Says `name` to everything.
    pub(super) fn named(name: &str) -> Self {
        Self::always(ok(name))
    }

    /// Connections taken so far.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn wait_for_connections(&self, n: usize) {
        wait_until(|| self.connections() >= n);
    }

    /// Returns once `n` scripts have ended and closed their connections.
    pub(super) fn wait_for_ended(&self, n: usize) {
        wait_until(|| self.ended.load(Ordering::SeqCst) >= n);
    }
}

fn answering(answer: String) -> impl Fn(&mut Peer, usize) + Send + Sync + 'static {
    move |peer, _| {
        while peer.try_until("\r\n\r\n").is_some() {
            if !peer.try_send(&answer) {
                return;
            }
        }
    }
}

pub(super) fn wait_until(mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain");
        std::thread::yield_now();
    }
}

/// A backend whose connections do not come about until it lets them in: its backlog is full.
pub(super) struct HeldUp {
    pub(super) address: SocketAddr,
    listener: socket2::Socket,
    fillers: Vec<TcpStream>,
}

impl HeldUp {
    pub(super) fn new() -> Self {
        let listener =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut fillers = Vec::new();
        // One fits beside a backlog of 0; then handshakes stay without an answer.
        while let Ok(filler) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            fillers.push(filler);
        }
        Self {
            address,
            listener,
            fillers,
        }
    }

    /// Makes room, and tells what the next caller sent before it closed.
    pub(super) fn let_in(&self) -> String {
        for _ in &self.fillers {
            drop(self.listener.accept().unwrap());
        }
        let (socket, _) = self.listener.accept().unwrap();
        Peer::from(socket.into()).rest()
    }
}

pub(super) fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// An address where nobody listens.
pub(super) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// A running proxy.
pub(super) struct Harness {
    pub(super) proxy: Proxy,
    pub(super) metrics: Arc<MetricsRegistry>,
    publisher: Publisher,
    /// What was published last.
    config: Mutex<Config>,
    pub(super) runtime: tokio::runtime::Runtime,
}

pub(super) fn options() -> ProxyOptions {
    ProxyOptions {
        listeners: vec![Listener::at("127.0.0.1:0".parse().unwrap())],
        threads: 1,
        timeouts: Timeouts::default(),
        access_log: None,
        tracer: None,
        limits: crate::proxy::NodeLimits::default(),
    }
}

pub(super) fn trusting_loopback() -> ProxyOptions {
    let mut options = options();
    options.listeners[0].trusted = vec![Network {
        address: "127.0.0.0".parse().unwrap(),
        prefix: 8,
    }];
    options
}

/// Options with an access log in `directory`, and its file.
pub(super) fn logging_to(directory: &tempfile::TempDir) -> (ProxyOptions, PathBuf) {
    logging_in(Format::Json, directory)
}

/// Likewise, with lines that look like this.
pub(super) fn logging_in(format: Format, directory: &tempfile::TempDir) -> (ProxyOptions, PathBuf) {
    let path = directory.path().join("access.log");
    let metrics = MetricsRegistry::new(1);
    let destination = Destination::File(path.clone());
    let log = AccessLog::open(&destination, format, metrics.listener().clone());
    let mut options = options();
    options.access_log = Some(log.unwrap());
    (options, path)
}

/// What an access log holds.
pub(super) fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line| serde_json::from_str(line).unwrap();
    text.lines().map(line).collect()
}

/// A pool `web` of these backends, with more of its fields in `more`, and a route to it for everything.
pub(super) fn web(backends: &[SocketAddr], more: Value) -> Value {
    let backends: Vec<Value> = backends
        .iter()
        .enumerate()
        .map(|(i, at)| json!({"id": format!("b{}", i + 1), "address": at.to_string()}))
        .collect();
    let mut pool = json!({"name": "web", "backends": backends});
    for (key, value) in more.as_object().into_iter().flatten() {
        pool[key] = value.clone();
    }
    json!({"pools": [pool], "routes": [{"name": "all", "match": {}, "to": [{"pool": "web"}]}]})
}

/// Gives a config one more pool, of this one backend.
pub(super) fn add_pool(config: &mut Value, name: &str, address: SocketAddr) {
    let pool = web(&[address], json!({"name": name}))["pools"][0].take();
    config["pools"].as_array_mut().unwrap().push(pool);
}

impl Harness {
    pub(super) fn new(options: ProxyOptions, config: &Value) -> Self {
        Self::with_keyring(options, config, Arc::new(Keyring::empty()))
    }

    pub(super) fn with_keyring(
        options: ProxyOptions,
        config: &Value,
        keyring: Arc<Keyring>,
    ) -> Self {
        let harness = Self::without_config(options, keyring);
        harness.publish(config);
        harness
    }

    /// As a node is before it knows its group.
    pub(super) fn without_config(options: ProxyOptions, keyring: Arc<Keyring>) -> Self {
        let metrics = MetricsRegistry::new(options.threads);
        let registry = Arc::new(Registry::new(metrics.clone()).with_keyring(keyring));
        let cell = Arc::new(SnapshotCell::new());
        let proxy = start(options, |_| Vec::new(), cell.clone(), &metrics).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let suspects = registry.suspects().unwrap();
        runtime.spawn(crate::health::ejection::run(cell.clone(), suspects));
        let harness = Self {
            proxy,
            metrics,
            publisher: Publisher {
                cell: cell.clone(),
                registry,
            },
            config: Mutex::new(Config {
                sticky_key: Some(StickyKey([7; 32])),
                ..Config::default()
            }),
            runtime,
        };
        harness
            .metrics
            .register(Arc::new(crate::routing::PoolsCollector(cell)));
        harness
    }

    /// A proxy with one route, for everything, to these backends.
    pub(super) fn to(backends: &[SocketAddr]) -> Self {
        Self::new(options(), &web(backends, json!({})))
    }

    /// As [`to`](Self::to), to this one, which may be ejected: another one is there, and stands back for it.
    pub(super) fn to_one_of_two(backend: SocketAddr) -> Self {
        let mut config = web(&[backend, nobody()], json!({}));
        config["pools"][0]["backends"][1]["backup"] = json!(1);
        Self::new(options(), &config)
    }

    pub(super) fn with_pool(backends: &[SocketAddr], more: Value) -> Self {
        Self::new(options(), &web(backends, more))
    }

    /// Makes `config` the next revision, in which what differs is new and compiled, as in a node; returns when every
    /// worker serves it.
    pub(super) fn publish(&self, config: &Value) {
        let mut last = self.config.lock().unwrap();
        let put = Operation::put(ResourcePath::Config, config.clone());
        let revision = Revision(last.revision.0 + 1);
        *last = last.apply(revision, &Transaction::of(put)).unwrap().config;
        // A first one may be empty, and is no less a config.
        last.revision = revision;
        let before = self.publisher.cell.load();
        let snapshot = compile(&last, &self.publisher.registry, Some(&before)).unwrap();
        self.publisher.activate(snapshot);
        self.settle();
    }

    /// Waits until every worker has passed its loop: what answers a client has seen is recorded then.
    pub(super) fn settle(&self) {
        self.runtime.block_on(self.proxy.workers().fence());
    }

    /// What `/metrics` shows.
    pub(super) fn figures(&self) -> String {
        self.settle();
        self.metrics.render()
    }

    /// Ends the proxy; everything recorded is written then.
    pub(super) fn drain(self) {
        self.drain_within(Duration::from_secs(5));
    }

    /// Tells how many connections were cut.
    pub(super) fn drain_within(self, within: Duration) -> usize {
        self.runtime.block_on(self.proxy.drain(within))
    }

    pub(super) fn wait_for_in_flight(&self, backend: &str) {
        let metrics = self.metrics.backend("web", backend);
        wait_until(|| metrics.in_flight() > 0);
    }

    /// The pool `web` as it is served now.
    pub(super) fn pool(&self) -> Arc<crate::routing::PoolEntry> {
        self.publisher.cell.load().pool("web").unwrap().clone()
    }

    /// A member of the pool `web` as it is served now.
    pub(super) fn backend(&self, index: usize) -> Arc<crate::backend::Backend> {
        let snapshot = self.publisher.cell.load();
        snapshot.pool("web").unwrap().members()[index]
            .backend
            .clone()
    }

    /// Tells all fences which tokens are good, and that this is the newest there is.
    pub(super) fn tell_fences(&self, oldest: u64, newest: u64) {
        let fences = self.publisher.registry.fences();
        for (_, fence) in fences.in_use() {
            fence.tell(oldest, newest);
        }
        fences.confirm(std::time::Instant::now());
    }

    /// Has backends that are names resolved.
    pub(super) fn resolve(&self, lookup: impl crate::dns::Lookup) {
        self.runtime.spawn(crate::dns::run(self.cell(), lookup));
    }

    pub(super) fn cell(&self) -> Arc<SnapshotCell> {
        self.publisher.cell.clone()
    }

    /// Has backends checked and warmed up, as the config says.
    pub(super) fn check(&self) {
        let (cell, begun) = (&self.publisher.cell, self.publisher.registry.warming());
        self.runtime.spawn(crate::health::run(cell.clone()));
        self.runtime
            .spawn(crate::health::warming::run(cell.clone(), begun));
    }

    /// Has the pool `web` judged by the health of its backends, as it is after each change of one.
    pub(super) fn judge(&self) {
        let pool = self.pool();
        crate::routing::judge(&self.publisher.cell, &pool.name);
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.proxy.bound()[0]
    }

    pub(super) fn client(&self) -> Peer {
        Peer::connect(self.address())
    }

    /// Sends one request on a connection of its own and returns head and body of the answer.
    pub(super) fn once(&self, request: &str) -> (String, String) {
        let mut client = self.client();
        client.send(request);
        client.response()
    }

    /// How many of 100 requests, one after the other on one connection, are answered with this body.
    pub(super) fn of_a_hundred(&self, body: &str) -> usize {
        let mut client = self.client();
        let answers = (0..100).filter(|_| client.get().1 == body);
        answers.count()
    }

    pub(super) fn get(&self, path: &str) -> (String, String) {
        self.once(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }
}

/// A backend that hands what it reads, head by head, to the test, and answers 200.
pub(super) fn recording() -> (Scripted, Receiver<String>) {
    let (sender, heads) = channel();
    let backend = Scripted::new(move |peer, _| {
        while let Some(head) = peer.try_until("\r\n\r\n") {
            let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            peer.exactly(length);
            sender.send(head).unwrap();
            if !peer.try_send(ok("")) {
                return;
            }
        }
    });
    (backend, heads)
}

/// A backend that drops every connection after `answers` of them, at the worst moment: on the next request.
pub(super) fn forgetful(answers: usize) -> Scripted {
    Scripted::new(move |peer, _| {
        for _ in 0..answers {
            let Some(head) = peer.try_until("\r\n\r\n") else {
                return;
            };
            peer.exactly(
                field(&head, "content-length").map_or(0, |length| length.parse().unwrap()),
            );
            peer.send(ok("x"));
        }
        peer.try_until("\r\n\r\n");
    })
}
