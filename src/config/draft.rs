//! The config while a transaction writes it: what was written so far, over the old one.

use std::io;

use serde::Serialize;

use super::layer::Layer;
use super::{
    Config, Faults, Pool, Rejection, ResourcePath, Revision, Route, SharedPolicy, build, limits,
    references,
};

/// What was written so far, over the old config.
pub(super) struct Draft<'a> {
    base: &'a Config,
    revision: Revision,
    pub(super) pools: Layer<'a, Pool>,
    pub(super) routes: Layer<'a, Route>,
    pub(super) policies: Layer<'a, SharedPolicy>,
    /// All that is wrong with what was written.
    pub(super) faults: Faults,
    /// What the operations so far cost, against [`limits::WORK`].
    work: usize,
}

/// How long a spec is as JSON.
fn written_bytes<T: Serialize>(spec: &T) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Neither counting nor a spec has a way to fail.
    let _ = serde_json::to_writer(&mut count, spec);
    count.0
}

impl<'a> Draft<'a> {
    /// Nothing written yet; what will differ from `base` carries `revision`.
    pub(super) fn new(base: &'a Config, revision: Revision) -> Self {
        Self {
            base,
            revision,
            pools: Layer::over(&base.pools),
            routes: Layer::over(&base.routes),
            policies: Layer::over(&base.policies),
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
        let backends = |pool| self.pools.get(pool).map_or(0, |pool| pool.backends.len());
        let (route, policy) = (|name| self.routes.get(name), |name| self.policies.get(name));
        self.work += match path {
            ResourcePath::Config if rereads => 10 * self.resources() + 100 * self.backends(),
            ResourcePath::Config => 10 * self.resources(),
            ResourcePath::Pool(pool) if rereads => 100 * backends(pool),
            ResourcePath::Backend(pool, _) => backends(pool),
            ResourcePath::Route(name) if rereads => route(name).map_or(0, written_bytes),
            ResourcePath::Policy(name) if rereads => policy(name).map_or(0, written_bytes),
            ResourcePath::Pool(_) | ResourcePath::Route(_) | ResourcePath::Policy(_) => 0,
        };
        (!self.is_spent()).then_some(())
    }

    /// Whether the transaction has cost all that it may.
    pub(super) fn is_spent(&self) -> bool {
        self.work > limits::WORK
    }

    /// All resources, old and written.
    fn resources(&self) -> usize {
        self.pools.len() + self.routes.len() + self.policies.len()
    }

    /// Backends of all pools, old and written.
    fn backends(&self) -> usize {
        let written = self.pools.written().map(|(pool, _)| pool.backends.len());
        self.base.pools.totals().parts + written.sum::<usize>()
    }

    /// Whether that resource is there now.
    pub(super) fn has(&self, path: &ResourcePath) -> bool {
        match path {
            ResourcePath::Config => true,
            ResourcePath::Pool(pool) => self.pools.get(pool).is_some(),
            ResourcePath::Backend(pool, id) => {
                let pool = self.pools.get(pool);
                pool.is_some_and(|pool| pool.backend(id).is_some())
            }
            ResourcePath::Route(route) => self.routes.get(route).is_some(),
            ResourcePath::Policy(policy) => self.policies.get(policy).is_some(),
        }
    }

    /// Writes a pool.
    pub(super) fn put_pool(&mut self, pool: Pool) {
        self.pools.put(pool.name.clone(), pool, String::new());
    }

    /// Writes a route; faults about what it names will point below `at`.
    pub(super) fn put_route(&mut self, route: Route, at: String) {
        let patterns = route.matches.patterns();
        let of_policy = route.policy.iter().map(|policy| policy.patterns());
        self.work += limits::PATTERN_WORK * (patterns + of_policy.sum::<usize>());
        self.routes.put(route.name.clone(), route, at);
    }

    /// Writes a policy; likewise.
    pub(super) fn put_policy(&mut self, policy: SharedPolicy, at: String) {
        self.policies.put(policy.name.clone(), policy, at);
    }

    /// Whether anything written differs from the old config.
    pub(super) fn differs(&self) -> bool {
        self.pools.differs() || self.routes.differs() || self.policies.differs()
    }

    /// The next config, or all that is wrong with it.
    pub(super) fn finish(self) -> Result<Config, Rejection> {
        let Self {
            base,
            revision,
            mut faults,
            ..
        } = self;
        let (gone_pools, gone_policies) = (self.pools.removed(), self.policies.removed());
        let fullest = self.pools.written().map(|(pool, _)| pool.backends.len());
        let fullest = fullest.max().unwrap_or(0);
        let pools = build::pools(&base.pools, self.pools.into_specs(), revision);
        for (policy, at) in self.policies.written() {
            references::check_policy(&policy.policy, at, &pools, &mut faults);
        }
        let policies = build::partless(&base.policies, self.policies.into_specs(), revision);
        for (route, at) in self.routes.written() {
            references::check_route(route, at, &pools, &policies, &mut faults);
        }
        let routes = build::partless(&base.routes, self.routes.into_specs(), revision);
        let next = Config {
            revision,
            pools,
            routes,
            policies,
            sticky_key: base.sticky_key,
        };
        build::check_limits(&next, fullest, &mut faults);
        if !faults.is_empty() {
            return Err(Rejection::Invalid(faults));
        }
        references::check_removed(&gone_pools, &gone_policies, &next)?;
        let same = next.pools.is_same(&base.pools)
            && next.routes.is_same(&base.routes)
            && next.policies.is_same(&base.policies);
        let revision = if same { base.revision } else { revision };
        Ok(Config { revision, ..next })
    }
}
