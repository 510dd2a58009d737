//! The routes that ask for one host and one path: at most one that asks for nothing more, and those with conditions.
//!
//! Of many with conditions few are looked at: each stands in the list of one value that it asks for, the one that the
//! fewest others ask for. A request looks at the lists of the values it has, so it pays for the names that are asked
//! for here and for the routes that its own values speak for, not for all. Routes that ask for no value (only that a
//! field is absent, say) are looked at one by one.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::asked::Asked;
use super::conditions::hold;
use super::exchange::Exchange;
use super::hashed::FastMap;
use super::snapshot::RouteEntry;
use super::steps::step;
use crate::config::{KeyMatch, Wanted};

/// So many routes are looked at one by one: an index would not pay.
const FEW: usize = 8;

/// Routes of one host and path; there is one at least.
#[derive(Debug)]
pub(super) struct Slot {
    /// All of them, the oldest first, and then by name.
    routes: Vec<Arc<RouteEntry>>,
    always: Option<Arc<RouteEntry>>,
    conditional: Option<Conditional>,
}

impl Slot {
    /// What becomes of a slot by an exchange; `None`: there are no routes.
    pub(super) fn after(before: Option<&Self>, exchange: &Exchange<'_>) -> Option<Arc<Self>> {
        let mut routes = before.map_or_else(Vec::new, |slot| slot.routes.clone());
        routes.retain(|route| !exchange.gone.contains(&route.name));
        routes.extend(exchange.come.iter().map(|route| Arc::clone(route)));
        routes.sort_by(|a, b| (a.resource.created, &a.name).cmp(&(b.resource.created, &b.name)));
        (!routes.is_empty()).then(|| Arc::new(Self::of(routes)))
    }

    fn of(routes: Vec<Arc<RouteEntry>>) -> Self {
        let asks = |route: &&Arc<RouteEntry>| route.spec().matches.has_conditions();
        let conditional: Vec<_> = routes.iter().filter(asks).cloned().collect();
        Self {
            always: routes.iter().find(|route| !asks(route)).cloned(),
            conditional: (!conditional.is_empty()).then(|| Conditional::of(conditional)),
            routes,
        }
    }

    /// The first route whose conditions hold.
    pub(super) fn find(&self, asked: &Asked<'_>) -> Option<&Arc<RouteEntry>> {
        let conditional = self.conditional.as_ref();
        let found = conditional.and_then(|conditional| conditional.find(asked));
        found.or(self.always.as_ref())
    }
}

/// Routes with conditions. In the lists a route is its place in `routes`, so the smaller comes first.
#[derive(Debug, Default)]
struct Conditional {
    /// In the order of precedence.
    routes: Vec<Arc<RouteEntry>>,
    unlisted: Vec<u32>,
    by_method: FastMap<Vec<u32>>,
    by_header: FastMap<Values>,
    by_query: FastMap<Values>,
}

/// The lists of one name.
#[derive(Debug, Default)]
struct Values {
    exact: FastMap<Vec<u32>>,
    /// Of those that want it to be there, whatever its value or of a form that has to be looked at.
    any: Vec<u32>,
}

