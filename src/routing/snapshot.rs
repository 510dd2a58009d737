//! The compiled, immutable view of one revision. What a change did not touch is shared with the one before.

use std::sync::Arc;
use std::time::Instant;

use super::asked::Asked;
use super::sticky::Cookies;
use super::table::Table;
use crate::backend::balance::{Balancer, Cursor, Sequence};
use crate::backend::{
    Backend, Copying, Fence, InFlight, Meter, PoolRuntime, Recourse, Retry, Waiting,
};
use crate::config::{
    Config, Difference, HashOn, Name, PersistentMap, Policy, Pool, PoolTimeouts, Protocol,
    ProxyProtocol, RateLimit, Resource, Retries, Revision, Route, RouteTimeouts, State,
};
use crate::telemetry::metrics::RouteMetrics;
use crate::tls::ClientTls;

/// Another thread may take the last place between a pick and its begin; so often one picks again.
const MOST_PICKS: usize = 8;

/// Everything the data plane knows of one revision. A clone is a few pointers.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The revision it was compiled from; 0 before the first.
    pub revision: Revision,
    /// Equal on every node for an equal revision.
    pub digest: u64,
    pub(super) config: Config,
    pub(super) table: Arc<Table>,
    pub(super) routes: PersistentMap<Name, Arc<RouteEntry>>,
    pub(super) pools: PersistentMap<Name, Arc<PoolEntry>>,
    /// The same by their numbers, by which routes speak of them.
    pub(super) numbered: PersistentMap<u64, Arc<PoolEntry>>,
    /// The number of the next new pool.
    pub(super) next_number: u64,
}

impl Snapshot {
    /// The route of a request. Takes time in the length of host and path, whatever the number of routes, but for
    /// those whose path is a regular expression.
    pub fn route(&self, asked: &Asked<'_>) -> Option<&Arc<RouteEntry>> {
        self.table.find(asked)
    }

    /// How many pools and routes are others in `config` than in the one that it was compiled from. A policy counts for
    /// all routes.
    pub fn differences(&self, config: &Config) -> usize {
        let policies = self.config.policies.differences(&config.policies).len();
        self.config.pools.differences(&config.pools).len()
            + self.config.routes.differences(&config.routes).len()
            + policies * config.routes.len()
    }

    /// The config it was compiled from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// All routes, by name.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<RouteEntry>> {
        self.routes.values()
    }

    /// That route.
    pub fn route_entry(&self, name: &Name) -> Option<&Arc<RouteEntry>> {
        self.routes.get(name)
    }

    /// All pools, by name.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<PoolEntry>> {
        self.pools.values()
    }

    /// That pool.
    pub fn pool(&self, name: &str) -> Option<&Arc<PoolEntry>> {
        self.pools.get(name)
    }

    /// The pool for the next request of that route: in smooth rotation by weight, over all threads. `None` if all
    /// weights are 0.
    pub fn pool_of(&self, route: &RouteEntry) -> Option<&Arc<PoolEntry>> {
        self.numbered.get(&route.next_pool()?)
    }

    /// The pool that copies of its requests go to, and of how many in a hundred.
    pub fn mirror_of(&self, route: &RouteEntry) -> Option<(&Arc<PoolEntry>, u32)> {
        let pool = self.numbered.get(&route.mirror?)?;
        Some((pool, route.policy()?.mirror.as_ref()?.percent))
    }

    /// The pool that is asked about its requests.
    pub fn auth_of(&self, route: &RouteEntry) -> Option<&Arc<PoolEntry>> {
        self.numbered.get(&route.auth?)
    }

    /// The pools with a weight above 0 in that route.
    pub(super) fn pools_of(&self, route: &RouteEntry) -> impl Iterator<Item = &Arc<PoolEntry>> {
        let numbers = route.pools.iter();
        numbers.filter_map(|number| self.numbered.get(number))
    }

    /// Of the pools of a split, those that keep clients by a cookie.
    pub fn sticky_pools_of(&self, route: &RouteEntry) -> impl Iterator<Item = &Arc<PoolEntry>> {
        let is_split = route.pools.len() > 1;
        let pools = is_split.then(|| self.pools_of(route));
        let pools = pools.into_iter().flatten();
        pools.filter(|pool| pool.cookies.is_some())
    }

    /// The pools that are not the same here and in `newer`, before and after.
    pub fn changed_pools<'a>(&'a self, newer: &'a Self) -> Vec<PoolChange<'a>> {
        let differences = self.pools.differences(&newer.pools, Arc::ptr_eq);
        let change = |it: Difference<'a, Name, Arc<PoolEntry>>| (it.before, it.after);
        differences.into_iter().map(change).collect()
    }
}

