//! One backend, for as long as anything refers to it: whether it admits, what it is serving.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

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
    admits: AtomicBool,
    load: Padded<Load>,
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
            admits: AtomicBool::new(false),
            load: Padded::default(),
            runtime,
            metrics,
        })
    }

    /// Whether a request may be sent to it now. To be read again after the last await before the first byte: what a
    /// change removed, drained or weighted 0 is closed before that change is reported as served.
    pub fn admits(&self) -> bool {
        self.admits.load(Ordering::Acquire)
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
        self.admits.store(true, Ordering::Release);
    }

    /// Closes it to requests; those under way go on.
    pub fn close(&self) {
        self.admits.store(false, Ordering::Release);
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
            .field("admits", &self.admits())
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
