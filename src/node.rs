//! Composition root: the only place that wires top-level parts.
//!
//! The order of the start is what makes it safe: admin and peer are bound first, so that a mistake ends it before
//! anything changed; the log is read and its newest config is in force before the first request is accepted; only then
//! does the data plane accept. It stops in the reverse order: readiness fails and a leader hands over, traffic drains,
//! the replica ends last.
//!
//! Another process may go on in its place without a connection refused ([`Node::hand_over`]): it is given the sockets,
//! then the data directory, and once it serves, this one drains. If it does not come so far, this one goes on.

mod control;
mod fences;
mod predecessor;
mod service;
mod sockets;
mod successor;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::backend::Registry;
use crate::dns;
use crate::health;
use crate::proxy::{self, Proxy};
use crate::replication::Handle;
pub use crate::replication::offline;
use crate::routing::publish::Publisher;
use crate::routing::{PoolsCollector, SnapshotCell, compile};
use crate::settings::{AccessLog, Settings};
use crate::telemetry::access_log::{self, Destination};
use crate::telemetry::metrics::MetricsRegistry;
use crate::telemetry::traces;
use crate::tls::{Keyring, ServerTls};
use control::{Control, Ground};
pub use predecessor::Predecessor;
use sockets::{Purpose, Sockets};
use successor::{Heir, Successor};

/// How long a stop waits until the last traces are exported.
const LAST_TRACES: Duration = Duration::from_secs(3);

/// A running node.
pub struct Node {
    traffic: Vec<SocketAddr>,
    /// Of each of them.
    schemes: Vec<&'static str>,
    ground: Ground,
    /// None while the data directory is another process's, and when it could not be taken up again.
    control: Option<Control>,
    proxy: Proxy,
    checking: JoinHandle<()>,
    resolving: JoinHandle<()>,
    watching: JoinHandle<()>,
    /// There if requests are traced.
    exporter: Option<traces::Exporter>,
    /// There if requests are logged.
    log: Option<access_log::Reopener>,
}

/// A process that serves in place of this one.
pub struct HandedOver(Successor);

/// What of the files that the settings name cannot be used, each with why: what would end a start.
pub fn unusable_files(settings: &Settings) -> Vec<anyhow::Error> {
    tls::unusable(settings)
}

