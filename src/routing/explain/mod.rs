//! Tells why a request goes where it goes: the route, those it won over, its pools, and each backend's chances.
//!
//! It judges every route by itself, by the rules that `table` words, and so is also what the table is tested against.
//! As JSON for the API, as text for people. Not for the request path.

mod policy;

mod rank;

mod reasons;

mod text;

mod verdict;

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use self::rank::{HostRank, PathRank, Rank, fits, host_rank, loses, path_rank};
use self::reasons::{condition_misses, host_misses, path_misses};
use super::asked::Asked;
use super::conditions::misses;
use super::host::Host;
use super::path::{self, Ambiguous, comparable};
use super::snapshot::{PoolEntry, PoolMember, RouteEntry, Snapshot};
use crate::backend::{Condition, Health, Recourse};
use crate::config::policy::Scheme;
use crate::config::{Address, Balance, Name, Revision, State};

/// More losers than this are counted, not listed.
const LISTED: usize = 50;

/// The head of the request in question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Question {
    /// `GET`.
    pub method: String,
    /// What the client speaks, to this proxy or to a trusted one in front.
    pub scheme: Scheme,
    /// As in the Host field.
    pub host: String,
    /// With or without a query.
    pub path: String,
    /// By name; a name may be there several times.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Who asks, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
}

/// `GET http:///`, of nobody known.
impl Default for Question {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            scheme: Scheme::Http,
            host: String::new(),
            path: "/".to_owned(),
            headers: Vec::new(),
            client: None,
        }
    }
}

impl Question {
    /// The request as rules see it.
    pub fn asked(&self) -> Asked<'_> {
        let (path, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&self.path[..], None),
        };
        Asked {
            method: &self.method,
            host: &self.host,
            path,
            query,
            headers: &self.headers,
        }
    }
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
    /// What that route does besides sending it somewhere, one sentence a policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub does: Vec<String>,
    /// In a sentence: what happens to the request, as far as it can be told. A rate that is spent, a service that is
    /// asked and a fault injected on purpose can make it another.
    pub verdict: String,
    /// Where the client is sent, if it is redirected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Routes that would take it too, and why they do not, the next best first.
    pub outranked: Vec<Judged>,
    /// Routes that miss something, with all that they miss: first those of this host and path, then those of the
    /// host, then those of the path.
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
    pub address: Address,
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
    /// What its checks say: `up`, `down`, `unknown` or `unchecked`; or `ejected`.
    pub health: &'static str,
    /// Why it can or cannot be picked.
    pub why: String,
}

/// Why `question` goes where it goes in `snapshot`.
pub fn explain(snapshot: &Snapshot, question: Question) -> Explanation {
    let asked = question.asked();
    let normal = path::normal(asked.path);
    let path = match &normal {
        Ok(Some(normal)) => normal,
        Ok(None) | Err(Ambiguous) => asked.path,
    };
    let asked = Asked { path, ..asked };
    let form = comparable(path);
    let compared = Asked {
        path: &form,
        ..asked
    };
    let host = Host::of(asked.host);
    let mut fitting: Vec<(Rank<'_>, &Arc<RouteEntry>)> = Vec::new();
    let mut missed: Vec<(Nearness, Judged)> = Vec::new();
    for route in snapshot.routes() {
        let ranks = (host_rank(route, host.as_ref()), path_rank(route, &form));
        let meets_all = misses(&route.spec().matches, &asked).next().is_none();
        match ranks {
            _ if normal.is_err() => {}
            (Some(host), Some(path)) if meets_all => {
                fitting.push((Rank::of(route, host, path), route));
            }
            ranks => missed.extend(near_miss(route, ranks, &compared)),
        }
    }
    fitting.sort_by(|(a, _), (b, _)| b.cmp(a));
    missed.sort_by_key(|(nearness, _)| *nearness);
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
    let pools: Vec<PoolChances> = winner
        .map(|(_, route)| pools(snapshot, route))
        .unwrap_or_default();
    let (verdict, location) = match normal {
        Ok(_) if snapshot.revision == Revision(0) => (verdict::NO_CONFIG.to_owned(), None),
        Ok(_) => verdict::of(
            winner.map(|(_, route)| &***route),
            &question,
            &asked,
            &pools,
        ),
        Err(Ambiguous) => (verdict::AMBIGUOUS.to_owned(), None),
    };
    Explanation {
        revision: snapshot.revision,
        route: winner.map(|(rank, route)| judged(route, fits(route, rank, fitting.len()))),
        does: winner
            .map(|(_, route)| policy::does(snapshot, route, &asked))
            .unwrap_or_default(),
        verdict,
        location,
        outranked,
        missed,
        others: snapshot.routes.len() - listed,
        pools,
        request: question,
    }
}

/// What speaks for a route that does not match, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    HostAndPath,
    Host,
    Path,
}

