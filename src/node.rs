//! Composition root: the only place that wires top-level parts.
//!
//! The order of the start is what makes it safe: admin and peer are bound first, so that a mistake ends it before anything
//! changed; the log is read and its newest config is in force before the first request is accepted; only then does
//! the data plane accept. It stops in the reverse order: readiness fails and a leader hands over, traffic drains, the
//! replica ends last.

mod fences;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinHandle;

use crate::admin::{self, AdminState};
use crate::backend::Registry;
use crate::dns;
use crate::health::{self, HealthCollector};
use crate::proxy::{self, Proxy};
pub use crate::replication::offline;
use crate::replication::{self, Activation, Committed, Handle, Pace, Rejected, Running};
use crate::routing::publish::{Published, Publisher};
use crate::routing::{SnapshotCell, compile};
use crate::settings::{self, AccessLog, Settings};
use crate::shutdown::{self, Trigger};
use crate::state::LEVEL;
use crate::telemetry::access_log::{self, Destination};
use crate::telemetry::metrics::MetricsRegistry;
use crate::telemetry::traces;
use crate::tls::{Keyring, ServerTls};

/// How long readiness fails before traffic stops being accepted, for whoever polls it to turn away.
const NOTICE: Duration = Duration::from_millis(200);

/// How long a leader that stops waits for another to take over.
const HAND_OVER: Duration = Duration::from_secs(2);

/// How long a stop waits until the last traces are exported.
const LAST_TRACES: Duration = Duration::from_secs(3);

/// A running node.
pub struct Node {
    name: String,
    data: std::path::PathBuf,
    traffic: Vec<SocketAddr>,
    /// Of each of them.
    schemes: Vec<&'static str>,
    admin: SocketAddr,
    admin_scheme: &'static str,
    peer: SocketAddr,
    drain: Duration,
    handle: Handle,
    replica: Running,
    proxy: Proxy,
    stopping: Trigger,
    publishing: JoinHandle<()>,
    checking: JoinHandle<()>,
    resolving: JoinHandle<()>,
    serving: JoinHandle<()>,
    watching: JoinHandle<()>,
    fencing: JoinHandle<()>,
    /// There if requests are traced.
    exporter: Option<traces::Exporter>,
}

/// What of the files that the settings name cannot be used, each with why: what would end a start.
pub fn unusable_files(settings: &Settings) -> Vec<anyhow::Error> {
    tls::unusable(settings)
}

impl Node {
    /// Starts a node on the runtime that calls this, which becomes its control plane. It returns when the node serves
    /// what its own log says; it may not know a leader yet.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let admin_listener = bind("admin", settings.admin)?;
        let peer_listener = bind("peer", settings.peer)?;
        let (admin, peer) = (admin_listener.local_addr()?, peer_listener.local_addr()?);
        let metrics = MetricsRegistry::new(settings.threads);
        let cell = Arc::new(SnapshotCell::new());
        let (stopping, stop) = shutdown::channel();
        let mut spoken = tls::Spoken::default();
        let identities = tls::of_listeners(&settings, &mut spoken)?;
        let keyring = spoken.keyring(&settings.backend_tls)?;
        let registry = Arc::new(Registry::new(metrics.clone()).with_keyring(keyring.clone()));
        let admin_tls = spoken.load("admin".into(), settings.admin_tls.as_ref())?;
        let admin_scheme = scheme(admin_tls.is_some());
        let access = Arc::new(access(&settings.access));
        let peers = spoken.peers(&settings)?;
        let schemes = identities.iter().map(|tls| scheme(tls.is_some())).collect();
        let (tracer, exporter) = traces_of(&settings, &keyring, &metrics)?.unzip();
        let mut proxy_options = proxy_options(&settings, identities, &metrics)?;
        proxy_options.tracer = tracer;
        let busy = proxy_options.limits.busy.clone();

        let (handle, replica) = replication::start(replication::Options {
            data: settings.data.clone(),
            name: settings.node.clone(),
            voters: settings.voters.clone(),
            join: settings.join.clone(),
            advertise: settings.advertise,
            listener: Some(peer_listener),
            tls: peers,
            admin: Some(admin),
            heartbeat: settings.consensus.heartbeat,
            election_timeout: settings.consensus.election_timeout,
            checkpoint: Pace {
                entries: settings.consensus.checkpoint_commands as u64,
                bytes: (settings.consensus.checkpoint_mib as u64).saturating_mul(1 << 20),
            },
            level: LEVEL,
        })
        .await?;

        let publisher = Publisher {
            cell: cell.clone(),
            registry: registry.clone(),
        };
        boot(&publisher, &handle);
        metrics.register(Arc::new(HealthCollector(cell.clone())));
        let checking = tokio::spawn(check(cell.clone(), registry.clone()));
        let resolving = tokio::spawn(dns::run(cell.clone(), dns::System::read()));
        dns::first_answers(&cell).await;
        health::first_results(&cell).await;
        let proxy = proxy::start(proxy_options, cell.clone(), &metrics)?;
        let ready = Arc::new(AtomicBool::new(false));
        let publishing = tokio::spawn(publish(
            publisher,
            handle.clone(),
            proxy.workers(),
            ready.clone(),
        ));
        let watching = spoken.watch(&metrics);
        let fencing = tokio::spawn(fences::run(handle.clone(), registry.clone()));
        let router = admin::router(AdminState {
            replication: handle.clone(),
            cell,
            registry,
            metrics,
            serving: ready,
            busy,
            access,
            shutdown: stop.clone(),
        });
        let serving = serve_admin(admin_listener, admin_tls, router)?;
        Ok(Self {
            name: settings.node,
            data: settings.data,
            traffic: proxy.bound().to_vec(),
            schemes,
            admin,
            admin_scheme,
            peer,
            drain: settings.timeouts.drain,
            handle,
            replica,
            proxy,
            stopping,
            publishing,
            checking,
            resolving,
            serving,
            watching,
            fencing,
            exporter,
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
                .zip(&self.schemes)
                .map(|(address, scheme)| format!("traffic {scheme}://{address}")),
        );
        lines.push(format!("admin {}://{}", self.admin_scheme, self.admin));
        lines.push(format!("peer {}", self.peer));
        lines
    }

