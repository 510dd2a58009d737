//! Tells why a request goes where it goes: the route, those it won over, its pools, and each backend's chances.
//!
//! It judges every route by itself, by the rules that `table` words, and so is also what the table is tested against.
//! As JSON for the API, as text for people. Not for the request path.

mod rank;

mod text;

use std::cmp::Reverse;
use std::sync::Arc;

use serde::Serialize;

use self::rank::{PathRank, Rank, fits, host_misses, host_rank, loses, path_misses, path_rank};
use super::host::Host;
use super::snapshot::{PoolEntry, PoolMember, RouteEntry, Snapshot};
use super::table::without_query;
use crate::backend::Health;
use crate::config::{Balance, Name, Revision, State};

/// More losers than this are counted, not listed.
const LISTED: usize = 50;

/// The head of the request in question.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Question {
    /// `GET`.
    pub method: String,
    /// As in the Host field.
    pub host: String,
    /// With or without a query.
    pub path: String,
    /// By name; no rule looks at them yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// What was asked.
    pub request: Question,
    /// The revision that answers.
    pub revision: Revision,
    /// The route that takes the request, and why.
    pub route: Option<Judged>,
    /// In a sentence: what happens to the request.
    pub verdict: String,
    /// Routes that would take it too, and why they do not, the next best first.
    pub outranked: Vec<Judged>,
    /// Routes that match by host or by path, but not by both; first those of the host.
    pub missed: Vec<Judged>,
    /// Routes that are not listed: those that neither host nor path speaks for, and what is over 50 in a list.
    pub others: usize,
    /// The pools of the route.
    pub pools: Vec<PoolChances>,
}

/// A route and what speaks for or against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// The route.
    pub route: Name,
    /// Why it has or lacks the request.
    pub why: String,
}

/// A pool of the route.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolChances {
    /// The pool.
    pub pool: Name,
    /// Its share of the route's requests, in percent.
    pub share: f64,
    /// How it picks.
    pub balance: Balance,
    /// Its members.
    pub backends: Vec<BackendChances>,
}

/// A backend of such a pool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackendChances {
    /// Its id.
    pub id: Name,
    /// Where it listens.
    pub address: std::net::SocketAddr,
    /// Its weight.
    pub weight: u16,
    /// Its state.
    pub state: State,
    /// Whether it can be picked.
    pub eligible: bool,
    /// Its share of the pool's requests, in percent; under `least_connections`, of its capacity.
    pub share: f64,
    /// Requests it serves, from this node.
    pub in_flight: u32,
    /// What its checks say: `up`, `down`, `unknown` or `unchecked`.
    pub health: &'static str,
    /// Why it can or cannot be picked.
    pub why: String,
}

/// Why `question` goes where it goes in `snapshot`.
pub fn explain(snapshot: &Snapshot, question: Question) -> Explanation {
    let host = Host::of(&question.host);
    let path = without_query(&question.path);
    let mut fitting: Vec<(Rank, &Arc<RouteEntry>)> = Vec::new();
    let mut missed: Vec<(bool, Judged)> = Vec::new();
    for route in &snapshot.routes {
        match (host_rank(route, host.as_ref()), path_rank(route, path)) {
            (Some(host), Some(path)) => {
                let age = (route.resource.created, route.name.clone());
                fitting.push(((host, path, Reverse(age)), route));
            }
            (Some(_), None) => missed.push((false, judged(route, path_misses(route, path)))),
            (None, Some(rank)) if rank > PathRank::Prefix(0) => {
                missed.push((true, judged(route, host_misses(route, &question.host))));
            }
            (None, _) => {}
        }
    }
    fitting.sort_by(|(a, _), (b, _)| b.cmp(a));
    missed.sort_by_key(|(by_path_alone, _)| *by_path_alone);
    let winner = fitting.first();
    let beaten = fitting.iter().skip(1).take(LISTED);
    let outranked: Vec<Judged> = beaten
        .filter_map(|(rank, route)| {
            Some(judged(
                route,
                format!("matches, but {}", loses(rank, &winner?.0)),
            ))
        })
        .collect();
    let missed: Vec<Judged> = missed
        .into_iter()
        .take(LISTED)
        .map(|(_, judged)| judged)
        .collect();
    let listed = outranked.len() + missed.len() + usize::from(winner.is_some());
    let pools: Vec<PoolChances> = winner.map(|(_, route)| pools(route)).unwrap_or_default();
    Explanation {
        revision: snapshot.revision,
        route: winner.map(|((host, path, _), route)| {
            judged(route, fits(route, *host, *path, fitting.len()))
        }),
        verdict: verdict(winner.map(|(_, route)| *route), &pools),
        outranked,
        missed,
        others: snapshot.routes.len() - listed,
        pools,
        request: question,
    }
}