impl Node {
    /// Starts a node on the runtime that calls this, which becomes its control plane. It returns when the node serves
    /// what its own log says; it may not know a leader yet.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        Self::start_after(settings, None).await
    }

    /// The same, in place of a process that serves, if there is one: its sockets are taken, and it is told to end once
    /// this node serves.
    pub async fn start_after(
        settings: Settings,
        predecessor: Option<Predecessor>,
    ) -> anyhow::Result<Self> {
        let mut predecessor = predecessor;
        let mut sockets = match &mut predecessor {
            Some(before) => std::mem::take(&mut before.sockets),
            None => Sockets::default(),
        };
        let admin = listen(&mut sockets, Purpose::Admin, settings.admin)?;
        let peer = listen(&mut sockets, Purpose::Peer, settings.peer)?;
        let metrics = MetricsRegistry::new(settings.threads);
        let cell = Arc::new(SnapshotCell::new());
        let mut spoken = tls::Spoken::default();
        let identities = tls::of_listeners(&settings, &mut spoken)?;
        let keyring = spoken.keyring(&settings.backend_tls)?;
        let registry = Arc::new(Registry::new(metrics.clone()).with_keyring(keyring.clone()));
        let admin_tls = spoken.load("admin".into(), settings.admin_tls.as_ref())?;
        let peers = spoken.peers(&settings)?;
        let schemes = identities.iter().map(|tls| scheme(tls.is_some())).collect();
        let (tracer, exporter) = traces_of(&settings, &keyring, &metrics)?.unzip();
        let mut proxy_options = proxy_options(&settings, identities, &metrics)?;
        proxy_options.tracer = tracer;
        let log = proxy_options.access_log.as_ref();
        let log = log.map(access_log::AccessLog::reopener);
        let ground = Ground {
            admin,
            peer,
            admin_tls,
            peers,
            cell: cell.clone(),
            registry: registry.clone(),
            metrics: metrics.clone(),
            busy: proxy_options.limits.busy.clone(),
            settings,
        };
        let leaving = match predecessor {
            Some(before) => Some(Arc::new(before.released().await?)),
            None => None,
        };

        let replica = ground.replica().await?;
        let booted = boot(&ground.publisher(), &replica.0);
        if leaving.is_some() {
            booted.context("what the process before serves cannot be served")?;
        }
        metrics.register(Arc::new(PoolsCollector(cell.clone())));
        let checking = tokio::spawn(check(cell.clone(), registry));
        let resolving = tokio::spawn(dns::run(cell.clone(), dns::System::read()));
        dns::first_answers(&cell).await;
        health::first_results(&cell).await;
        let inherited = |address| sockets.take(Purpose::Traffic, address);
        let proxy = proxy::start(proxy_options, inherited, cell, &metrics)?;
        let watching = spoken.watch(&metrics);
        if let Some(leaving) = &leaving {
            leaving.relieve().await?;
        }
        let control = ground.begin(replica, proxy.workers(), leaving)?;
        Ok(Self {
            traffic: proxy.bound().to_vec(),
            schemes,
            ground,
            control: Some(control),
            proxy,
            checking,
            resolving,
            watching,
            exporter,
            log,
        })
    }

    /// This node's name.
    pub fn name(&self) -> &str {
        &self.ground.settings.node
    }

    /// What has the access log opened anew, if there is one.
    pub fn log(&self) -> Option<access_log::Reopener> {
        self.log.clone()
    }

    /// Where traffic is accepted, with the ports that were bound.
    pub fn traffic(&self) -> &[SocketAddr] {
        &self.traffic
    }

    /// Where the admin API is served.
    pub fn admin(&self) -> SocketAddr {
        let bound = self.ground.admin.local_addr();
        bound.unwrap_or(self.ground.settings.admin)
    }

    /// Whether this node leads the group, as far as it knows.
    pub fn leads(&self) -> bool {
        self.control.as_ref().is_some_and(|control| {
            let status = control.handle.status();
            status.id.is_some() && status.leader == status.id
        })
    }

    /// What was bound, a line each.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "node {}, data in {}",
            self.name(),
            self.ground.settings.data.display()
        )];
        lines.extend(
            self.traffic
                .iter()
                .zip(&self.schemes)
                .map(|(address, scheme)| format!("traffic {scheme}://{address}")),
        );
        let admin_scheme = scheme(self.ground.admin_tls.is_some());
        lines.push(format!("admin {admin_scheme}://{}", self.admin()));
        let peer = self.ground.peer.local_addr();
        lines.push(format!(
            "peer {}",
            peer.unwrap_or(self.ground.settings.peer)
        ));
        lines
    }

    /// Stops without losing an accepted request: readiness fails, what is in flight finishes, then the rest ends.
    pub async fn stop(self) {
        let timeouts = &self.ground.settings.timeouts;
        if let Some(control) = &self.control {
            tokio::join!(tokio::time::sleep(timeouts.grace), control.take_leave());
        }
        self.proxy.drain(timeouts.drain).await;
        if let Some(exporter) = self.exporter {
            exporter.finish(LAST_TRACES).await;
        }
        if let Some(control) = self.control {
            control.end().await;
        }
        self.watching.abort();
        self.checking.abort();
        self.resolving.abort();
    }

    /// Ends at once, as a crash would: connections break, nothing is drained.
    pub async fn kill(self) {
        if let Some(control) = self.control {
            control.end().await;
        }
        self.watching.abort();
        self.checking.abort();
        self.resolving.abort();
        self.proxy.drain(Duration::ZERO).await;
    }

    /// Has the program that this process was started from, as it is there now, go on in place of this one. It may be
    /// dropped on the way; then this node serves on without its replica, and is to be stopped.
    ///
    /// # Errors
    /// When the other process does not come to serve. Then this node goes on, as if nothing had been.
    pub async fn hand_over(&mut self) -> anyhow::Result<HandedOver> {
        let mut successor = Successor::start(&self.sockets()?)?;
        successor.prepared().await?;
        if let Some(control) = self.control.take() {
            control.release(&self.ground, &self.proxy.workers()).await;
        }
        match successor.serving().await {
            Ok(()) => Ok(HandedOver(successor)),
            Err(error) => {
                // It is ended by that, and its hold of the data directory.
                drop(successor);
                let replica = self.ground.replica().await;
                let replica = replica.context("and this one cannot take its replica up again")?;
                let control = self.ground.begin(replica, self.proxy.workers(), None)?;
                self.control = Some(control);
                Err(error)
            }
        }
    }

    /// Finishes what is in flight behind a process that goes on: what is left here goes by the configs that it serves.
    pub async fn leave(self, HandedOver(successor): HandedOver) {
        tracing::info!(process = successor.id(), "handed over; draining");
        service::tell(&format!("MAINPID={}", successor.id()));
        let (publisher, workers) = (self.ground.publisher(), self.proxy.workers());
        let following = tokio::spawn(follow(successor.go(), publisher, workers));
        self.proxy
            .hand_over(self.ground.settings.timeouts.drain)
            .await;
        if let Some(exporter) = self.exporter {
            exporter.finish(LAST_TRACES).await;
        }
        following.abort();
        self.watching.abort();
        self.checking.abort();
        self.resolving.abort();
    }

    /// All that is listened on.
    fn sockets(&self) -> anyhow::Result<Sockets> {
        let Ground { settings, .. } = &self.ground;
        let mut all = Sockets::default();
        all.add(
            Purpose::Admin,
            settings.admin,
            self.ground.admin.try_clone()?,
        );
        all.add(Purpose::Peer, settings.peer, self.ground.peer.try_clone()?);
        for (address, sockets) in self.proxy.sockets() {
            for socket in sockets {
                all.add(Purpose::Traffic, *address, socket.try_clone()?);
            }
        }
        Ok(all)
    }
}