    /// Stops without losing an accepted request: readiness fails, what is in flight finishes, then the rest ends.
    pub async fn stop(self) {
        self.stopping.set();
        // A leader hands over while it still can: no writer waits for an election.
        let hand_over = self.handle.hand_over(HAND_OVER);
        tokio::join!(tokio::time::sleep(NOTICE), hand_over);
        self.proxy.drain(self.drain).await;
        if let Some(exporter) = self.exporter {
            exporter.finish(LAST_TRACES).await;
        }
        self.serving.abort();
        self.publishing.abort();
        self.checking.abort();
        self.watching.abort();
        self.fencing.abort();
        self.resolving.abort();
        self.replica.stop().await;
    }

    /// Ends at once, as a crash would: connections break, nothing is drained.
    pub async fn kill(self) {
        self.serving.abort();
        self.publishing.abort();
        self.checking.abort();
        self.watching.abort();
        self.fencing.abort();
        self.resolving.abort();
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

fn scheme(encrypted: bool) -> &'static str {
    if encrypted { "https" } else { "http" }
}

fn proxy_options(
    settings: &Settings,
    identities: Vec<Option<Arc<ServerTls>>>,
    metrics: &Arc<MetricsRegistry>,
) -> anyhow::Result<proxy::ProxyOptions> {
    let destination = settings.access_log.as_ref().map(|log| match log {
        AccessLog::Stdout => Destination::Stdout,
        AccessLog::File(path) => Destination::File(path.clone()),
    });
    let access_log = destination
        .map(|destination| {
            let format = settings.access_log_format;
            access_log::AccessLog::open(&destination, format, metrics.listener().clone())
                .with_context(|| format!("cannot open the access log {destination:?}"))
        })
        .transpose()?;
    let listeners = settings.listeners.iter().zip(identities);
    let listeners = listeners.map(|(listener, tls)| proxy::Listener {
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
        forwarded_header: listener.forwarded_header,
        proxy_protocol: listener.proxy_protocol,
        tls,
    });
    Ok(proxy::ProxyOptions {
        listeners: listeners.collect(),
        threads: settings.threads,
        timeouts: proxy::Timeouts {
            client_headers: settings.timeouts.client_headers,
            keep_alive: settings.timeouts.keep_alive,
        },
        access_log,
        tracer: None,
        limits: proxy::NodeLimits {
            requests: settings.limits.requests,
            connections: settings.limits.connections,
            busy: Arc::default(),
        },
    })
}

/// Starts the exporter of traces, if there is to be one.
fn traces_of(
    settings: &Settings,
    keyring: &Keyring,
    metrics: &Arc<MetricsRegistry>,
) -> anyhow::Result<Option<(traces::Tracer, traces::Exporter)>> {
    let Some(tracing) = &settings.tracing else {
        return Ok(None);
    };
    let tls = tracing.otlp.secure.then(|| tls::of_collector(keyring));
    let (tracer, exporter) = traces::start(traces::Options {
        endpoint: tracing.otlp.clone(),
        tls: tls.transpose()?,
        share: tracing.sample,
        service: tracing.service.clone(),
        instance: settings.node.clone(),
    });
    metrics.register(Arc::new(exporter.metrics()));
    Ok(Some((tracer, exporter)))
}

/// Puts what the log held in force before the first request; a config that does not compile is told by the publisher.
fn boot(publisher: &Publisher, handle: &Handle) {
    let config = handle.watch().borrow().config.clone();
    if let Ok(snapshot) = compile(&config, &publisher.registry, None) {
        publisher.activate(snapshot);
    }
}

/// Judges the health of backends, by checks and by what requests meet, and has those that come up warm.
async fn check(cell: Arc<SnapshotCell>, registry: Arc<Registry>) {
    let checks = health::run(cell.clone());
    let warming = health::warming::run(cell.clone(), registry.warming());
    match registry.suspects() {
        Some(suspects) => {
            let ejecting = health::ejection::run(cell, suspects);
            tokio::join!(checks, warming, ejecting);
        }
        None => drop(tokio::join!(checks, warming)),
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

/// From the settings' words to what the admin API is given.
fn access(settings: &settings::Access) -> admin::Access {
    let role = |role| match role {
        settings::Role::Viewer => admin::Role::Viewer,
        settings::Role::Operator => admin::Role::Operator,
        settings::Role::Admin => admin::Role::Admin,
    };
    let who = |name: &str, of| admin::Who {
        name: name.to_owned(),
        role: role(of),
    };
    let token = |token: &settings::Token| admin::Token {
        who: who(&token.name, token.role),
        sha256: token.sha256,
    };
    let client = |client: &settings::Certified| who(&client.name, client.role);
    admin::Access {
        tokens: settings.tokens.iter().map(token).collect(),
        clients: settings.clients.iter().map(client).collect(),
    }
}

fn serve_admin(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    router: axum::Router,
) -> anyhow::Result<JoinHandle<()>> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    Ok(tokio::spawn(admin::serve(listener, tls, router)))
}
