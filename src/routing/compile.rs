//! Config to Snapshot: deterministic, and off the request path.
//!
//! Compiling finds backends and rotations in the registry and opens or closes none: that is publishing. A pool or
//! route that did not change is taken over from the snapshot before, so a change costs what it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::snapshot::{PoolEntry, PoolMember, RouteEntry, RouteFence, Snapshot};
use super::sticky::Cookies;
use crate::backend::balance::{Balancer, Member, Sequence};
use crate::backend::{PoolRuntime, Registry};
use crate::config::{
    Address, Authority, Balance, Config, Difference, Name, Policy, Pool, Protocol, Resource, Route,
    StickyKey, TlsVersion, Trust,
};
use crate::tls::{self, ClientOptions, ClientTls, MinVersion};

/// The round of a rotation speaks of members by 16 bits.
const MOST_MEMBERS: usize = 65_536;

/// Why a config cannot be served. No config that was applied should give one: the parser and `Config::apply` see to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A route, or a policy that it shares, names a pool that is not there.
    #[error("route {route} names pool {pool}, which does not exist")]
    UnknownPool {
        /// The route.
        route: Name,
        /// What it names.
        pool: Name,
    },
    /// A route names a policy that is not there.
    #[error("route {route} shares policy {policy}, which does not exist")]
    UnknownPolicy {
        /// The route.
        route: Name,
        /// What it names.
        policy: Name,
    },
    /// More members than a rotation can hold.
    #[error("pool {pool} has {members} backends; at most {MOST_MEMBERS} can be served")]
    TooManyMembers {
        /// The pool.
        pool: Name,
        /// How many it has.
        members: usize,
    },
    /// TLS as the pool wants it cannot be spoken by this node.
    #[error("pool {pool} {reason}")]
    Tls {
        /// The pool.
        pool: Name,
        /// Why.
        reason: String,
    },
    /// TLS and Unix sockets do not go together.
    #[error(
        "pool {pool} speaks TLS, and its backend {backend} is at a Unix socket, where it is not spoken"
    )]
    TlsOverUnix {
        /// The pool.
        pool: Name,
        /// The backend.
        backend: Name,
    },
}

impl CompileError {
    /// The pool that cannot be served, and which field of it.
    pub fn place(&self) -> Option<(&Name, &'static str)> {
        match self {
            Self::UnknownPool { .. } | Self::UnknownPolicy { .. } => None,
            Self::TooManyMembers { pool, .. } => Some((pool, "backends")),
            Self::Tls { pool, .. } | Self::TlsOverUnix { pool, .. } => Some((pool, "tls")),
        }
    }
}

/// Compiles `config`, sharing with `previous` what is the same in both: takes time in what is not.
pub fn compile(
    config: &Config,
    registry: &Registry,
    previous: Option<&Snapshot>,
) -> Result<Snapshot, CompileError> {
    // Of another key all cookies are others.
    let previous = previous.filter(|previous| previous.config.sticky_key == config.sticky_key);
    let mut snapshot = previous.cloned().unwrap_or_default();
    let before = std::mem::replace(&mut snapshot.config, config.clone());
    snapshot.revision = config.revision;
    snapshot.digest = config.digest();
    let all_stay = pools(&mut snapshot, &before, registry)?;
    routes(&mut snapshot, &before, registry)?;
    if !all_stay {
        // A route that did not change may go to a pool that is not there any more.
        let mut routes = snapshot.routes();
        routes.try_for_each(|route| targets(route.spec(), route.policy(), &snapshot).map(drop))?;
    }
    Ok(snapshot)
}

/// Brings the pools of `snapshot` from `before` to its config; tells whether all that were there still are.
fn pools(
    snapshot: &mut Snapshot,
    before: &Config,
    registry: &Registry,
) -> Result<bool, CompileError> {
    let config = snapshot.config.clone();
    let mut all_stay = true;
    for Difference {
        key: name, after, ..
    } in before.pools.differences(&config.pools)
    {
        let known = snapshot.pools.get(name).map(|pool| pool.number);
        let Some(resource) = after else {
            all_stay = false;
            snapshot.pools.remove(name);
            known
                .iter()
                .for_each(|number| drop(snapshot.numbered.remove(number)));
            continue;
        };
        let number = known.unwrap_or(snapshot.next_number);
        snapshot.next_number = snapshot.next_number.max(number + 1);
        let key = config.sticky_key.as_ref();
        let pool = Arc::new(pool_entry(resource, number, key, registry)?);
        snapshot.pools.insert(name.clone(), pool.clone());
        snapshot.numbered.insert(number, pool);
    }
    Ok(all_stay)
}