/// Something in a request by which a route can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mark<'a> {
    Header(&'a KeyMatch),
    Query(&'a KeyMatch),
}

impl Conditional {
    /// Of routes from the oldest on.
    fn of(mut routes: Vec<Arc<RouteEntry>>) -> Self {
        let rank = |route: &Arc<RouteEntry>| {
            let matches = &route.spec().matches;
            let method = !matches.methods.is_empty();
            (method, matches.headers.len(), matches.query.len())
        };
        // Stable: among equals the oldest stays first.
        routes.sort_by_key(|route| Reverse(rank(route)));
        let mut lists = Self::default();
        lists.list(&first_of_each(&routes));
        Self { routes, ..lists }
    }

    #[allow(
        clippy::mutable_key_type,
        reason = "an expression is hashed by its text alone"
    )]
    fn list(&mut self, routes: &[(u32, &RouteEntry)]) {
        if routes.len() <= FEW {
            self.unlisted = routes.iter().map(|(place, _)| *place).collect();
            return;
        }
        let mut sharing: HashMap<Mark<'_>, usize> = HashMap::new();
        for (_, route) in routes {
            for mark in marks(route) {
                *sharing.entry(mark).or_default() += 1;
            }
        }
        for (place, route) in routes {
            let methods = &route.spec().matches.methods;
            match marks(route).min_by_key(|mark| sharing.get(mark)) {
                Some(Mark::Header(key)) => put(&mut self.by_header, key, *place),
                Some(Mark::Query(key)) => put(&mut self.by_query, key, *place),
                None if methods.is_empty() => self.unlisted.push(*place),
                None => methods.iter().for_each(|method| {
                    let list = self.by_method.entry(method.as_str().into());
                    list.or_default().push(*place);
                }),
            }
        }
    }

    fn find(&self, asked: &Asked<'_>) -> Option<&Arc<RouteEntry>> {
        let mut best = None;
        self.look(&self.unlisted, asked, &mut best);
        if let Some(list) = self.by_method.get(asked.method) {
            self.look(list, asked, &mut best);
        }
        for (name, values) in &self.by_header {
            step();
            let mut there = false;
            asked.each_header(name, &mut |value| {
                there = true;
                if let Some(list) = values.of(value) {
                    self.look(list, asked, &mut best);
                }
                ControlFlow::Continue(())
            });
            if there {
                self.look(&values.any, asked, &mut best);
            }
        }
        for (name, values) in &self.by_query {
            step();
            if let Some(value) = asked.parameter(name) {
                if let Some(list) = values.of(value.as_bytes()) {
                    self.look(list, asked, &mut best);
                }
                self.look(&values.any, asked, &mut best);
            }
        }
        self.routes.get(best? as usize)
    }

    /// Takes the first of the list whose conditions hold, if it comes before the best so far.
    fn look(&self, list: &[u32], asked: &Asked<'_>, best: &mut Option<u32>) {
        let before = |place: &&u32| best.is_none_or(|best| **place < best);
        for place in list.iter().take_while(before) {
            step();
            let route = &self.routes[*place as usize];
            if hold(&route.spec().matches, asked) {
                *best = Some(*place);
                return;
            }
        }
    }
}

impl Values {
    fn of(&self, value: &[u8]) -> Option<&Vec<u32>> {
        // Values of the config are ASCII, so no other one is among them.
        self.exact.get(std::str::from_utf8(value).ok()?)
    }
}

/// The places of those that can be found at all: of several that ask for the same, the first.
#[allow(
    clippy::mutable_key_type,
    reason = "an expression is hashed by its text alone"
)]
fn first_of_each(routes: &[Arc<RouteEntry>]) -> Vec<(u32, &RouteEntry)> {
    let mut seen = HashSet::new();
    let places = (0..).zip(routes.iter().map(|route| &**route));
    places
        .filter(|(_, route)| {
            let matches = &route.spec().matches;
            seen.insert((&matches.methods, &matches.headers, &matches.query))
        })
        .collect()
}

/// What must be there for the route to be taken.
fn marks(route: &RouteEntry) -> impl Iterator<Item = Mark<'_>> {
    let matches = &route.spec().matches;
    let there = |key: &&KeyMatch| !key.wanted.is_absence();
    let headers = matches.headers.iter().filter(there).map(Mark::Header);
    headers.chain(matches.query.iter().filter(there).map(Mark::Query))
}

fn put(lists: &mut FastMap<Values>, key: &KeyMatch, place: u32) {
    let values = lists.entry(key.name.as_str().into()).or_default();
    let list = match &key.wanted {
        Wanted::Exact(value) => values.exact.entry(value.as_str().into()).or_default(),
        Wanted::Regex(_) | Wanted::Present(_) => &mut values.any,
    };
    list.push(place);
}
