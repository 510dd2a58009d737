//! Config to Snapshot: deterministic, and off the request path.
//!
//! Compiling finds backends and rotations in the registry and opens or closes none: that is publishing. A pool or
//! route that did not change is taken over from the snapshot before, so a change costs what it touches.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::snapshot::{PoolEntry, PoolMember, RouteEntry, Snapshot};
use super::table::Table;
use crate::backend::Registry;
use crate::backend::balance::{Balancer, Member, Sequence};
use crate::config::{Config, Name, Pool, Resource, Route};

/// The round of a rotation speaks of members by 16 bits.
const MOST_MEMBERS: usize = 65_536;

/// Why a config cannot be served. No config that was applied should give one: the parser and `Config::apply` see to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A route names a pool that is not there.
    #[error("route {route} goes to pool {pool}, which does not exist")]
    UnknownPool {
        /// The route.
        route: Name,
        /// What it names.
        pool: Name,
    },
    /// More members than a rotation can hold.
    #[error("pool {pool} has {members} backends; at most {MOST_MEMBERS} can be served")]
    TooManyMembers {
        /// The pool.
        pool: Name,
        /// How many it has.
        members: usize,
    },
}

/// Compiles `config`, sharing with `previous` what is the same in both.
pub fn compile(
    config: &Config,
    registry: &Registry,
    previous: Option<&Snapshot>,
) -> Result<Snapshot, CompileError> {
    let mut pools = BTreeMap::new();
    for (name, resource) in config.pools.iter() {
        let kept = previous.and_then(|previous| previous.pools.get(name));
        let entry = match kept.filter(|kept| same(&kept.resource, resource)) {
            Some(kept) => kept.clone(),
            None => Arc::new(pool_entry(resource, registry)?),
        };
        pools.insert(name.clone(), entry);
    }
    let routes = routes(config, &pools, registry, previous)?;
    let table =
        match previous.filter(|previous| Arc::ptr_eq(&previous.config.routes, &config.routes)) {
            Some(previous) => previous.table.clone(),
            None => Arc::new(table(&routes)),
        };
    Ok(Snapshot {
        revision: config.revision,
        digest: config.digest(),
        config: config.clone(),
        table,
        routes,
        pools,
    })
}

/// Both lists are in the order of names, so one walk finds what to keep.
fn routes(
    config: &Config,
    pools: &BTreeMap<Name, Arc<PoolEntry>>,
    registry: &Registry,
    previous: Option<&Snapshot>,
) -> Result<Vec<Arc<RouteEntry>>, CompileError> {
    let before = previous.map_or(&[][..], |previous| &previous.routes);
    let mut before = before.iter().peekable();
    let mut routes = Vec::with_capacity(config.routes.len());
    for (name, resource) in config.routes.iter() {
        while before.next_if(|route| route.name < *name).is_some() {}
        let kept = before.next_if(|route| route.name == *name);
        let targets = targets(&resource.spec, pools)?;
        let entry = match kept.filter(|kept| same(&kept.resource, resource)) {
            Some(kept) if same_pools(&kept.pools, &targets) => kept.clone(),
            Some(kept) => Arc::new(kept.with_pools(targets)),
            None => Arc::new(route_entry(resource, targets, registry)),
        };
        routes.push(entry);
    }
    Ok(routes)
}

/// Whether `config` can be served: compiles it against a registry of its own. For those who are about to propose it.
pub fn check(config: &Config, previous: Option<&Snapshot>) -> Result<(), CompileError> {
    compile(config, &Registry::scratch(), previous).map(drop)
}

/// Equal revisions are equal content in one log; the specs are compared for a config that came another way.
fn same<T: PartialEq>(a: &Arc<Resource<T>>, b: &Arc<Resource<T>>) -> bool {
    Arc::ptr_eq(a, b) || (a.revision == b.revision && a.created == b.created && a.spec == b.spec)
}

fn same_pools(a: &[Arc<PoolEntry>], b: &[Arc<PoolEntry>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}

fn pool_entry(
    resource: &Arc<Resource<Pool>>,
    registry: &Registry,
) -> Result<PoolEntry, CompileError> {
    let pool = &resource.spec;
    if pool.backends.len() > MOST_MEMBERS {
        return Err(CompileError::TooManyMembers {
            pool: pool.name.clone(),
            members: pool.backends.len(),
        });
    }
    let member = |backend: &crate::config::Backend| PoolMember {
        backend: registry.backend(&pool.name, &backend.id, backend.address.socket_addr()),
        weight: backend.weight,
        state: backend.state,
    };
    let members: Box<[PoolMember]> = pool.backends.iter().map(member).collect();
    let eligible = members.iter().filter(|member| member.eligible());
    let shares = eligible
        .map(|member| Member {
            backend: member.backend.clone(),
            weight: member.weight,
        })
        .collect();
    let runtime = registry.pool(&pool.name);
    Ok(PoolEntry {
        name: pool.name.clone(),
        balancer: Balancer::build(pool.balance, shares, &runtime),
        timeouts: pool.timeouts.clone(),
        retries: pool.retries.clone(),
        resource: resource.clone(),
        members,
        runtime,
    })
}

/// The pools of a route that get any of its requests.
fn targets(
    route: &Route,
    pools: &BTreeMap<Name, Arc<PoolEntry>>,
) -> Result<Box<[Arc<PoolEntry>]>, CompileError> {
    let mut targets = Vec::with_capacity(route.to.len());
    for target in &route.to {
        let Some(pool) = pools.get(&target.pool) else {
            return Err(CompileError::UnknownPool {
                route: route.name.clone(),
                pool: target.pool.clone(),
            });
        };
        if target.weight > 0 {
            targets.push(pool.clone());
        }
    }
    Ok(targets.into())
}

fn route_entry(
    resource: &Arc<Resource<Route>>,
    pools: Box<[Arc<PoolEntry>]>,
    registry: &Registry,
) -> RouteEntry {
    let route = &resource.spec;
    let weights: Vec<u16> = route
        .to
        .iter()
        .map(|target| target.weight)
        .filter(|weight| *weight > 0)
        .collect();
    RouteEntry {
        name: route.name.clone(),
        metrics: registry.route_metrics(&route.name),
        resource: resource.clone(),
        pools,
        split: Sequence::new(&weights),
        cursor: registry.split(&route.name),
    }
}

fn table(routes: &[Arc<RouteEntry>]) -> Table {
    let mut oldest_first: Vec<(u32, &Arc<RouteEntry>)> = (0..).zip(routes).collect();
    oldest_first.sort_by(|(_, a), (_, b)| {
        (a.resource.created, &a.name).cmp(&(b.resource.created, &b.name))
    });
    Table::build(
        oldest_first
            .into_iter()
            .map(|(index, route)| (index, route.spec())),
    )
}