/// A pool before a change and after it.
pub type PoolChange<'a> = (Option<&'a Arc<PoolEntry>>, Option<&'a Arc<PoolEntry>>);

/// One route.
#[derive(Debug)]
pub struct RouteEntry {
    /// Its name.
    pub name: Name,
    /// Its counters, the same ones over all revisions.
    pub metrics: Arc<RouteMetrics>,
    pub(super) resource: Arc<Resource<Route>>,
    /// What it does besides sending requests somewhere, of its own and by policies it shares, if anything.
    pub(super) policy: Option<Arc<Policy>>,
    /// The numbers of the pools with a weight above 0.
    pub(super) pools: Box<[u64]>,
    /// That of the pool where copies of its requests go, if they do.
    pub(super) mirror: Option<u64>,
    /// That of the pool that is asked about them, if one is.
    pub(super) auth: Option<u64>,
    pub(super) split: Sequence,
    pub(super) cursor: Arc<Cursor>,
    /// What was taken of its rate, if it has one.
    pub(super) meter: Option<Arc<Meter>>,
    /// Which tokens its requests must show, if any.
    pub fence: Option<RouteFence>,
}

/// What a route demands of the holder of a lock.
#[derive(Clone, Debug)]
pub struct RouteFence {
    /// Where a request shows its token; in small letters.
    pub header: Box<str>,
    /// Which tokens are good.
    pub gate: Arc<Fence>,
}

impl RouteEntry {
    fn next_pool(&self) -> Option<u64> {
        match &self.pools[..] {
            [] => None,
            [only] => Some(*only),
            several => several.get(self.split.at(self.cursor.next())).copied(),
        }
    }

    /// What it does besides sending requests somewhere, if anything.
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_deref()
    }

    /// The rate it takes, and its meter.
    pub fn rate(&self) -> Option<(&RateLimit, &Arc<Meter>)> {
        let limit = self.policy()?.rate_limit.as_ref();
        limit.zip(self.meter.as_ref())
    }

    /// How long a request may take.
    pub fn timeouts(&self) -> Option<&RouteTimeouts> {
        self.policy()?.timeouts.as_ref()
    }

    /// Whether it bounds the time of a try.
    pub fn bounds_tries(&self) -> bool {
        self.timeouts().is_some_and(|times| times.one_try.is_some())
    }

    /// Whether a request of any method may be done twice.
    pub fn repeats_any_method(&self) -> bool {
        let retries = self.policy().and_then(|policy| policy.retries.as_ref());
        retries.is_some_and(|retries| retries.any_method)
    }

    /// Answers that are taken for failures, as long as another try is left.
    pub fn declines(&self) -> &[u16] {
        let retries = self.policy().and_then(|policy| policy.retries.as_ref());
        retries.map_or(&[], |retries| &retries.statuses)
    }

    /// What the config says of it.
    pub fn spec(&self) -> &Route {
        &self.resource.spec
    }
}

/// One pool.
#[derive(Debug)]
pub struct PoolEntry {
    /// Its name.
    pub name: Name,
    /// By which routes speak of it: its own for as long as snapshots that follow each other have it.
    pub(super) number: u64,
    /// Picks among the members of the first tier that may get requests.
    pub balancer: Balancer,
    /// For each tier of backups, picks among its members and those of all tiers before it.
    pub(super) backups: Box<[Balancer]>,
    /// What of a request the balancer goes by, if it does.
    pub hash: Option<HashOn>,
    /// How long to wait for what.
    pub timeouts: PoolTimeouts,
    /// How often to try, and the limits of the budget.
    pub retries: Retries,
    /// What connections to its backends begin with.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// What they go on with, if they are encrypted.
    pub tls: Option<Arc<ClientTls>>,
    /// The same of checks, which speak what the pool does, but HTTP/2 where they are gRPC's.
    pub check_tls: Option<Arc<ClientTls>>,
    /// What is spoken on them.
    pub protocol: Protocol,
    /// By which it keeps clients at the backend they had, if it does.
    pub(super) cookies: Option<Cookies>,
    pub(super) resource: Arc<Resource<Pool>>,
    pub(super) members: Box<[PoolMember]>,
    pub(super) runtime: Arc<PoolRuntime>,
}

