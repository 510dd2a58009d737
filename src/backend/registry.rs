//! Finds again what outlives snapshots: backends by (pool, id, address), the rotation and budget of a pool.
//!
//! It holds everything weakly: what no snapshot and no request refers to is gone, and its entry is swept at the next
//! publication. Compiling looks things up here and changes nothing that a request can see; publishing does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Notify, mpsc};

use super::balance::Cursor;
use super::fence::Fences;
use super::member::Backend;
use super::meter::Meter;
use super::outlier::{SUSPECTS, Suspect, Suspects};
use super::runtime::PoolRuntime;
use crate::config::{Address, Name};
use crate::telemetry::metrics::{MetricsRegistry, RouteMetrics};
use crate::tls::Keyring;

/// Below this many entries a sweep is not worth its lock.
const SWEEP_ABOVE: usize = 64;

/// All backends, pools and routes that anything in this process refers to.
#[derive(Debug)]
pub struct Registry {
    metrics: Arc<MetricsRegistry>,
    keyring: Arc<Keyring>,
    known: Mutex<Known>,
    fences: Fences,
    suspects: Suspects,
    warming: Arc<Notify>,
    /// Of a scratch one: what is in use there is found here too.
    over: Option<Arc<Registry>>,
    /// Until somebody judges them.
    suspected: Mutex<Option<mpsc::Receiver<Suspect>>>,
}

#[derive(Debug, Default)]
struct Known {
    pools: HashMap<Name, Pool>,
    splits: HashMap<Name, Weak<Cursor>>,
    meters: HashMap<Name, Weak<Meter>>,
    /// Entries at the last sweep; it pays again at twice as many.
    swept: usize,
    entries: usize,
}

#[derive(Debug, Default)]
struct Pool {
    runtime: Weak<PoolRuntime>,
    backends: Backends,
}

/// Of one pool, by id and address.
type Backends = HashMap<(Name, Address), Weak<Backend>>;

impl Registry {
    /// An empty registry, whose backends and routes count into `metrics`.
    pub fn new(metrics: Arc<MetricsRegistry>) -> Self {
        let (suspects, suspected) = mpsc::channel(SUSPECTS);
        Self {
            metrics,
            keyring: Arc::new(Keyring::empty()),
            known: Mutex::default(),
            fences: Fences::default(),
            suspects,
            warming: Arc::default(),
            over: None,
            suspected: Mutex::new(Some(suspected)),
        }
    }

    /// The same, for pools that name what is on `keyring`.
    pub fn with_keyring(self, keyring: Arc<Keyring>) -> Self {
        Self { keyring, ..self }
    }

    /// What connections with TLS are made of.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// A registry to compile against and throw away: nothing of the real one is touched.
    pub fn scratch() -> Self {
        Self::new(MetricsRegistry::new(1))
    }

    /// A scratch registry that has what this one has on its keyring, and finds what is in use in this one: only what is
    /// new must be made.
    pub fn scratch_over(self: &Arc<Self>) -> Self {
        Self {
            over: Some(self.clone()),
            ..Self::scratch().with_keyring(self.keyring.clone())
        }
    }

    /// What pool `name` keeps over revisions.
    pub fn pool(&self, name: &Name) -> Arc<PoolRuntime> {
        let known = self.over.as_ref().and_then(|over| over.known_pool(name));
        known.unwrap_or_else(|| self.pool_of(&mut self.lock(), name).0)
    }

    fn known_pool(&self, name: &Name) -> Option<Arc<PoolRuntime>> {
        self.lock().pools.get(name)?.runtime.upgrade()
    }

    fn known_backend(&self, pool: &Name, key: &(Name, Address)) -> Option<Arc<Backend>> {
        self.lock().pools.get(pool)?.backends.get(key)?.upgrade()
    }

    /// The backend of that identity: the one in use, or a new one, closed.
    pub fn backend(&self, pool: &Name, id: &Name, address: impl Into<Address>) -> Arc<Backend> {
        let address = address.into();
        let key = (id.clone(), address.clone());
        let over = self.over.as_ref();
        if let Some(backend) = over.and_then(|over| over.known_backend(pool, &key)) {
            return backend;
        }
        let mut known = self.lock();
        let (runtime, backends) = self.pool_of(&mut known, pool);
        if let Some(backend) = backends.get(&key).and_then(Weak::upgrade) {
            return backend;
        }
        let metrics = self.metrics.backend(pool.as_str(), id.as_str());
        let backend = Backend::new(pool.clone(), id.clone(), address, runtime, metrics);
        if backends.insert(key, Arc::downgrade(&backend)).is_none() {
            known.entries += 1;
        }
        backend
    }

    /// The backends that failed often enough to be judged; for one taker, none after that.
    pub fn suspects(&self) -> Option<mpsc::Receiver<Suspect>> {
        let mut suspected = self
            .suspected
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        suspected.take()
    }

    /// Woken when a backend begins to warm.
    pub fn warming(&self) -> Arc<Notify> {
        self.warming.clone()
    }

    /// Which tokens are good, of the locks that routes name.
    pub fn fences(&self) -> &Fences {
        &self.fences
    }