fn judged(route: &RouteEntry, why: String) -> Judged {
    Judged {
        route: route.name.clone(),
        why,
    }
}

fn pools(route: &RouteEntry) -> Vec<PoolChances> {
    let targets = route.spec().to.iter().filter(|target| target.weight > 0);
    let sum: u32 = targets.clone().map(|target| u32::from(target.weight)).sum();
    targets
        .zip(&route.pools)
        .map(|(target, pool)| pool_chances(pool, percent(target.weight, sum)))
        .collect()
}

fn pool_chances(pool: &PoolEntry, share: f64) -> PoolChances {
    let panics = pool.panics();
    let able = |member: &PoolMember| member.eligible() && fit(member, panics);
    let eligible = pool.members().iter().filter(|member| able(member));
    let sum: u32 = eligible.map(|member| u32::from(member.weight)).sum();
    let chances = |member: &PoolMember| BackendChances {
        id: member.backend.id.clone(),
        address: member.backend.address,
        weight: member.weight,
        state: member.state,
        eligible: able(member),
        share: if able(member) {
            percent(member.weight, sum)
        } else {
            0.0
        },
        in_flight: member.backend.in_flight(),
        health: member.backend.health().name(),
        why: member_why(member, panics),
    };
    PoolChances {
        pool: pool.name.clone(),
        share,
        balance: pool.spec().balance,
        backends: pool.members().iter().map(chances).collect(),
    }
}

/// Whether its health lets it be picked.
fn fit(member: &PoolMember, panics: bool) -> bool {
    match member.backend.health() {
        Health::Unchecked | Health::Healthy => true,
        Health::Unhealthy => panics,
        Health::Unknown => false,
    }
}

fn member_why(member: &PoolMember, panics: bool) -> String {
    let backend = &member.backend;
    let failed = || backend.health_reason().unwrap_or_default();
    match (member.state, member.weight, backend.health()) {
        (State::Drain, ..) => "draining: finishes what it has, gets nothing new".to_owned(),
        (State::Maint, ..) => "in maintenance: gets nothing".to_owned(),
        (State::Ready, 0, _) => "weight 0: gets nothing".to_owned(),
        _ if !backend.admits() => {
            "ready, but closed: its snapshot is not in force yet or any more".to_owned()
        }
        (.., Health::Unknown) => "ready, but unknown: no health check was good yet".to_owned(),
        (.., Health::Unhealthy) if panics => format!(
            "ready, and used although it is down ({}): too few of the pool are up",
            failed()
        ),
        (.., Health::Unhealthy) => format!("ready, but down: {}", failed()),
        (.., Health::Unchecked | Health::Healthy) => "ready".to_owned(),
    }
}

fn percent(part: u16, sum: u32) -> f64 {
    (f64::from(part) * 10_000.0 / f64::from(sum.max(1))).round() / 100.0
}

fn verdict(route: Option<&Arc<RouteEntry>>, pools: &[PoolChances]) -> String {
    let Some(route) = route else {
        return "no route matches: the proxy answers that nothing is found here".to_owned();
    };
    if pools.is_empty() {
        return format!(
            "route {} has no pool with a weight above 0: the proxy answers unavailable",
            route.name
        );
    }
    let names: Vec<&str> = pools.iter().map(|pool| pool.pool.as_str()).collect();
    let able = pools
        .iter()
        .flat_map(|pool| &pool.backends)
        .filter(|backend| backend.eligible)
        .count();
    if able == 0 {
        return format!(
            "goes to {} by route {}, which has no eligible backend: the proxy answers unavailable",
            names.join(" or "),
            route.name
        );
    }
    let backends = if able == 1 {
        "1 eligible backend".to_owned()
    } else {
        format!("{able} eligible backends")
    };
    format!(
        "goes to {} by route {}, to one of {backends}",
        names.join(" or "),
        route.name
    )
}
