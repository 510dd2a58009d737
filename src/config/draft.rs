//! The config while a transaction writes it: what was written so far, over the old one.

use std::collections::{BTreeMap, BTreeSet};

use super::resource::Spec;
use super::{
    Config, Faults, Name, Pool, Rejection, ResourcePath, Revision, Route, build, limits, references,
};

/// What was written so far, over the old config.
pub(super) struct Draft<'a> {
    base: &'a Config,
    revision: Revision,
    /// Pools written, or `None` for those removed.
    pools: BTreeMap<Name, Option<Pool>>,
    /// Routes written, each with its place in the transaction, or `None` for those removed.
    routes: BTreeMap<Name, Option<(Route, String)>>,
    /// All that is wrong with what was written.
    pub(super) faults: Faults,
    /// What the operations so far cost, against [`limits::WORK`].
    work: usize,
}

impl<'a> Draft<'a> {
    /// Nothing written yet; what will differ from `base` carries `revision`.
    pub(super) fn new(base: &'a Config, revision: Revision) -> Self {
        Self {
            base,
            revision,
            pools: BTreeMap::new(),
            routes: BTreeMap::new(),
            faults: Faults::new(),
            work: 0,
        }
    }

    /// The old config.
    pub(super) fn base(&self) -> &'a Config {
        self.base
    }

    /// The revision in the making.
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// Counts what an operation on `path` costs: one that reads a resource again pays for its size. `None`: the
    /// transaction has had all it may.
    pub(super) fn spend(&mut self, path: &ResourcePath, rereads: bool) -> Option<()> {
        let backends = |pool| self.pool(pool).map_or(0, |pool| pool.backends.len());
        self.work += match path {
            ResourcePath::Config if rereads => 10 * self.resources() + 100 * self.backends(),
            ResourcePath::Config => 10 * self.resources(),
            ResourcePath::Pool(pool) if rereads => 100 * backends(pool),
            ResourcePath::Backend(pool, _) => backends(pool),
            ResourcePath::Pool(_) | ResourcePath::Route(_) => 0,
        };
        (!self.is_spent()).then_some(())
    }

    /// Whether the transaction has cost all that it may.
    pub(super) fn is_spent(&self) -> bool {
        self.work > limits::WORK
    }

    /// Pools and routes, old and written.
    fn resources(&self) -> usize {
        self.base.pools.len() + self.base.routes.len() + self.pools.len() + self.routes.len()
    }

    /// Backends of all pools, old and written.
    fn backends(&self) -> usize {
        let written = self.pools.values().flatten();
        let written = written.map(|pool| pool.backends.len());
        self.base.pools.totals().parts + written.sum::<usize>()
    }

    /// Whether that resource is there now.
    pub(super) fn has(&self, path: &ResourcePath) -> bool {
        match path {
            ResourcePath::Config => true,
            ResourcePath::Pool(pool) => self.pool(pool).is_some(),
            ResourcePath::Backend(pool, id) => self
                .pool(pool)
                .is_some_and(|pool| pool.backend(id).is_some()),
            ResourcePath::Route(route) => self.route(route).is_some(),
        }
    }

    /// The pool as it is now.
    pub(super) fn pool(&self, name: &Name) -> Option<&Pool> {
        match self.pools.get(name) {
            Some(written) => written.as_ref(),
            None => self.base.pools.get(name).map(|resource| &resource.spec),
        }
    }

    /// The pool as it is now, to write in.
    pub(super) fn pool_mut(&mut self, name: &Name) -> Option<&mut Pool> {
        if !self.pools.contains_key(name) {
            let pool = self.base.pools.get(name)?.spec.clone();
            self.pools.insert(name.clone(), Some(pool));
        }
        self.pools.get_mut(name)?.as_mut()
    }

    /// Writes a pool.
    pub(super) fn put_pool(&mut self, pool: Pool) {
        self.pools.insert(pool.name.clone(), Some(pool));
    }

    /// Removes a pool, if it is there.
    pub(super) fn remove_pool(&mut self, name: &Name) {
        self.pools.insert(name.clone(), None);
    }

    /// Removes every pool.
    pub(super) fn clear_pools(&mut self) {
        self.pools = self
            .base
            .pools
            .keys()
            .map(|name| (name.clone(), None))
            .collect();
    }

    /// The route as it is now.
    pub(super) fn route(&self, name: &Name) -> Option<&Route> {
        match self.routes.get(name) {
            Some(written) => written.as_ref().map(|(route, _)| route),
            None => self.base.routes.get(name).map(|resource| &resource.spec),
        }
    }

    /// Writes a route; faults about the pools it names will point below `at`.
    pub(super) fn put_route(&mut self, route: Route, at: String) {
        self.work += limits::PATTERN_WORK * route.patterns();
        self.routes.insert(route.name.clone(), Some((route, at)));
    }

    /// Removes a route, if it is there.
    pub(super) fn remove_route(&mut self, name: &Name) {
        self.routes.insert(name.clone(), None);
    }

    /// Removes every route.
    pub(super) fn clear_routes(&mut self) {
        self.routes = self
            .base
            .routes
            .keys()
            .map(|name| (name.clone(), None))
            .collect();
    }

    /// Whether anything written differs from the old config.
    pub(super) fn differs(&self) -> bool {
        let old_pool = |name| self.base.pools.get(name).map(|resource| &resource.spec);
        let old_route = |name| self.base.routes.get(name).map(|resource| &resource.spec);
        self.pools
            .iter()
            .any(|(name, pool)| pool.as_ref() != old_pool(name))
            || self
                .routes
                .keys()
                .any(|name| self.route(name) != old_route(name))
    }

    /// The next config, or all that is wrong with it.
    pub(super) fn finish(self) -> Result<Config, Rejection> {
        let Self {
            base,
            revision,
            pools: written_pools,
            routes: written_routes,
            mut faults,
            work: _,
        } = self;
        let removed = names_without_value(&written_pools);
        let written = written_pools.values().flatten();
        let fullest = written.map(|pool| pool.backends.len()).max().unwrap_or(0);
        let pools = build::pools(&base.pools, written_pools, revision);
        for (route, at) in written_routes.values().flatten() {
            references::check_route(route, at, &pools, &mut faults);
        }
        let routes = build::routes(&base.routes, written_routes, revision);
        build::check_limits(&pools, &routes, fullest, &mut faults);
        if !faults.is_empty() {
            return Err(Rejection::Invalid(faults));
        }
        if let Some((pool, by)) = references::referred(removed, &routes) {
            return Err(Rejection::Referred {
                path: ResourcePath::Pool(pool).to_string(),
                by,
            });
        }
        let same = pools.is_same(&base.pools) && routes.is_same(&base.routes);
        let revision = if same { base.revision } else { revision };
        Ok(Config {
            revision,
            pools,
            routes,
            sticky_key: base.sticky_key,
        })
    }
}

fn names_without_value<T>(written: &BTreeMap<Name, Option<T>>) -> BTreeSet<Name> {
    written
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| name.clone())
        .collect()
}
