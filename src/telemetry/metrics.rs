//! What is counted of routes, backends and the listeners, and the registry that keeps it by name.
//!
//! A route or backend finds its counters here when a snapshot is compiled and holds them by `Arc`, so recording is a
//! few relaxed adds and no lookup. They are kept by name: a new revision goes on counting where the old one was.

mod backend;
mod class;
mod listener;
mod route;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::registry::Registry;

use super::render::TrafficCollector;

pub use backend::{BackendError, BackendMetrics};
pub(crate) use class::CLASSES;
pub use listener::ListenerMetrics;
pub use route::{Finished, RouteMetrics};

/// Below this many names none is forgotten.
const NAMES_KEPT: usize = 1_000;

/// Pool and id.
type BackendName = (Box<str>, Box<str>);

/// All counters of this node by name, and what else is to be shown on `/metrics`.
#[derive(Debug)]
pub struct MetricsRegistry {
    workers: usize,
    listener: Arc<ListenerMetrics>,
    routes: Mutex<ByName<Box<str>, RouteMetrics>>,
    backends: Mutex<ByName<BackendName, BackendMetrics>>,
    others: Mutex<Vec<Arc<dyn Collector>>>,
}

impl MetricsRegistry {
    /// An empty registry for `workers` data-plane threads.
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            workers,
            listener: Arc::new(ListenerMetrics::new(workers)),
            routes: Mutex::default(),
            backends: Mutex::default(),
            others: Mutex::default(),
        })
    }

    /// The counters of route `name`, the same ones each time.
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        let make = || RouteMetrics::new(self.workers);
        lock(&self.routes).of(name.into(), make)
    }

    /// The counters of backend `id` of `pool`, the same ones each time.
    pub fn backend(&self, pool: &str, id: &str) -> Arc<BackendMetrics> {
        let make = || BackendMetrics::new(self.workers);
        lock(&self.backends).of((pool.into(), id.into()), make)
    }

    /// The counters of the listeners.
    pub fn listener(&self) -> &Arc<ListenerMetrics> {
        &self.listener
    }

    /// Requests that clients were answered, by class: by all routes, and where none was found. It goes back when routes
    /// that are gone are forgotten.
    pub(crate) fn answers(&self) -> [u64; CLASSES.len()] {
        let routes = lock(&self.routes);
        let of_routes = routes.known.values().map(|route| route.answers());
        let mut sum = self.listener.answers();
        for answers in of_routes {
            for (sum, more) in sum.iter_mut().zip(answers) {
                *sum += more;
            }
        }
        sum
    }

    /// Adds what another part counts to every later rendering. Its names get the prefix `synod_` too.
    pub fn register(&self, collector: Arc<dyn Collector>) {
        lock(&self.others).push(collector);
    }

    /// Everything in the OpenMetrics text format.
    pub fn render(self: &Arc<Self>) -> String {
        let mut registry = Registry::with_prefix("synod");
        registry.register_collector(Box::new(TrafficCollector(self.clone())));
        for collector in lock(&self.others).iter() {
            registry.register_collector(Box::new(Shared(collector.clone())));
        }
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &registry) {
            Ok(()) => text,
            Err(std::fmt::Error) => {
                tracing::error!("a metric could not be rendered");
                text
            }
        }
    }

    pub(crate) fn routes(&self) -> Vec<(Box<str>, Arc<RouteMetrics>)> {
        lock(&self.routes).all()
    }

    pub(crate) fn backends(&self) -> Vec<(BackendName, Arc<BackendMetrics>)> {
        lock(&self.backends).all()
    }
}

/// Counters by name, bounded when names come and go for months: those that nothing else holds are forgotten when there
/// are twice as many as were left the last time, so that a new name costs no look at all others.
#[derive(Debug)]
struct ByName<K, M> {
    known: BTreeMap<K, Arc<M>>,
    /// At so many they are looked through.
    full: usize,
}

impl<K: Ord + Clone, M> ByName<K, M> {
    /// The counters of that name, made if there are none.
    fn of(&mut self, name: K, make: impl FnOnce() -> M) -> Arc<M> {
        if let Some(metrics) = self.known.get(&name) {
            return metrics.clone();
        }
        if self.known.len() >= self.full {
            self.known
                .retain(|_, metrics| Arc::strong_count(metrics) > 1);
            self.full = NAMES_KEPT.max(2 * self.known.len());
        }
        let metrics = Arc::new(make());
        self.known.insert(name, metrics.clone());
        metrics
    }

    fn all(&self) -> Vec<(K, Arc<M>)> {
        let known = self.known.iter();
        known
            .map(|(name, metrics)| (name.clone(), metrics.clone()))
            .collect()
    }
}

impl<K, M> Default for ByName<K, M> {
    fn default() -> Self {
        Self {
            known: BTreeMap::new(),
            full: NAMES_KEPT,
        }
    }
}

#[derive(Debug)]
struct Shared(Arc<dyn Collector>);

impl Collector for Shared {
    fn encode(
        &self,
        encoder: prometheus_client::encoding::DescriptorEncoder,
    ) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }
}

/// A panic elsewhere must not take the metrics with it: counters are valid after any of them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn counters_are_kept_by_name_over_snapshots() {
        let registry = MetricsRegistry::new(2);
        let finished = Finished {
            status: 204,
            total: Duration::from_millis(3),
            received: 1,
            sent: 2,
        };
        registry.route("shop").finished(finished);
        registry.route("shop").finished(finished);
        assert_eq!(registry.route("shop").requests(200), 2);
    }

    #[test]
    fn names_out_of_use_are_forgotten_beyond_the_bound() {
        let registry = MetricsRegistry::new(1);
        let used = registry.route("used");
        for i in 0..=NAMES_KEPT + 1 {
            registry.route(&format!("gone-{i}"));
        }
        assert!(registry.routes().len() < 10);
        assert!(Arc::ptr_eq(&used, &registry.route("used")));
    }

    #[test]
    fn the_text_names_routes_and_backends() {
        let registry = MetricsRegistry::new(2);
        registry.route("shop").finished(Finished {
            status: 502,
            total: Duration::from_millis(3),
            received: 10,
            sent: 20,
        });
        let backend = registry.backend("web", "b1");
        backend.begun();
        backend.answered(200, Duration::from_micros(300));
        backend.failed(BackendError::Timeout);
        registry.listener().refused("http_request_error");
        let text = registry.render();
        for line in [
            r#"synod_requests_total{route="shop",class="5xx"} 1"#,
            r#"synod_request_duration_seconds_bucket{le="0.005",route="shop"} 1"#,
            r#"synod_request_body_bytes_total{route="shop"} 10"#,
            r#"synod_backend_answers_total{pool="web",backend="b1",class="2xx"} 1"#,
            r#"synod_backend_in_flight{pool="web",backend="b1"} 1"#,
            r#"synod_backend_errors_total{pool="web",backend="b1",error="timeout"} 1"#,
            r#"synod_refusals_total{reason="http_request_error"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
