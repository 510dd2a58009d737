//! One backend, for as long as anything refers to it: whether it may be picked, what it is serving.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::gate::Gate;
use super::health::{Health, Told};
use super::runtime::PoolRuntime;
use crate::config::Name;
use crate::telemetry::Padded;
use crate::telemetry::metrics::BackendMetrics;

/// An address of a pool, identified by (pool, id, address): with another address it is another backend.
///
/// It begins closed; publishing a snapshot opens and closes it. Its weight is a matter of the snapshot.
pub struct Backend {
    /// The pool it belongs to.
    pub pool: Name,
    /// Its stable id in that pool.
    pub id: Name,
    /// Where it listens.
    pub address: SocketAddr,
    /// Unique in this process, and never used again.
    pub key: u64,
    gate: Gate,
    load: Padded<Load>,
    told: Told,
    runtime: Arc<PoolRuntime>,
    metrics: Arc<BackendMetrics>,
}

/// What every request writes, apart from what every request reads.
#[derive(Debug, Default)]
struct Load {
    in_flight: AtomicU32,
    turn: AtomicU64,
    slot: AtomicU32,
}

/// Keys are drawn from one counter for all registries, scratch ones too.
static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

impl Backend {
    pub(super) fn new(
        pool: Name,
        id: Name,
        address: SocketAddr,
        runtime: Arc<PoolRuntime>,
        metrics: Arc<BackendMetrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            pool,
            id,
            address,
            key: NEXT_KEY.fetch_add(1, Ordering::Relaxed),
            gate: Gate::default(),
            load: Padded::default(),
            told: Told::default(),
            runtime,
            metrics,
        })
    }

    /// Whether the config lets a request be sent to it now. To be read again after the last await before the first
    /// byte: what a change removed, drained or weighted 0 is closed before that change is reported as served.
    pub fn admits(&self) -> bool {
        self.gate.is_open()
    }

    /// Whether it may be picked: it admits, and its health allows it. While its pool panics, being down is no reason
    /// against it; being unknown is one always.
    pub fn is_available(&self) -> bool {
        self.gate.lets_in(|| self.runtime.panics())
    }

    /// What is held of its health.
    pub fn health(&self) -> Health {
        self.gate.health()
    }

    /// Why the last check failed, until good ones have brought it up.
    pub fn health_reason(&self) -> Option<String> {
        self.told.reason()
    }

    /// Checks of it that were good, and that failed.
    pub fn checks(&self) -> (u64, u64) {
        self.told.counts()
    }

    /// Counts a check of it, and keeps why it failed.
    pub fn checked(&self, result: &Result<(), String>) {
        self.told.count(result.is_ok());
        match result {
            Ok(()) if !self.health().is_up() => {}
            Ok(()) => self.told.set_reason(None),
            Err(reason) => self.told.set_reason(Some(reason.clone())),
        }
    }

    /// Changes what is held of its health, as `next` says of what was held and of whether it admits requests. Tells
    /// whether it is another one now. Whether its pool is to panic is for the caller to judge then.
    pub fn change_health(&self, next: impl Fn(Health, bool) -> Health) -> bool {
        let before = self.gate.change(next);
        let health = self.health();
        if before == health {
            return false;
        }
        if health != Health::Unhealthy {
            self.told.set_reason(None);
        }
        self.runtime.load_changed(self);
        true
    }

    /// Requests it is serving, their bodies included.
    pub fn in_flight(&self) -> u32 {
        self.load.in_flight.load(Ordering::SeqCst)
    }

    /// Counts a request as under way, here, in its pool and in the metrics, until the guard is dropped: keep it until
    /// the response body has ended.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.load.in_flight.fetch_add(1, Ordering::SeqCst);
        self.runtime.load_changed(self);
        self.runtime.budget().began();
        self.metrics.begun();
        InFlight {
            backend: self.clone(),
        }
    }

    /// Its counters; begun and ended are counted by [`InFlight`].
    pub fn metrics(&self) -> &BackendMetrics {
        &self.metrics
    }

    /// Opens it to requests. Called when a snapshot that gives it a share is about to be published.
    pub fn open(&self) {
        self.gate.open();
    }

    /// Closes it to requests; those under way go on.
    pub fn close(&self) {
        self.gate.close();
    }

    /// Its place among equally loaded members; see `balance::turn`.
    pub(super) fn turn(&self) -> &AtomicU64 {
        &self.load.turn
    }

    /// Its index in the pool's load tree, if there is one.
    pub(super) fn slot(&self) -> &AtomicU32 {
        &self.load.slot
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("pool", &self.pool)
            .field("id", &self.id)
            .field("address", &self.address)
            .field("key", &self.key)
            .field("gate", &self.gate)
            .field("in_flight", &self.in_flight())
            .finish()
    }
}

/// A request under way at a backend. Dropping it says that the request is over.
#[derive(Debug)]
pub struct InFlight {
    backend: Arc<Backend>,
}

impl InFlight {
    /// Where the request is under way.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.backend.load.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.backend.runtime.load_changed(&self.backend);
        self.backend.runtime.budget().ended();
        self.backend.metrics.ended();
    }
}
