//! One backend, for as long as anything refers to it: whether it may be picked, what it is serving.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::gate::Gate;
use super::health::{Health, Told};
use super::latency::{FAILURE, LONGEST_CHARGE, Millis, PeakEwma};
use super::outlier::{Ejection, Ejections, Row, Suspect};
use super::place::{Resolved, Target};
use super::runtime::PoolRuntime;
use super::warming::Warming;
use crate::config::{Address, Name, Outlier};
use crate::telemetry::Padded;
use crate::telemetry::metrics::{BackendError, BackendMetrics};
use crate::tls::{Host, Sessions};

/// An address of a pool, identified by (pool, id, address): with another address it is another backend.
///
/// It begins closed; publishing a snapshot opens and closes it. Its weight is a matter of the snapshot.
pub struct Backend {
    /// The pool it belongs to.
    pub pool: Name,
    /// Its stable id in that pool.
    pub id: Name,
    /// Where it listens.
    pub address: Address,
    /// Unique in this process, and never used again.
    pub key: u64,
    resolved: Option<Resolved>,
    sessions: OnceLock<Sessions>,
    gate: Gate,
    load: Padded<Load>,
    told: Told,
    ejections: Ejections,
    warming: Warming,
    runtime: Arc<PoolRuntime>,
    metrics: Arc<BackendMetrics>,
}

/// What every request writes, apart from what every request reads.
#[derive(Debug, Default)]
struct Load {
    in_flight: AtomicU32,
    turn: AtomicU64,
    slot: AtomicU32,
    latency: PeakEwma,
    row: Row,
}

/// What came of a request that a backend answered.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// When its head had been read.
    pub at: Instant,
    /// From the beginning of the try.
    pub first_byte: Duration,
    /// For how long it asked to be left alone, with a status of failure.
    pub retry_after: Option<Duration>,
}

/// Keys are drawn from one counter for all registries, scratch ones too.
static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

/// Backends removed so far, in all registries.
static REMOVALS: AtomicU64 = AtomicU64::new(0);

/// How many backends were removed so far in this process: as long as it does not change, none was.
pub fn removals() -> u64 {
    REMOVALS.load(Ordering::Acquire)
}

