//! The one pointer that the data plane follows.

use std::sync::Arc;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use tokio::sync::watch;

use super::Snapshot;

/// Holds the snapshot in force. There is one in a node: table, balancers and policies change together or not at all.
#[derive(Debug)]
pub struct SnapshotCell {
    current: Arc<ArcSwap<Snapshot>>,
    /// How many were stored: only wakes who follows, who then loads.
    stored: watch::Sender<u64>,
}

impl SnapshotCell {
    /// Holding the empty snapshot of revision 0, which has no route.
    pub fn new() -> Self {
        Self {
            current: Arc::new(ArcSwap::from_pointee(Snapshot::default())),
            stored: watch::Sender::new(0),
        }
    }

    /// The snapshot in force. A request loads once and keeps what it got.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// A worker's own view, which costs one relaxed load as long as nothing was published.
    pub fn cache(&self) -> SnapshotCache {
        SnapshotCache(Cache::new(self.current.clone()))
    }

    /// Changes after each snapshot is in force. For parts off the request path, which then load.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.stored.subscribe()
    }

    pub(super) fn store(&self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        let before = self.current.swap(snapshot);
        self.stored.send_modify(|stored| *stored += 1);
        before
    }
}

impl Default for SnapshotCell {
    fn default() -> Self {
        Self::new()
    }
}

/// A worker's view of the cell. An idle worker is to call [`load`](Self::load) now and then, so as not to keep an old
/// snapshot alive.
#[derive(Debug, Clone)]
pub struct SnapshotCache(Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>);

impl SnapshotCache {
    /// The snapshot in force.
    pub fn load(&mut self) -> &Arc<Snapshot> {
        self.0.load()
    }
}
