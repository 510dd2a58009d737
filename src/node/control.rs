//! The control plane of a node: its replica, the admin API, and what follows from what the group agrees on.
//!
//! It can end while traffic goes on, so that another process has the data directory, and begin once more.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::fences;
use super::predecessor::Leaving;
use crate::admin::{self, AdminParts, AdminState};
use crate::backend::Registry;
use crate::proxy;
use crate::replication::{self, Activation, Committed, Handle, Pace, Rejected, Running};
use crate::routing::SnapshotCell;
use crate::routing::publish::{Published, Publisher};
use crate::settings::{self, Settings};
use crate::shutdown::{self, Trigger};
use crate::state::LEVEL;
use crate::telemetry::metrics::MetricsRegistry;
use crate::tls::{PeerTls, ServerTls};

/// How long a leader that stops waits for another to take over.
const HAND_OVER: Duration = Duration::from_secs(2);

/// How long requests to the admin API that are under way have to end before the replica does.
const CLOSING: Duration = Duration::from_secs(1);

/// What it begins with, any number of times.
pub(super) struct Ground {
    pub(super) settings: Settings,
    pub(super) admin: TcpListener,
    pub(super) peer: TcpListener,
    pub(super) admin_tls: Option<Arc<ServerTls>>,
    pub(super) peers: Option<Arc<PeerTls>>,
    pub(super) cell: Arc<SnapshotCell>,
    pub(super) registry: Arc<Registry>,
    pub(super) metrics: Arc<MetricsRegistry>,
    pub(super) busy: Arc<AtomicBool>,
}

/// A control plane that runs.
pub(super) struct Control {
    pub(super) handle: Handle,
    replica: Running,
    /// Readiness fails, and whoever watches is let go.
    stopping: Trigger,
    /// The admin API takes no more requests.
    closing: Trigger,
    publishing: JoinHandle<()>,
    fencing: JoinHandle<()>,
    serving: JoinHandle<()>,
}

impl Ground {
    /// Puts snapshots in force.
    pub(super) fn publisher(&self) -> Publisher {
        Publisher {
            cell: self.cell.clone(),
            registry: self.registry.clone(),
        }
    }

    /// Opens the data directory. It returns when all that is known there to be decided is applied.
    pub(super) async fn replica(&self) -> anyhow::Result<(Handle, Running)> {
        let settings = &self.settings;
        let replica = replication::start(replication::Options {
            data: settings.data.clone(),
            name: settings.node.clone(),
            voters: settings.voters.clone(),
            join: settings.join.clone(),
            advertise: settings.advertise.clone(),
            listener: Some(self.peer.try_clone()?),
            tls: self.peers.clone(),
            admin: Some(self.admin.local_addr()?),
            heartbeat: settings.consensus.heartbeat,
            election_timeout: settings.consensus.election_timeout,
            checkpoint: Pace {
                entries: settings.consensus.checkpoint_commands as u64,
                bytes: (settings.consensus.checkpoint_mib as u64).saturating_mul(1 << 20),
            },
            level: LEVEL,
        });
        Ok(replica.await?)
    }

    /// Begins to publish what the group agrees on, and to serve the admin API. What `leaving` is left of goes along.
    pub(super) fn begin(
        &self,
        (handle, replica): (Handle, Running),
        workers: proxy::Workers,
        leaving: Option<Arc<Leaving>>,
    ) -> anyhow::Result<Control> {
        let (stopping, stop) = shutdown::channel();
        let (closing, close) = shutdown::channel();
        let listener = tokio::net::TcpListener::from_std(self.admin.try_clone()?)?;
        let ready = Arc::new(AtomicBool::new(false));
        let router = admin::router(AdminState::from(AdminParts {
            replication: handle.clone(),
            cell: self.cell.clone(),
            registry: self.registry.clone(),
            metrics: self.metrics.clone(),
            serving: ready.clone(),
            busy: self.busy.clone(),
            access: Arc::new(access(&self.settings.access)),
            shutdown: stop,
        }));
        let serving = admin::serve(listener, self.admin_tls.clone(), router, close);
        let fencing = fences::run(handle.clone(), self.registry.clone());
        let publishing = publish(self.publisher(), handle.clone(), workers, ready, leaving);
        Ok(Control {
            handle,
            replica,
            stopping,
            closing,
            publishing: tokio::spawn(publishing),
            fencing: tokio::spawn(fencing),
            serving: tokio::spawn(serving),
        })
    }
}

impl Control {
    /// Fails readiness, and hands leadership over while there is a replica to do so: no writer waits for an election.
    pub(super) async fn take_leave(&self) {
        self.stopping.set();
        self.handle.hand_over(HAND_OVER).await;
    }

    /// Ends, and lets go of the data directory.
    pub(super) async fn end(self) {
        self.serving.abort();
        self.publishing.abort();
        self.fencing.abort();
        self.replica.stop().await;
    }

    /// Ends while traffic goes on, for another process to have the data directory: requests under way are answered,
    /// those to come wait in the queue of the socket.
    pub(super) async fn release(mut self, ground: &Ground, workers: &proxy::Workers) {
        self.closing.set();
        self.stopping.set();
        // A caller that takes longer asks again.
        let _ = tokio::time::timeout(CLOSING, &mut self.serving).await;
        self.take_leave().await;
        self.fencing.abort();
        // It ends by that, so nothing is confirmed behind what follows.
        let _ = (&mut self.fencing).await;
        // The other process speaks for this node, and knows nothing of what passes here.
        ground.registry.fences().revoke();
        workers.fence().await;
        self.end().await;
    }
}

/// Follows what the group agrees on, and reports what is served.
async fn publish(
    publisher: Publisher,
    handle: Handle,
    workers: proxy::Workers,
    ready: Arc<AtomicBool>,
    leaving: Option<Arc<Leaving>>,
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
    let fence = || async {
        workers.fence().await;
        if let Some(leaving) = &leaving {
            // At least as new as what was published.
            let config = handle.watch().borrow().config.clone();
            leaving.take_along(&config).await;
        }
    };
    publisher.run(handle.watch(), config, fence, report).await;
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