impl Backend {
    pub(super) fn new(
        pool: Name,
        id: Name,
        address: Address,
        runtime: Arc<PoolRuntime>,
        metrics: Arc<BackendMetrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            pool,
            id,
            resolved: Resolved::of(&address),
            sessions: OnceLock::new(),
            address,
            key: NEXT_KEY.fetch_add(1, Ordering::Relaxed),
            gate: Gate::default(),
            load: Padded::default(),
            told: Told::default(),
            ejections: Ejections::default(),
            warming: Warming::default(),
            runtime,
            metrics,
        })
    }

    /// Whether the config lets a request be sent to it now. To be read again after the last await before the first
    /// byte: what a change removed, drained or weighted 0 is closed before that change is reported as served.
    pub fn admits(&self) -> bool {
        self.gate.is_open()
    }

    /// Whether it may be picked: it admits, its health allows it, and it is not ejected; or the recourse of its
    /// pool overrules these two.
    pub fn is_available(&self) -> bool {
        self.gate.lets_in(|| self.runtime.recourse())
    }

    /// As [`admits`](Self::admits), for a request that sticks to it.
    pub fn admits_stuck(&self) -> bool {
        self.gate.is_open_to_stuck()
    }

    /// As [`is_available`](Self::is_available), for a request that sticks to it.
    pub fn is_available_to_stuck(&self) -> bool {
        self.gate.lets_stick(|| self.runtime.recourse())
    }

    /// Says whether requests that stick to it may come even when it is closed to others.
    pub fn set_sticky(&self, sticky: bool) {
        self.gate.set_sticky(sticky);
    }

    /// Whether it may be picked and has room for one more request.
    pub(super) fn is_open(&self) -> bool {
        self.gate.is_free() || (self.is_available() && self.has_room())
    }

    /// As [`is_open`](Self::is_open); of one that warms, by `chance` as often as its pace says.
    pub(super) fn is_open_by(&self, chance: impl FnOnce() -> u64) -> bool {
        self.gate.is_free()
            || (self.is_available() && self.has_room() && self.gate.is_warm_for(chance))
    }

    /// Whether its limit allows one more request.
    pub fn has_room(&self) -> bool {
        !self.gate.is_limited() || self.in_flight() < self.most_in_flight()
    }

    /// How many requests it takes at a time: while it warms, its part of the limit.
    fn most_in_flight(&self) -> u32 {
        match self.runtime.line().per_backend() {
            u32::MAX => u32::MAX,
            most => (u64::from(most) * u64::from(self.pace())).div_ceil(100) as u32,
        }
    }

    /// Wakes one that waits for room in its pool if there is some now. Who is woken in vain would lose its place.
    pub(super) fn let_in(&self) {
        if self.gate.is_limited() && self.has_room() && self.runtime.has_room() {
            self.runtime.line().ended();
        }
    }

    /// Says whether its pool has limits.
    pub fn set_limited(&self, limited: bool) {
        if self.gate.set_limited(limited) {
            self.runtime.eligibility_changed(self);
        }
    }

    /// What to connect to next: a name's addresses take turns. Waits until a name was looked up for the first time;
    /// `None` as long as no lookup has found an address.
    pub async fn target(&self) -> Option<Target<'_>> {
        Some(match (&self.address, &self.resolved) {
            (Address::Name { port, .. }, Some(resolved)) => {
                Target::Tcp((resolved.next().await?, *port).into())
            }
            (Address::Unix(path), _) => Target::Unix(path),
            (Address::Socket(address), _) => Target::Tcp(*address),
            (Address::Name { .. }, None) => unreachable!("a name has its addresses"),
        })
    }

    /// Tells the addresses of its name; none where a lookup has failed, after which the last ones stay.
    pub fn set_addresses(&self, addresses: &Arc<[IpAddr]>) {
        if let Some(resolved) = &self.resolved {
            resolved.set(addresses.clone());
        }
    }

    /// The addresses that its name has now; none if it is no name.
    pub fn addresses(&self) -> Option<Arc<[IpAddr]>> {
        self.resolved.as_ref().map(Resolved::addresses)
    }

    /// Whether its name has no address yet.
    pub fn is_unresolved(&self) -> bool {
        self.addresses()
            .is_some_and(|addresses| addresses.is_empty())
    }

    /// The host of its address, as its certificate would have it, if it is at `address`.
    pub fn host(&self, address: SocketAddr) -> Host<'_> {
        match &self.address {
            Address::Name { host, .. } => Host::Name(host),
            Address::Socket(_) | Address::Unix(_) => Host::Ip(address.ip()),
        }
    }

    /// TLS sessions with it, to be taken up again.
    pub fn sessions(&self) -> &Sessions {
        self.sessions.get_or_init(Sessions::default)
    }

    /// What is held of its health.
    pub fn health(&self) -> Health {
        self.gate.health()
    }

    /// Whether its health lets it get requests, and it is not ejected.
    pub fn is_up(&self) -> bool {
        self.health().is_up() && !self.is_ejected()
    }

    /// Whether it is ejected.
    pub fn is_ejected(&self) -> bool {
        self.gate.is_ejected()
    }

    /// The ejection under way.
    pub fn ejection(&self) -> Option<Ejection> {
        self.ejections.current()
    }

    /// Ejections so far.
    pub fn ejection_count(&self) -> u64 {
        self.ejections.total()
    }

    /// Ejects it, which it is not yet; when that ends. Which recourse its pool has is for the caller to judge then.
    pub fn eject(&self, now: Instant, rule: &Outlier, why: String) -> Instant {
        let until = self.ejections.begin(now, rule, why);
        self.gate.set_ejected(true);
        self.runtime.eligibility_changed(self);
        until
    }

    /// Ends its ejection if `ends` says so. Tells whether it did; which recourse its pool has is for the caller to
    /// judge then.
    pub fn readmit(&self, now: Instant, ends: impl FnOnce(&Ejection) -> bool) -> bool {
        if !self.is_ejected() || !self.ejections.end(now, ends) {
            return false;
        }
        self.load.row.succeeded();
        self.gate.set_ejected(false);
        self.runtime.eligibility_changed(self);
        true
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
    /// whether it is another one now. Which recourse its pool has is for the caller to judge then.
    pub fn change_health(&self, next: impl Fn(Health, bool) -> Health) -> bool {
        let before = self.gate.change(next);
        let health = self.health();
        if before == health {
            return false;
        }
        if health != Health::Unhealthy {
            self.told.set_reason(None);
        }
        self.runtime.eligibility_changed(self);
        true
    }

    /// Requests it is serving, their bodies included.
    pub fn in_flight(&self) -> u32 {
        self.load.in_flight.load(Ordering::SeqCst)
    }

    /// Counts a request as under way, here, in its pool and in the metrics, until the guard is dropped: keep it until
    /// the response body has ended.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        let before = self.load.in_flight.fetch_add(1, Ordering::SeqCst);
        self.load_changed(before + 1);
        self.runtime.budget().began();
        self.metrics.begun();
        InFlight {
            backend: self.clone(),
        }
    }

    /// As [`begin`](Self::begin), within the limits of its pool; `None` if they are reached.
    pub fn try_begin(self: &Arc<Self>) -> Option<InFlight> {
        if !self.gate.is_limited() {
            return Some(self.begin());
        }
        let most = self.most_in_flight();
        let enter = |in_flight| (in_flight < most).then_some(in_flight + 1);
        let entered = self
            .load
            .in_flight
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, enter);
        let in_flight = entered.ok()? + 1;
        if !self
            .runtime
            .budget()
            .try_began(self.runtime.line().requests())
        {
            self.load.in_flight.fetch_sub(1, Ordering::SeqCst);
            // Somebody may have seen it.
            self.load_changed(in_flight);
            return None;
        }
        self.load_changed(in_flight);
        self.metrics.begun();
        Some(InFlight {
            backend: self.clone(),
        })
    }

    /// Tells of a change of the requests in flight; of those before and after, `peak` is the greater number.
    fn load_changed(&self, peak: u32) {
        if self.gate.is_limited() && peak >= self.most_in_flight() {
            self.runtime.eligibility_changed(self);
        } else {
            self.runtime.load_changed(self);
        }
    }

    /// Takes in that it answered.
    pub fn answered(&self, answer: Answer) {
        let Answer {
            status,
            at,
            first_byte,
            retry_after,
        } = answer;
        self.metrics.answered(status, first_byte);
        match status {
            _ if is_about_request(status) => {}
            500.. => self.count_failure(),
            _ => self.load.row.succeeded(),
        }
        if self.runtime.measures_latency() {
            let charge = match status {
                _ if is_about_request(status) => Duration::ZERO,
                429 | 500.. => retry_after.unwrap_or(FAILURE).min(LONGEST_CHARGE),
                _ => Duration::ZERO,
            };
            let now = Millis::of(at);
            self.load.latency.observe(now, first_byte.max(charge));
        }
    }

    /// Takes in that it failed.
    pub fn failed(&self, error: BackendError) {
        self.metrics.failed(error);
        self.count_failure();
        if self.runtime.measures_latency() {
            self.load
                .latency
                .observe(Millis::of(Instant::now()), FAILURE);
        }
    }

    /// Counts towards its ejection.
    fn count_failure(&self) {
        if self.load.row.failed(self.runtime.failures_that_eject()) {
            self.runtime.suspect(Suspect {
                pool: self.pool.clone(),
                key: self.key,
            });
        }
    }

    /// Its time to the first byte, in microseconds, as the average is at `now`; `None` if it is not measured.
    pub(super) fn latency(&self, now: Millis) -> Option<f64> {
        self.load.latency.at(now)
    }

    /// Its average time to the first byte as it is now, for those who look; `None` if it is not measured.
    pub fn average_first_byte(&self) -> Option<Duration> {
        let micros = self.latency(Millis::of(Instant::now()))?;
        Some(Duration::from_secs_f64(micros / 1e6))
    }

    /// Its counters; begun and ended are counted by [`InFlight`].
    pub fn metrics(&self) -> &BackendMetrics {
        &self.metrics
    }

    /// Opens it to requests. Called when a snapshot that gives it a share is about to be published.
    pub fn open(&self) {
        if self.gate.open() {
            self.runtime.eligibility_changed(self);
        }
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(super) fn warming(&self) -> &Warming {
        &self.warming
    }

    pub(super) fn runtime(&self) -> &Arc<PoolRuntime> {
        &self.runtime
    }

    /// Closes it to requests; those under way go on.
    pub fn close(&self) {
        if self.gate.close() {
            self.runtime.eligibility_changed(self);
        }
    }

    /// Says that the config has it: it may be closed all the same.
    pub fn keep(&self) {
        self.gate.set_removed(false);
    }

    /// Says that the config no longer has it, under this address at least. Requests under way go on; a tunnel, which
    /// may never end, does not.
    pub fn remove(&self) {
        self.gate.set_removed(true);
        REMOVALS.fetch_add(1, Ordering::Release);
    }

    /// Whether the config no longer has it.
    pub fn is_removed(&self) -> bool {
        self.gate.is_removed()
    }

    /// Its place among equally loaded members; see `balance::turn`.
    pub(super) fn turn(&self) -> &AtomicU64 {
        &self.load.turn
    }

    /// Its index among the members of the pool, where those are big.
    pub(super) fn slot(&self) -> &AtomicU32 {
        &self.load.slot
    }
}

/// What no backend does for anybody, such as a method that it has not: any client can have it said.
fn is_about_request(status: u16) -> bool {
    matches!(status, 501 | 505)
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
        let before = self.backend.load.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.backend.load_changed(before);
        self.backend.runtime.budget().ended();
        self.backend.metrics.ended();
        if self.backend.gate.is_limited() {
            self.backend.runtime.line().ended();
        }
    }
}
