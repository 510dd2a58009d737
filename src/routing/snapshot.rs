//! The compiled, immutable view of one revision. What a change did not touch is shared with the one before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::table::Table;
use crate::backend::balance::{Balancer, Cursor, Sequence};
use crate::backend::{Backend, PoolRuntime, Retry};
use crate::config::{Config, Name, Pool, PoolTimeouts, Resource, Retries, Revision, Route, State};
use crate::telemetry::metrics::RouteMetrics;

/// Everything the data plane knows of one revision.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The revision it was compiled from; 0 before the first.
    pub revision: Revision,
    /// Equal on every node for an equal revision.
    pub digest: u64,
    pub(super) config: Config,
    pub(super) table: Arc<Table>,
    /// In the order of the config; the table speaks of them by index.
    pub(super) routes: Vec<Arc<RouteEntry>>,
    pub(super) pools: BTreeMap<Name, Arc<PoolEntry>>,
}

impl Snapshot {
    /// The route of a request: `host` as in the Host field or authority, `path` as in the target. Takes time in the
    /// length of both, whatever the number of routes. The method decides nothing yet.
    pub fn route(&self, _method: &str, host: &str, path: &str) -> Option<&Arc<RouteEntry>> {
        let index = self.table.find(host, path)?;
        self.routes.get(index as usize)
    }

    /// The config it was compiled from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// All routes, by name.
    pub fn routes(&self) -> &[Arc<RouteEntry>] {
        &self.routes
    }

    /// That route.
    pub fn route_entry(&self, name: &Name) -> Option<&Arc<RouteEntry>> {
        let index = self
            .routes
            .binary_search_by(|route| route.name.cmp(name))
            .ok()?;
        self.routes.get(index)
    }

    /// All pools, by name.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<PoolEntry>> {
        self.pools.values()
    }

    /// That pool.
    pub fn pool(&self, name: &str) -> Option<&Arc<PoolEntry>> {
        self.pools.get(name)
    }
}

/// One route.
#[derive(Debug)]
pub struct RouteEntry {
    /// Its name.
    pub name: Name,
    /// Its counters, the same ones over all revisions.
    pub metrics: Arc<RouteMetrics>,
    pub(super) resource: Arc<Resource<Route>>,
    /// The pools with a weight above 0.
    pub(super) pools: Box<[Arc<PoolEntry>]>,
    pub(super) split: Sequence,
    pub(super) cursor: Arc<Cursor>,
}

impl RouteEntry {
    /// The pool for the next request: in smooth rotation by weight, over all threads. `None` if all weights are 0.
    pub fn pool(&self) -> Option<&Arc<PoolEntry>> {
        match &self.pools[..] {
            [] => None,
            [only] => Some(only),
            several => several.get(self.split.at(self.cursor.next())),
        }
    }

    /// The same route over newer states of its pools.
    pub(super) fn with_pools(&self, pools: Box<[Arc<PoolEntry>]>) -> Self {
        Self {
            name: self.name.clone(),
            metrics: self.metrics.clone(),
            resource: self.resource.clone(),
            pools,
            split: self.split.clone(),
            cursor: self.cursor.clone(),
        }
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
    /// Picks among the members that may get requests.
    pub balancer: Balancer,
    /// How long to wait for what.
    pub timeouts: PoolTimeouts,
    /// How often to try, and the limits of the budget.
    pub retries: Retries,
    pub(super) resource: Arc<Resource<Pool>>,
    pub(super) members: Box<[PoolMember]>,
    pub(super) runtime: Arc<PoolRuntime>,
}

impl PoolEntry {
    /// All members, those that get nothing too, in the order of the config.
    pub fn members(&self) -> &[PoolMember] {
        &self.members
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

    /// Whether backends that are down are picked too, because too few are up.
    pub fn panics(&self) -> bool {
        self.runtime.panics()
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
}

impl PoolMember {
    /// Whether this revision gives it any request.
    pub fn eligible(&self) -> bool {
        self.weight > 0 && self.state == State::Ready
    }
}