/// A route that misses something, unless nothing but a path for all speaks for it.
fn near_miss(
    route: &RouteEntry,
    ranks: (Option<HostRank>, Option<PathRank<'_>>),
    asked: &Asked<'_>,
) -> Option<(Nearness, Judged)> {
    let (nearness, missed) = match ranks {
        (Some(_), Some(_)) => (Nearness::HostAndPath, None),
        (Some(_), None) => (Nearness::Host, Some(path_misses(route, asked.path))),
        (None, Some(rank)) if rank > PathRank::Prefix(0) => {
            (Nearness::Path, Some(host_misses(route, asked.host)))
        }
        (None, _) => return None,
    };
    let conditions = condition_misses(&route.spec().matches, asked);
    let reasons: Vec<String> = missed.into_iter().chain(conditions).collect();
    Some((nearness, judged(route, reasons.join("; "))))
}

fn judged(route: &RouteEntry, why: String) -> Judged {
    Judged {
        route: route.name.clone(),
        why,
    }
}

fn pools(snapshot: &Snapshot, route: &RouteEntry) -> Vec<PoolChances> {
    let targets = route.spec().to.iter().filter(|target| target.weight > 0);
    let sum: u32 = targets.clone().map(|target| u32::from(target.weight)).sum();
    targets
        .filter_map(|target| {
            let pool = snapshot.pool(target.pool.as_str())?;
            Some(pool_chances(pool, percent(target.weight, sum)))
        })
        .collect()
}

fn pool_chances(pool: &PoolEntry, share: f64) -> PoolChances {
    let recourse = pool.recourse();
    let tier = pool.tiers_in_use();
    let able =
        |member: &PoolMember| member.eligible() && fit(member, recourse) && member.tier <= tier;
    let eligible = pool.members().iter().filter(|member| able(member));
    let sum: u32 = eligible.map(|member| u32::from(member.weight)).sum();
    let chances = |member: &PoolMember| BackendChances {
        id: member.backend.id.clone(),
        address: member.backend.address.clone(),
        weight: member.weight,
        state: member.state,
        eligible: able(member),
        share: if able(member) {
            percent(member.weight, sum)
        } else {
            0.0
        },
        in_flight: member.backend.in_flight(),
        health: member.backend.condition().name,
        why: member_why(member, tier, recourse, pool.cookie_name().is_some()),
    };
    PoolChances {
        pool: pool.name.clone(),
        share,
        balance: pool.spec().balance,
        backends: pool.members().iter().map(chances).collect(),
    }
}

/// Whether its health lets it be picked.
fn fit(member: &PoolMember, recourse: Recourse) -> bool {
    let backend = &member.backend;
    backend.is_up() || recourse.lets_in(backend.health() == Health::Unknown)
}

fn member_why(member: &PoolMember, tier: usize, recourse: Recourse, sticky: bool) -> String {
    let backend = &member.backend;
    let Condition { name, reason } = backend.condition();
    let reason = reason.unwrap_or_default();
    match (member.state, member.weight, backend.health()) {
        (State::Drain, 1.., _) if sticky => {
            "draining: finishes what it has, gets nothing new but of clients that stick to it"
                .to_owned()
        }
        (State::Drain, ..) => "draining: finishes what it has, gets nothing new".to_owned(),
        (State::Maint, ..) => "in maintenance: gets nothing".to_owned(),
        (State::Ready, 0, _) => "weight 0: gets nothing".to_owned(),
        _ if !backend.admits() => {
            "ready, but closed: its snapshot is not in force yet or any more".to_owned()
        }
        (.., Health::Unknown) if recourse.lets_in(true) => {
            "ready, and used although no health check was good yet: none of the pool is up"
                .to_owned()
        }
        (.., Health::Unknown) => "ready, but unknown: no health check was good yet".to_owned(),
        _ if backend.is_up() && member.tier > tier => {
            "ready, but a backup: enough of the tiers before it are up".to_owned()
        }
        _ if backend.is_up() && !backend.has_room() => {
            "ready, but at its limit of requests: others wait".to_owned()
        }
        _ if backend.is_up() && backend.pace() < 100 => {
            format!(
                "ready, and warming: takes {} % of its share",
                backend.pace()
            )
        }
        _ if backend.is_up() => "ready".to_owned(),
        _ if recourse.is_panic() => {
            format!("ready, and used although it is {name} ({reason}): too few of the pool are up")
        }
        _ => format!("ready, but {name}: {reason}"),
    }
}

fn percent(part: u16, sum: u32) -> f64 {
    (f64::from(part) * 10_000.0 / f64::from(sum.max(1))).round() / 100.0
}
