//! Composition root: the only place that wires top-level parts.
//!
//! The order of the start is what makes it safe: admin and peer are bound first, so that a mistake ends it before anything
//! changed; the log is read and its newest config is in force before the first request is accepted; only then does
//! the data plane accept. It stops in the reverse order: readiness fails, traffic drains, the replica ends last.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinHandle;

use crate::admin::{self, AdminState};
use crate::backend::Registry;
use crate::health::{self, HealthCollector};
use crate::proxy::{self, Proxy};
use crate::replication::{self, Activation, Committed, Handle, Rejected, Running};
use crate::routing::publish::{Published, Publisher};
use crate::routing::{SnapshotCell, compile};
use crate::settings::{AccessLog, Settings};
use crate::shutdown::{self, Trigger};
use crate::telemetry::access_log::{self, Destination};
use crate::telemetry::metrics::MetricsRegistry;

/// How long readiness fails before traffic stops being accepted, for whoever polls it to turn away.
const NOTICE: Duration = Duration::from_millis(200);

/// A running node.
pub struct Node {
    name: String,
    data: std::path::PathBuf,
    traffic: Vec<SocketAddr>,
    admin: SocketAddr,
    peer: SocketAddr,
    drain: Duration,
    handle: Handle,
    replica: Running,
    proxy: Proxy,
    stopping: Trigger,
    publishing: JoinHandle<()>,
    checking: JoinHandle<()>,
    serving: JoinHandle<()>,
}

impl Node {
    /// Starts a node on the runtime that calls this, which becomes its control plane. It returns when the node serves
    /// what its own log says; it may not know a leader yet.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let admin_listener = bind("admin", settings.admin)?;
        let peer_listener = bind("peer", settings.peer)?;
        let (admin, peer) = (admin_listener.local_addr()?, peer_listener.local_addr()?);
        let metrics = MetricsRegistry::new(settings.threads);
        let registry = Arc::new(Registry::new(metrics.clone()));
        let cell = Arc::new(SnapshotCell::new());
        let (stopping, stop) = shutdown::channel();
        let proxy_options = proxy_options(&settings, &metrics)?;

        let (handle, replica) = replication::start(replication::Options {
            data: settings.data.clone(),
            name: settings.node.clone(),
            voters: settings.voters.clone(),
            listener: Some(peer_listener),
            admin: Some(admin),
            heartbeat: settings.consensus.heartbeat,
            election_timeout: settings.consensus.election_timeout,
        })
        .await?;

        let publisher = Publisher {
            cell: cell.clone(),
            registry: registry.clone(),
        };
        boot(&publisher, &handle);
        metrics.register(Arc::new(HealthCollector(cell.clone())));
        let checking = tokio::spawn(health::run(cell.clone()));
        health::first_results(&cell).await;
        let proxy = proxy::start(proxy_options, cell.clone(), &metrics)?;
        let ready = Arc::new(AtomicBool::new(false));
        let publishing = tokio::spawn(publish(
            publisher,
            handle.clone(),
            proxy.workers(),
            ready.clone(),
        ));
        let router = admin::router(AdminState {
            replication: handle.clone(),
            cell,
            registry,
            metrics,
            serving: ready,
            shutdown: stop.clone(),
        });
        let serving = serve_admin(admin_listener, router)?;
        Ok(Self {
            name: settings.node,
            data: settings.data,
            traffic: proxy.bound().to_vec(),
            admin,
            peer,
            drain: settings.timeouts.drain,
            handle,
            replica,
            proxy,
            stopping,
            publishing,
            checking,
            serving,
        })
    }

    /// This node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where traffic is accepted, with the ports that were bound.
    pub fn traffic(&self) -> &[SocketAddr] {
        &self.traffic
    }

    /// Where the admin API is served.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Whether this node leads the group, as far as it knows.
    pub fn leads(&self) -> bool {
        let status = self.handle.status();
        status.id.is_some() && status.leader == status.id
    }

    /// What was bound, a line each.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "node {}, data in {}",
            self.name,
            self.data.display()
        )];
        lines.extend(
            self.traffic
                .iter()
                .map(|address| format!("traffic http://{address}")),
        );
        lines.push(format!("admin http://{}", self.admin));
        lines.push(format!("peer {}", self.peer));
        lines
    }

    /// Stops without losing an accepted request: readiness fails, what is in flight finishes, then the rest ends.
    pub async fn stop(self) {
        self.stopping.set();
        tokio::time::sleep(NOTICE).await;
        self.proxy.drain(self.drain).await;
        self.serving.abort();
        self.publishing.abort();
        self.checking.abort();
        self.replica.stop().await;
    }

    /// Ends at once, as a crash would: connections break, nothing is drained.
    pub async fn kill(self) {
        self.serving.abort();
        self.publishing.abort();
        self.checking.abort();
        self.replica.stop().await;
        self.proxy.drain(Duration::ZERO).await;
    }
}

fn bind(what: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot bind the {what} address {address}; give this node another one if something else holds it")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn proxy_options(
    settings: &Settings,
    metrics: &Arc<MetricsRegistry>,
) -> anyhow::Result<proxy::ProxyOptions> {
    let destination = settings.access_log.as_ref().map(|log| match log {
        AccessLog::Stdout => Destination::Stdout,
        AccessLog::File(path) => Destination::File(path.clone()),
    });
    let access_log = destination
        .map(|destination| {
            access_log::AccessLog::open(&destination, metrics.listener().clone())
                .with_context(|| format!("cannot open the access log {destination:?}"))
        })
        .transpose()?;
    let listeners = settings.listeners.iter().map(|listener| proxy::Listener {
        address: listener.address,
        trusted: listener
            .trusted
            .iter()
            .map(|network| proxy::Network {
                address: network.address,
                prefix: network.prefix,
            })
            .collect(),
        revision_header: listener.revision_header,
    });
    Ok(proxy::ProxyOptions {
        listeners: listeners.collect(),
        threads: settings.threads,
        timeouts: proxy::Timeouts {
            client_headers: settings.timeouts.client_headers,
            keep_alive: settings.timeouts.keep_alive,
        },
        access_log,
    })
}

/// Puts what the log held in force before the first request; a config that does not compile is told by the publisher.
fn boot(publisher: &Publisher, handle: &Handle) {
    let config = handle.watch().borrow().config.clone();
    if let Ok(snapshot) = compile(&config, &publisher.registry, None) {
        publisher.activate(snapshot);
    }
}

/// Follows what the group agrees on, and reports what is served.
async fn publish(
    publisher: Publisher,
    handle: Handle,
    workers: proxy::Workers,
    ready: Arc<AtomicBool>,
) {
    let served = Mutex::new(Activation::default());
    let report = |published| {
        let mut served = served.lock().unwrap_or_else(PoisonError::into_inner);
        match published {
            Published::Activated { revision, digest } => {
                *served = Activation {
                    revision,
                    digest,
                    rejected: None,
                };
                ready.store(true, Ordering::Release);
            }
            Published::Rejected { revision, reason } => {
                served.rejected = Some(Rejected { revision, reason });
            }
        }
        handle.report(served.clone());
    };
    let config = |committed: &Committed| committed.config.clone();
    publisher
        .run(handle.watch(), config, || workers.fence(), report)
        .await;
}

fn serve_admin(listener: TcpListener, router: axum::Router) -> anyhow::Result<JoinHandle<()>> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, service).await {
            tracing::error!(%error, "the admin API ended");
        }
    }))
}
