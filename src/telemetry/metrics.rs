//! What is counted of routes, backends and the listeners, and the registry that keeps it by name.
//!
//! A route or backend finds its counters here when a snapshot is compiled and holds them by `Arc`, so recording is a
//! few relaxed adds and no lookup. They are kept by name: a new revision goes on counting where the old one was.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::registry::Registry;

use super::histogram::{self, Histogram, Totals};
use super::render::TrafficCollector;
use super::shards::{Count, Shards};

/// Counters that nothing but the registry holds are dropped once there are more of them than this.
const UNUSED_KEPT: usize = 1_000;

/// One finished request, as it is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Finished {
    /// The status that the client saw; 0 if it left before it saw one.
    pub status: u16,
    /// From the first byte of the request to the last byte of the answer.
    pub total: Duration,
    /// Body bytes from the client.
    pub received: u64,
    /// Body bytes to the client.
    pub sent: u64,
}

/// Counters of one route.
#[derive(Debug)]
pub struct RouteMetrics {
    shards: Shards<RouteShard>,
}

#[derive(Debug, Default)]
struct RouteShard {
    by_class: [Count; 5],
    latency: Histogram,
    received: Count,
    sent: Count,
    retries: Count,
}

impl RouteMetrics {
    /// Counters for `workers` data-plane threads.
    pub fn new(workers: usize) -> Self {
        Self {
            shards: Shards::new(workers),
        }
    }

    /// Counts a request that has ended.
    pub fn finished(&self, request: Finished) {
        let shard = self.shards.own();
        shard.by_class[class(request.status)].add(1);
        shard.latency.observe(request.total);
        shard.received.add(request.received);
        shard.sent.add(request.sent);
    }

    /// Counts one more try of a request.
    pub fn retried(&self) {
        self.shards.own().retries.add(1);
    }

    /// Ended requests whose status is of the class `status / 100`.
    pub fn requests(&self, status: u16) -> u64 {
        self.shards
            .sum(|shard| shard.by_class[class(status)].read())
    }

    /// Tries beyond the first.
    pub fn retries(&self) -> u64 {
        self.shards.sum(|shard| shard.retries.read())
    }

    pub(crate) fn bytes(&self) -> (u64, u64) {
        (
            self.shards.sum(|shard| shard.received.read()),
            self.shards.sum(|shard| shard.sent.read()),
        )
    }

    pub(crate) fn latency(&self) -> Totals {
        histogram::totals(&self.shards, |shard| &shard.latency)
    }
}

/// What went wrong with a backend, in one try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendError {
    /// No connection: refused, unreachable, or not within the connect timeout.
    Connect,
    /// The connection ended before the answer was whole.
    Reset,
    /// It was silent for longer than a timeout allows.
    Timeout,
    /// What it answered is not HTTP.
    Malformed,
}

impl BackendError {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Reset, Self::Timeout, Self::Malformed];

    /// The value of the `error` label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
        }
    }
}

/// Counters of one backend of one pool.
#[derive(Debug)]
pub struct BackendMetrics {
    shards: Shards<BackendShard>,
}

#[derive(Debug, Default)]
struct BackendShard {
    begun: Count,
    ended: Count,
    by_class: [Count; 5],
    latency: Histogram,
    errors: [Count; BackendError::ALL.len()],
    connections: Count,
}

impl BackendMetrics {
    /// Counters for `workers` data-plane threads.
    pub fn new(workers: usize) -> Self {
        Self {
            shards: Shards::new(workers),
        }
    }

    /// A try of a request has been given to this backend.
    pub fn begun(&self) {
        self.shards.own().begun.add(1);
    }

    /// That try is over, its body too.
    pub fn ended(&self) {
        self.shards.own().ended.add(1);
    }

    /// It answered with `status`, `first_byte` after the request was sent to it.
    pub fn answered(&self, status: u16, first_byte: Duration) {
        let shard = self.shards.own();
        shard.by_class[class(status)].add(1);
        shard.latency.observe(first_byte);
    }

    /// It failed.
    pub fn failed(&self, error: BackendError) {
        self.shards.own().errors[error as usize].add(1);
    }

    /// A new connection to it was opened.
    pub fn connected(&self) {
        self.shards.own().connections.add(1);
    }

    /// Answers whose status is of the class `status / 100`.
    pub fn answers(&self, status: u16) -> u64 {
        self.shards
            .sum(|shard| shard.by_class[class(status)].read())
    }

    /// Failures of that kind.
    pub fn errors(&self, error: BackendError) -> u64 {
        self.shards.sum(|shard| shard.errors[error as usize].read())
    }

    /// Connections opened so far.
    pub fn connections(&self) -> u64 {
        self.shards.sum(|shard| shard.connections.read())
    }