/// Tells whoever manages this process that it serves.
pub fn tell_ready() {
    service::tell("READY=1");
}

/// Publishes what the process that took over serves, until that or this one ends.
async fn follow(mut heir: Heir, publisher: Publisher, workers: proxy::Workers) {
    let Some(first) = heir.config().await else {
        return;
    };
    let (newest, configs) = watch::channel(first);
    let (tell, mut published) = mpsc::unbounded_channel();
    let report = move |_| {
        // Nobody listens when this is about to end.
        let _ = tell.send(());
    };
    let publishing = publisher.run(configs, Arc::clone, || workers.fence(), report);
    let asking = async {
        while published.recv().await.is_some() && heir.applied().await.is_ok() {
            match heir.config().await {
                Some(config) => newest.send_replace(config),
                None => break,
            };
        }
    };
    tokio::select! {
        () = publishing => {}
        () = asking => {}
    }
}

fn listen(
    sockets: &mut Sockets,
    purpose: Purpose,
    address: SocketAddr,
) -> anyhow::Result<TcpListener> {
    if let Some(taken) = sockets.take(purpose, address).pop() {
        return Ok(taken);
    }
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot bind the {purpose} address {address}; give this node another one if something else holds it")
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
        trusted: listener.trusted.clone(),
        revision_header: listener.revision_header,
        forwarded_header: listener.forwarded_header,
        real_ip_header: listener.real_ip_header,
        client_cert_header: listener.client_cert_header,
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
fn boot(publisher: &Publisher, handle: &Handle) -> anyhow::Result<()> {
    let config = handle.watch().borrow().config.clone();
    let snapshot = compile(&config, &publisher.registry, None)?;
    publisher.activate(snapshot);
    Ok(())
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