    /// Every backend with that id that still serves anything, whatever its address was.
    pub fn backends(&self, pool: &Name, id: &Name) -> Vec<Arc<Backend>> {
        let known = self.lock();
        let Some(pool) = known.pools.get(pool) else {
            return Vec::new();
        };
        let of_id = pool.backends.iter().filter(|((of, _), _)| of == id);
        of_id.filter_map(|(_, weak)| weak.upgrade()).collect()
    }

    /// The place in the rotation of route `name` over its pools.
    pub fn split(&self, name: &Name) -> Arc<Cursor> {
        let mut known = self.lock();
        if let Some(cursor) = known.splits.get(name).and_then(Weak::upgrade) {
            return cursor;
        }
        let cursor = Arc::new(Cursor::random());
        if known
            .splits
            .insert(name.clone(), Arc::downgrade(&cursor))
            .is_none()
        {
            known.entries += 1;
        }
        cursor
    }

    /// What was taken of the rate of route `name`.
    pub fn meter(&self, name: &Name) -> Arc<Meter> {
        let mut known = self.lock();
        if let Some(meter) = known.meters.get(name).and_then(Weak::upgrade) {
            return meter;
        }
        let meter = Arc::new(Meter::new());
        let kept = Arc::downgrade(&meter);
        if known.meters.insert(name.clone(), kept).is_none() {
            known.entries += 1;
        }
        meter
    }

    /// The counters of route `name`.
    pub fn route_metrics(&self, name: &Name) -> Arc<RouteMetrics> {
        self.metrics.route(name.as_str())
    }

    /// Forgets what nothing refers to any more, when there may be enough of it.
    pub fn sweep(&self) {
        let mut known = self.lock();
        if known.entries > SWEEP_ABOVE.max(known.swept * 2) {
            known.sweep();
        }
    }

    /// Entries, dead ones included.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.lock().entries
    }

    fn pool_of<'a>(
        &self,
        known: &'a mut Known,
        name: &Name,
    ) -> (Arc<PoolRuntime>, &'a mut Backends) {
        known.pool(name, || {
            PoolRuntime::new(self.suspects.clone(), self.warming.clone())
        })
    }

    /// A panic elsewhere must not end publishing: the maps are valid after any of their steps.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// That pool, its runtime made by `make` unless anything refers to one.
    fn pool(
        &mut self,
        name: &Name,
        make: impl FnOnce() -> Arc<PoolRuntime>,
    ) -> (Arc<PoolRuntime>, &mut Backends) {
        if !self.pools.contains_key(name) {
            self.entries += 1;
        }
        let pool = self.pools.entry(name.clone()).or_default();
        let runtime = pool.runtime.upgrade().unwrap_or_else(|| {
            let runtime = make();
            pool.runtime = Arc::downgrade(&runtime);
            runtime
        });
        (runtime, &mut pool.backends)
    }

    fn sweep(&mut self) {
        self.splits.retain(|_, cursor| cursor.strong_count() > 0);
        self.meters.retain(|_, meter| meter.strong_count() > 0);
        self.pools.retain(|_, pool| {
            pool.backends.retain(|_, weak| weak.strong_count() > 0);
            !pool.backends.is_empty() || pool.runtime.strong_count() > 0
        });
        let backends: usize = self.pools.values().map(|pool| pool.backends.len()).sum();
        self.entries = self.splits.len() + self.meters.len() + self.pools.len() + backends;
        self.swept = self.entries;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_backend_is_its_pool_id_and_address() {
        let registry = Registry::scratch();
        let one = registry.backend(&name("web"), &name("b1"), address(1));
        assert!(Arc::ptr_eq(
            &one,
            &registry.backend(&name("web"), &name("b1"), address(1))
        ));
        for (pool, id, port) in [("web", "b1", 2), ("web", "b2", 1), ("api", "b1", 1)] {
            let other = registry.backend(&name(pool), &name(id), address(port));
            assert_ne!(other.key, one.key, "{pool} {id} {port}");
        }
        assert!(!one.admits(), "looking a backend up opens nothing");
    }

    #[test]
    fn a_moved_backend_is_found_by_its_id_while_it_serves() {
        let registry = Registry::scratch();
        let old = registry
            .backend(&name("web"), &name("b1"), address(1))
            .begin();
        let new = registry.backend(&name("web"), &name("b1"), address(2));
        assert_eq!(registry.backends(&name("web"), &name("b1")).len(), 2);
        drop(old);
        let left = registry.backends(&name("web"), &name("b1"));
        assert_eq!(
            left.iter().map(|backend| backend.key).collect::<Vec<_>>(),
            [new.key]
        );
    }

    #[test]
    fn what_nothing_refers_to_is_forgotten() {
        let registry = Registry::scratch();
        let kept = registry.backend(&name("web"), &name("kept"), address(1));
        for i in 0..1_000 {
            registry.backend(&name("web"), &name(&format!("b{i}")), address(1));
            registry.backend(&name(&format!("pool{i}")), &name("b"), address(1));
            registry.split(&name(&format!("route{i}")));
            registry.sweep();
        }
        assert!(
            registry.entries() <= 2 * SWEEP_ABOVE,
            "{}",
            registry.entries()
        );
        assert!(Arc::ptr_eq(
            &kept,
            &registry.backend(&name("web"), &name("kept"), address(1))
        ));
    }
}
