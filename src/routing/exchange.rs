//! What changes in the table, by place: a host and a path. Each place is then made anew once, however many of its
//! routes change.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::path::{self, comparable};
use super::snapshot::RouteEntry;
use crate::config::{HostPattern, Name, PathMatch, Pattern};

/// Where in the table a route stands; `None`: among those for any host.
pub(super) type Place<'a> = (Option<&'a HostPattern>, PathOf<'a>);

/// A path in the form that the table has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum PathOf<'a> {
    Exact(Cow<'a, str>),
    /// Without a slash at its end.
    Prefix(Cow<'a, str>),
    Regex(&'a Pattern),
}

/// The routes that go from one place, and those that come there.
#[derive(Debug, Default)]
pub(super) struct Exchange<'a> {
    pub(super) gone: HashSet<&'a Name>,
    pub(super) come: Vec<&'a Arc<RouteEntry>>,
}

/// A route before a change and after it.
pub(super) type Change = (Option<Arc<RouteEntry>>, Option<Arc<RouteEntry>>);

/// All exchanges that these changes make.
#[allow(
    clippy::mutable_key_type,
    reason = "an expression is hashed by its text alone"
)]
pub(super) fn exchanges(changes: &[Change]) -> HashMap<Place<'_>, Exchange<'_>> {
    let mut exchanges: HashMap<Place<'_>, Exchange<'_>> = HashMap::new();
    for (before, after) in changes {
        if let Some(route) = before {
            for place in places(route) {
                exchanges.entry(place).or_default().gone.insert(&route.name);
            }
        }
        if let Some(route) = after {
            for place in places(route) {
                exchanges.entry(place).or_default().come.push(route);
            }
        }
    }
    exchanges
}

fn places(route: &RouteEntry) -> impl Iterator<Item = Place<'_>> {
    let matches = &route.spec().matches;
    let path = match &matches.path {
        PathMatch::Exact(path) => PathOf::Exact(comparable(path)),
        PathMatch::Prefix(path) => PathOf::Prefix(path::prefix(path)),
        PathMatch::Regex(pattern) => PathOf::Regex(pattern),
    };
    let any = matches.hosts.is_empty().then_some(None);
    let hosts = matches.hosts.iter().map(Some).chain(any);
    hosts.map(move |host| (host, path.clone()))
}