impl PoolEntry {
    /// All members, those that get nothing too, in the order of the config.
    pub fn members(&self) -> &[PoolMember] {
        &self.members
    }

    /// A member for a request, and none of `tried`: of the tiers in use, or if those have none, of the next ones.
    /// `hash` is of what the pool hashes, if it does.
    pub fn pick(&self, hash: u64, tried: &[u64]) -> Option<&Arc<Backend>> {
        if self.backups.is_empty() {
            return self.balancer.pick(hash, tried);
        }
        let mut wider = (self.tiers_in_use()..=self.backups.len()).map(|tier| self.up_to(tier));
        wider.find_map(|balancer| balancer.pick(hash, tried))
    }

    /// As [`pick`](Self::pick), within the limits of the pool: a request is begun there.
    pub fn admit(&self, hash: u64, tried: &[u64]) -> Option<InFlight> {
        let picks = (0..MOST_PICKS).map(|_| self.pick(hash, tried));
        let mut picked = picks.take_while(Option::is_some).flatten();
        picked.find_map(Backend::try_begin)
    }

    /// Whether it has limits.
    pub fn is_limited(&self) -> bool {
        self.spec().limits.is_some()
    }

    /// Whether it is only its limits that keep requests from all of its backends.
    pub fn is_full(&self) -> bool {
        self.is_limited() && self.any_available(&[])
    }

    /// Whether its limits allow one more request at any backend.
    pub fn has_room(&self) -> bool {
        self.runtime.has_room() && self.up_to(self.backups.len()).any_open()
    }

    /// Whether any backend that is not among `tried` is available, be it with room or without.
    pub fn any_available(&self, tried: &[u64]) -> bool {
        self.up_to(self.backups.len()).any_available(tried)
    }

    /// Requests that wait for a place at a backend.
    pub fn waiting(&self) -> u32 {
        self.runtime.waiting()
    }

    /// A place in the queue; `None` if all are taken.
    pub fn queue(&self) -> Option<Waiting<'_>> {
        self.runtime.queue()
    }

    /// Requests so far that found all places of the queue taken, and those whose time was over in one.
    pub fn queue_refusals(&self) -> (u64, u64) {
        self.runtime.queue_refusals()
    }

    /// Retries so far that its budget did not pay for.
    pub fn retries_denied(&self) -> u64 {
        self.runtime.budget().denied()
    }

    /// The last tier in use; 0 is the first.
    pub fn tiers_in_use(&self) -> usize {
        self.runtime.tier().min(self.backups.len())
    }

    /// Picks among the members of this tier and those before it.
    pub(super) fn up_to(&self, tier: usize) -> &Balancer {
        match tier.checked_sub(1) {
            None => &self.balancer,
            Some(backup) => &self.backups[backup],
        }
    }

    /// Leave for one retry out of the pool's budget, to be kept until that try is over.
    pub fn withdraw_retry(&self, now: Instant) -> Option<Retry> {
        let Retries {
            budget_percent,
            budget_min_per_second,
            ..
        } = self.retries;
        self.runtime
            .budget()
            .withdraw(now, budget_percent, budget_min_per_second)
    }

    /// Begins a copy of a request to another pool; `None` if as many are under way as may be.
    pub fn copy(&self) -> Option<Copying> {
        self.runtime.copy()
    }

    /// Which backends are picked besides those that are up.
    pub fn recourse(&self) -> Recourse {
        self.runtime.recourse()
    }

    /// What the config says of it.
    pub fn spec(&self) -> &Pool {
        &self.resource.spec
    }
}

/// A backend as one revision has it.
#[derive(Debug)]
pub struct PoolMember {
    /// The backend, shared by all revisions that have it.
    pub backend: Arc<Backend>,
    /// Its share.
    pub weight: u16,
    /// Whether it takes requests.
    pub state: State,
    /// Its tier, counted without gaps; 0 is the first, all others are backups.
    pub tier: usize,
}

impl PoolMember {
    /// Whether this revision gives it any request.
    pub fn eligible(&self) -> bool {
        self.weight > 0 && self.state == State::Ready
    }
}
