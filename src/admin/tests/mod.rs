//! The API over a real replica of one voter on a real directory, called without a socket.

mod cluster;
mod conventions;
mod defaults;
mod history;
mod locks;
mod reads;
mod waits;
mod watch;
mod writes;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{AdminParts, AdminState, router};
use crate::backend::Registry;
use crate::config::Address;
use crate::replication::{self, Activation, Committed, Options, Running};
use crate::routing::SnapshotCell;
use crate::routing::publish::{Published, Publisher};
use crate::shutdown::{self, Trigger};
use crate::telemetry::metrics::MetricsRegistry;

/// One node: its API, and what is behind it.
struct Node {
    router: Router,
    state: AdminState,
    shutdown: Trigger,
    _running: Running,
    _data: tempfile::TempDir,
}

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Node {
    /// A lone voter whose data plane serves what is committed.
    async fn new() -> Self {
        let node = Self::without_data_plane().await;
        node.serve();
        node
    }

    /// Publishes what is committed, as a node does.
    fn serve(&self) {
        let publisher = Publisher {
            cell: self.state.cell.clone(),
            registry: self.state.registry.clone(),
        };
        let (replication, serving) = (self.state.replication.clone(), self.state.serving.clone());
        let report = move |published| {
            serving.store(true, Ordering::Release);
            if let Published::Activated { revision, digest } = published {
                replication.report(Activation {
                    revision,
                    digest,
                    rejected: None,
                });
            }
        };
        let config = |committed: &Committed| committed.config.clone();
        let fence = || std::future::ready(());
        tokio::spawn(publisher.run(self.state.replication.watch(), config, fence, report));
    }

    /// A lone voter that serves nothing.
    async fn without_data_plane() -> Self {
        Self::start(&[]).await
    }

    /// A voter whose peers never come.
    async fn without_quorum() -> Self {
        Self::start(&["n2", "n3"]).await
    }

    async fn start(others: &[&str]) -> Self {
        let nobody = "127.0.0.1:1".parse().unwrap();
        let listener = bind();
        let mut voters: BTreeMap<_, _> = others
            .iter()
            .map(|name| ((*name).to_owned(), Address::Socket(nobody)))
            .collect();
        if !others.is_empty() {
            voters.insert("n1".to_owned(), listener.local_addr().unwrap().into());
        }
        Self::voter("n1", voters, listener, None).await
    }

    /// Voters that serve what is committed.
    async fn group(names: &[&str]) -> Vec<Self> {
        let listeners: Vec<_> = names.iter().map(|_| bind()).collect();
        let addresses = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap().into());
        let voters: BTreeMap<_, _> = names
            .iter()
            .map(|name| (*name).to_owned())
            .zip(addresses)
            .collect();
        let mut nodes = Vec::new();
        for (name, listener) in names.iter().zip(listeners) {
            let admin = bind();
            let node = Self::voter(name, voters.clone(), listener, admin.local_addr().ok()).await;
            admin.set_nonblocking(true).unwrap();
            let admin = tokio::net::TcpListener::from_std(admin).unwrap();
            tokio::spawn(axum::serve(admin, node.router.clone()).into_future());
            node.serve();
            nodes.push(node);
        }
        for node in &nodes {
            let met = node
                .state
                .replication
                .read_barrier(Duration::from_secs(30))
                .await;
            met.unwrap();
        }
        nodes
    }

    async fn voter(
        name: &str,
        voters: BTreeMap<String, Address>,
        listener: TcpListener,
        admin: Option<SocketAddr>,
    ) -> Self {
        let data = tempfile::tempdir().unwrap();
        let options = Options {
            data: data.path().to_owned(),
            name: name.to_owned(),
            listener: Some(listener).filter(|_| !voters.is_empty()),
            voters,
            join: Vec::new(),
            advertise: None,
            admin,
            tls: None,
            heartbeat: Duration::from_millis(20),
            election_timeout: Duration::from_millis(200),
            checkpoint: replication::Pace {
                entries: 1000,
                bytes: 1 << 20,
            },
            level: crate::state::LEVEL,
        };
        let (replication, running) = replication::start(options).await.unwrap();
        let metrics = MetricsRegistry::new(1);
        let (trigger, shutdown) = shutdown::channel();
        let state = AdminState::from(AdminParts {
            replication,
            access: Arc::default(),
            cell: Arc::new(SnapshotCell::new()),
            registry: Arc::new(Registry::new(metrics.clone())),
            metrics,
            serving: Arc::new(AtomicBool::new(false)),
            busy: Arc::default(),
            shutdown,
        });
        Self {
            router: router(state.clone()),
            state,
            shutdown: trigger,
            _running: running,
            _data: data,
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// `line` is "METHOD path" and then a "name: value" for each header.
    async fn call(&self, line: &str, body: Option<Value>) -> Answer {
        let mut lines = line.lines().map(str::trim);
        let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for header in lines {
            let (name, value) = header.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(&format!("GET {path}"), None).await
    }

    /// A put that must succeed; its revision.
    async fn put(&self, path: &str, spec: Value) -> u64 {
        let answer = self.call(&format!("PUT {path}"), Some(spec)).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.body);
        answer.body["revision"].as_u64().unwrap()
    }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn pointers(&self) -> Vec<&str> {
        let faults = self.body["faults"].as_array().unwrap();
        faults
            .iter()
            .map(|fault| fault["pointer"].as_str().unwrap())
            .collect()
    }
}

fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn pool(ports: &[u16]) -> Value {
    let backends: Vec<Value> = ports
        .iter()
        .enumerate()
        .map(|(i, port)| json!({"id": format!("b{}", i + 1), "address": format!("127.0.0.1:{port}")}))
        .collect();
    json!({"backends": backends})
}

fn route(pool: &str) -> Value {
    json!({"match": {"hosts": ["shop.example"]}, "to": [{"pool": pool}]})
}