    /// Tries begun and not ended.
    pub fn in_flight(&self) -> u64 {
        // Ended first: a try that ends between the two reads then counts once too often, never below zero.
        let ended = self.shards.sum(|shard| shard.ended.read());
        self.shards
            .sum(|shard| shard.begun.read())
            .saturating_sub(ended)
    }

    pub(crate) fn latency(&self) -> Totals {
        histogram::totals(&self.shards, |shard| &shard.latency)
    }
}

/// The label values of the five status classes.
pub(crate) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// A client that left without an answer, status 0, counts with the faults of clients.
fn class(status: u16) -> usize {
    match status {
        0 => 3,
        _ => usize::from(status / 100).clamp(1, 5) - 1,
    }
}

/// Counters of the listeners, and of requests that no route took.
#[derive(Debug)]
pub struct ListenerMetrics {
    shards: Shards<ListenerShard>,
    refusals: Mutex<BTreeMap<&'static str, u64>>,
}

#[derive(Debug, Default)]
struct ListenerShard {
    accepted: Count,
    closed: Count,
    access_lines_dropped: Count,
}

impl ListenerMetrics {
    fn new(workers: usize) -> Self {
        Self {
            shards: Shards::new(workers),
            refusals: Mutex::default(),
        }
    }

    /// A client connected.
    pub fn accepted(&self) {
        self.shards.own().accepted.add(1);
    }

    /// A client's connection ended.
    pub fn closed(&self) {
        self.shards.own().closed.add(1);
    }

    /// A line of the access log was dropped, because its writer was behind.
    pub fn access_line_dropped(&self) {
        self.shards.own().access_lines_dropped.add(1);
    }

    /// A request was answered by the proxy itself, for `reason` (an RFC 9209 error type). Not on the path of a
    /// request that a backend answers, hence the lock.
    pub fn refused(&self, reason: &'static str) {
        *lock(&self.refusals).entry(reason).or_default() += 1;
    }

    /// How often requests were refused for `reason`.
    pub fn refusals(&self, reason: &str) -> u64 {
        lock(&self.refusals)
            .get(reason)
            .copied()
            .unwrap_or_default()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shards.sum(|shard| shard.accepted.read())
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        let closed = self.shards.sum(|shard| shard.closed.read());
        self.connections().saturating_sub(closed)
    }

    pub(crate) fn all_refusals(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.refusals).clone()
    }

    pub(crate) fn access_lines_dropped(&self) -> u64 {
        self.shards.sum(|shard| shard.access_lines_dropped.read())
    }
}

/// Pool and id.
type BackendName = (Box<str>, Box<str>);

/// All counters of this node by name, and what else is to be shown on `/metrics`.
#[derive(Debug)]
pub struct MetricsRegistry {
    workers: usize,
    listener: Arc<ListenerMetrics>,
    routes: Mutex<BTreeMap<Box<str>, Arc<RouteMetrics>>>,
    backends: Mutex<BTreeMap<BackendName, Arc<BackendMetrics>>>,
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
        let mut routes = lock(&self.routes);
        if let Some(metrics) = routes.get(name) {
            return metrics.clone();
        }
        forget_unused(&mut routes);
        let metrics = Arc::new(RouteMetrics::new(self.workers));
        routes.insert(name.into(), metrics.clone());
        metrics
    }

    /// The counters of backend `id` of `pool`, the same ones each time.
    pub fn backend(&self, pool: &str, id: &str) -> Arc<BackendMetrics> {
        let mut backends = lock(&self.backends);
        let name = (Box::from(pool), Box::from(id));
        if let Some(metrics) = backends.get(&name) {
            return metrics.clone();
        }
        forget_unused(&mut backends);
        let metrics = Arc::new(BackendMetrics::new(self.workers));
        backends.insert(name, metrics.clone());
        metrics
    }

    /// The counters of the listeners.
    pub fn listener(&self) -> &Arc<ListenerMetrics> {
        &self.listener
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
        lock(&self.routes)
            .iter()
            .map(|(name, metrics)| (name.clone(), metrics.clone()))
            .collect()
    }

    pub(crate) fn backends(&self) -> Vec<(BackendName, Arc<BackendMetrics>)> {
        lock(&self.backends)
            .iter()
            .map(|(name, metrics)| (name.clone(), metrics.clone()))
            .collect()
    }
}

/// Keeps the registry bounded when names come and go for months.
fn forget_unused<K: Ord, M>(known: &mut BTreeMap<K, Arc<M>>) {
    let unused = |metrics: &Arc<M>| Arc::strong_count(metrics) == 1;
    if known.values().filter(|metrics| unused(metrics)).count() > UNUSED_KEPT {
        known.retain(|_, metrics| !unused(metrics));
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
        for i in 0..=UNUSED_KEPT + 1 {
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