/// Brings the routes of `snapshot`, whose pools are those of its config, from `before` to its config.
fn routes(
    snapshot: &mut Snapshot,
    before: &Config,
    registry: &Registry,
) -> Result<(), CompileError> {
    let config = snapshot.config.clone();
    let mut changes = Vec::new();
    let own = before.routes.differences(&config.routes);
    let own = own
        .into_iter()
        .map(|Difference { key, after, .. }| (key, after));
    let changed: BTreeMap<_, _> = own.chain(sharing_changed(before, &config)).collect();
    for (name, after) in changed {
        let change = match after {
            Some(resource) => {
                let policy = resource.spec.policy_among(&config.policies);
                let policy = policy.map_err(|policy| CompileError::UnknownPolicy {
                    route: name.clone(),
                    policy: policy.clone(),
                })?;
                let targets = targets(&resource.spec, policy.as_deref(), snapshot)?;
                let route = Arc::new(route_entry(resource, policy, targets, registry));
                let known = snapshot.routes.insert(name.clone(), route.clone());
                (known, Some(route))
            }
            None => (snapshot.routes.remove(name), None),
        };
        changes.push(change);
    }
    if !changes.is_empty() {
        Arc::make_mut(&mut snapshot.table).change(&changes);
    }
    Ok(())
}

/// The routes of `config` that name a policy which is another than `before`. Looks at all routes, if there is one.
fn sharing_changed<'a>(
    before: &Config,
    config: &'a Config,
) -> impl Iterator<Item = (&'a Name, Option<&'a Arc<Resource<Route>>>)> {
    let changed = before.policies.differences(&config.policies);
    let changed: BTreeSet<Name> = changed.into_iter().map(|it| it.key.clone()).collect();
    let routes = (!changed.is_empty()).then(|| config.routes.iter());
    let routes = routes.into_iter().flatten();
    routes.filter_map(move |(name, route)| {
        let mut shared = route.spec.policies.iter();
        let shares = shared.any(|policy| changed.contains(policy));
        shares.then_some((name, Some(route)))
    })
}

/// Whether `config` can be served by the node of `registry`: compiles it against a scratch one. For those who are about
/// to propose it.
pub fn check(
    config: &Config,
    registry: &Arc<Registry>,
    previous: Option<&Snapshot>,
) -> Result<(), CompileError> {
    compile(config, &registry.scratch_over(), previous).map(drop)
}

/// The same where `before` can be served, and at most `most` pools are all that differs from it: builds these alone.
/// `None` where more differs.
pub fn check_pools(
    before: &Config,
    config: &Config,
    registry: &Arc<Registry>,
    most: usize,
) -> Option<Result<(), CompileError>> {
    let alone = before.routes.is_same(&config.routes)
        && before.policies.is_same(&config.policies)
        && before.sticky_key == config.sticky_key;
    if !alone {
        return None;
    }
    let changed = before.pools.differences(&config.pools);
    let all_stay = changed.iter().all(|it| it.after.is_some());
    if !all_stay || changed.len() > most {
        return None;
    }
    let scratch = registry.scratch_over();
    let mut pools = changed.iter().filter_map(|it| it.after);
    let key = config.sticky_key.as_ref();
    Some(pools.try_for_each(|pool| pool_entry(pool, 0, key, &scratch).map(drop)))
}

fn pool_entry(
    resource: &Arc<Resource<Pool>>,
    number: u64,
    key: Option<&StickyKey>,
    registry: &Registry,
) -> Result<PoolEntry, CompileError> {
    let pool = &resource.spec;
    if pool.backends.len() > MOST_MEMBERS {
        return Err(CompileError::TooManyMembers {
            pool: pool.name.clone(),
            members: pool.backends.len(),
        });
    }
    let backups = pool.backends.iter().map(|backend| backend.backup);
    let backups: BTreeSet<u8> = backups.filter(|tier| *tier > 0).collect();
    let member = |backend: &crate::config::Backend| PoolMember {
        backend: registry.backend(&pool.name, &backend.id, backend.address.clone()),
        weight: backend.weight,
        state: backend.state,
        tier: backups.range(1..=backend.backup.max(1)).count() * usize::from(backend.backup > 0),
    };
    let members: Box<[PoolMember]> = pool.backends.iter().map(member).collect();
    let runtime = registry.pool(&pool.name);
    let sticky = pool.sticky.as_ref().zip(key);
    let balancer = |tier| balancer(pool, &members, tier, &runtime);
    Ok(PoolEntry {
        name: pool.name.clone(),
        number,
        balancer: balancer(0),
        backups: (1..=backups.len()).map(balancer).collect(),
        hash: pool.hash.clone(),
        timeouts: pool.timeouts.clone(),
        retries: pool.retries.clone(),
        proxy_protocol: pool.proxy_protocol,
        tls: tls(pool, registry, pool.protocol)?,
        check_tls: tls(pool, registry, pool.check_protocol())?,
        protocol: pool.protocol,
        cookies: sticky.map(|(spec, key)| Cookies::new(spec, &pool.name, &members, key)),
        resource: resource.clone(),
        members,
        runtime,
    })
}

/// Over the members of `tier` and those before it.
fn balancer(
    pool: &Pool,
    members: &[PoolMember],
    tier: usize,
    runtime: &Arc<PoolRuntime>,
) -> Balancer {
    let hashes = pool.balance == Balance::Maglev;
    let takes_part = |member: &&PoolMember| member.tier <= tier && (member.eligible() || hashes);
    let shares = members.iter().filter(takes_part).map(|member| Member {
        backend: member.backend.clone(),
        weight: member.weight,
    });
    let bounded = pool.bounded_load == Some(true);
    Balancer::build(pool.balance, bounded, shares.collect(), runtime)
}

fn tls(
    pool: &Pool,
    registry: &Registry,
    protocol: Protocol,
) -> Result<Option<Arc<ClientTls>>, CompileError> {
    let Some(tls) = &pool.tls else {
        return Ok(None);
    };
    let unix = |backend: &&crate::config::Backend| matches!(backend.address, Address::Unix(_));
    if let Some(backend) = pool.backends.iter().find(unix) {
        return Err(CompileError::TlsOverUnix {
            pool: pool.name.clone(),
            backend: backend.id.clone(),
        });
    }
    let made = registry.keyring().client(&ClientOptions {
        trust: match &tls.trust {
            Trust::Ca(Authority::System) => tls::Trust::System,
            Trust::Ca(Authority::Named(name)) => tls::Trust::Named(name.to_string()),
            Trust::Ca(Authority::Pem(text)) => tls::Trust::Pem(text.clone()),
            Trust::Insecure(_) => tls::Trust::Anything,
        },
        server_name: tls.server_name.clone(),
        names: tls.names.clone(),
        certificate: tls.certificate.as_ref().map(Name::to_string),
        min_version: match tls.min_version {
            TlsVersion::Tls12 => MinVersion::Tls12,
            TlsVersion::Tls13 => MinVersion::Tls13,
        },
        alpn: vec![match protocol {
            Protocol::Http1 => b"http/1.1".to_vec(),
            Protocol::Http2 => b"h2".to_vec(),
        }],
    });
    made.map(Some).map_err(|error| CompileError::Tls {
        pool: pool.name.clone(),
        reason: error.to_string(),
    })
}

/// The numbers of the pools of a route that get any of its requests, of the one that gets copies, and of the one that
/// is asked about them.
struct Targets {
    pools: Box<[u64]>,
    mirror: Option<u64>,
    auth: Option<u64>,
}

fn targets(
    route: &Route,
    policy: Option<&Policy>,
    snapshot: &Snapshot,
) -> Result<Targets, CompileError> {
    let number = |name: &Name| match snapshot.pools.get(name) {
        Some(pool) => Ok(pool.number),
        None => Err(CompileError::UnknownPool {
            route: route.name.clone(),
            pool: name.clone(),
        }),
    };
    let mut pools = Vec::with_capacity(route.to.len());
    for target in &route.to {
        let pool = number(&target.pool)?;
        if target.weight > 0 {
            pools.push(pool);
        }
    }
    let mirror = policy.and_then(|policy| policy.mirror.as_ref());
    let mirror = mirror.map(|mirror| number(&mirror.pool));
    let auth = policy.and_then(|policy| policy.forward_auth.as_ref());
    let auth = auth.map(|auth| number(&auth.pool));
    Ok(Targets {
        pools: pools.into(),
        mirror: mirror.transpose()?,
        auth: auth.transpose()?,
    })
}

fn route_entry(
    resource: &Arc<Resource<Route>>,
    policy: Option<Arc<Policy>>,
    Targets {
        pools,
        mirror,
        auth,
    }: Targets,
    registry: &Registry,
) -> RouteEntry {
    let route = &resource.spec;
    let weights: Vec<u16> = route
        .to
        .iter()
        .map(|target| target.weight)
        .filter(|weight| *weight > 0)
        .collect();
    let fence = policy.as_ref().and_then(|policy| policy.fence.as_ref());
    let rate = policy
        .as_ref()
        .and_then(|policy| policy.rate_limit.as_ref());
    RouteEntry {
        name: route.name.clone(),
        metrics: registry.route_metrics(&route.name),
        resource: resource.clone(),
        pools,
        mirror,
        auth,
        split: Sequence::new(&weights),
        cursor: registry.split(&route.name),
        fence: fence.map(|fence| RouteFence {
            header: fence.header.as_str().into(),
            gate: registry.fences().of(&fence.lock),
        }),
        meter: rate.map(|_| registry.meter(&route.name)),
        policy,
    }
}
