//! How well a route fits a request, by the rules that `table` words, and those rules as sentences.

use std::cmp::Reverse;

use crate::config::{HostPattern, Name, PathMatch, Revision};
use crate::routing::host::Host;
use crate::routing::path::{self, comparable};
use crate::routing::paths::pattern_order;
use crate::routing::snapshot::RouteEntry;

/// How well a route fits; the greatest wins.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank<'a> {
    host: HostRank,
    path: PathRank<'a>,
    /// Whether it asks for a method.
    method: bool,
    /// How many it asks for.
    headers: usize,
    /// How many it asks for.
    query: usize,
    age: Reverse<(Revision, &'a Name)>,
}

impl<'a> Rank<'a> {
    /// Of a route that matches.
    pub(super) fn of(route: &'a RouteEntry, host: HostRank, path: PathRank<'a>) -> Self {
        let matches = &route.spec().matches;
        Self {
            host,
            path,
            method: !matches.methods.is_empty(),
            headers: matches.headers.len(),
            query: matches.query.len(),
            age: Reverse((route.resource.created, &route.name)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HostRank {
    Any,
    Wildcard(usize),
    Exact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathRank<'a> {
    Prefix(usize),
    Regex(Reverse<(Reverse<usize>, &'a str)>),
    Exact,
}

/// The best of the route's host patterns for this host.
pub(super) fn host_rank(route: &RouteEntry, host: Option<&Host>) -> Option<HostRank> {
    let patterns = &route.spec().matches.hosts;
    if patterns.is_empty() {
        return Some(HostRank::Any);
    }
    let host = host?.as_str();
    let rank = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(exact) => (exact.as_ref() == host).then_some(HostRank::Exact),
        HostPattern::Wildcard(suffix) => {
            let label = host.strip_suffix(suffix.as_ref())?;
            label
                .ends_with('.')
                .then_some(HostRank::Wildcard(suffix.len()))
        }
    };
    patterns.iter().filter_map(rank).max()
}

pub(super) fn path_rank<'a>(route: &'a RouteEntry, path: &str) -> Option<PathRank<'a>> {
    match &route.spec().matches.path {
        PathMatch::Exact(exact) => (comparable(exact) == path).then_some(PathRank::Exact),
        PathMatch::Regex(pattern) => {
            let order = pattern_order(pattern.as_str());
            let fits = pattern.fits(path.as_bytes());
            fits.then_some(PathRank::Regex(Reverse(order)))
        }
        PathMatch::Prefix(prefix) => {
            let prefix = path::prefix(prefix);
            let rest = path.strip_prefix(&*prefix)?;
            let whole_segment = rest.is_empty() || rest.starts_with('/') || prefix.is_empty();
            whole_segment.then_some(PathRank::Prefix(prefix.len()))
        }
    }
}

/// Why the route that won has the request.
pub(super) fn fits(route: &RouteEntry, rank: &Rank<'_>, fitting: usize) -> String {
    let mut parts = vec![match rank.host {
        HostRank::Exact => "its host is exactly this".to_owned(),
        HostRank::Wildcard(_) => "its wildcard holds this host".to_owned(),
        HostRank::Any => "it takes any host".to_owned(),
    }];
    parts.push(match &route.spec().matches.path {
        PathMatch::Exact(_) => "its path is exactly this".to_owned(),
        PathMatch::Regex(_) => "its expression matches the path".to_owned(),
        PathMatch::Prefix(prefix) => format!("the path is {prefix} or below it"),
    });
    if rank.method {
        parts.push("the method is one it asks for".to_owned());
    }
    for (count, one, many) in [
        (rank.headers, "header", "headers"),
        (rank.query, "query parameter", "query parameters"),
    ] {
        match count {
            0 => {}
            1 => parts.push(format!("the {one} is as it asks")),
            count => parts.push(format!("the {count} {many} are as it asks")),
        }
    }
    let over = match fitting {
        1 => "no other route does".to_owned(),
        2 => "it comes before the other route that matches".to_owned(),
        many => format!("it comes before {} other routes that match", many - 1),
    };
    let last = parts.pop().unwrap_or_default();
    format!("{} and {last}; {over}", parts.join(", "))
}

/// Why the rank `lost` is below the rank `won`.
pub(super) fn loses(lost: &Rank<'_>, won: &Rank<'_>) -> &'static str {
    match (lost.host, won.host) {
        (HostRank::Any, HostRank::Exact) => {
            return "it takes any host, and an exact host comes first";
        }
        (HostRank::Any, HostRank::Wildcard(_)) => {
            return "it takes any host, and a wildcard for this one comes first";
        }
        (HostRank::Wildcard(_), HostRank::Exact) => {
            return "its host is a wildcard, and an exact host comes first";
        }
        (HostRank::Wildcard(a), HostRank::Wildcard(b)) if a < b => return "its wildcard is shorter",
        _ => {}
    }
    match (lost.path, won.path) {
        (PathRank::Prefix(_), PathRank::Exact) => {
            return "its path is a prefix, and an exact path comes first";
        }
        (PathRank::Prefix(_), PathRank::Regex(_)) => {
            return "its path is a prefix, and a regular expression comes first";
        }
        (PathRank::Regex(_), PathRank::Exact) => {
            return "its path is a regular expression, and an exact path comes first";
        }
        (PathRank::Regex(a), PathRank::Regex(b)) if a.0.0 != b.0.0 => {
            return "its regular expression is shorter";
        }
        (PathRank::Regex(a), PathRank::Regex(b)) if a != b => {
            return "its regular expression is as long, and comes later by its text";
        }
        (PathRank::Prefix(a), PathRank::Prefix(b)) if a < b => return "its prefix is shorter",
        _ => {}
    }
    if lost.method != won.method {
        "it takes any method, and one that asks for this method comes first"
    } else if lost.headers != won.headers {
        "it asks for fewer headers"
    } else if lost.query != won.query {
        "it asks for fewer query parameters"
    } else if lost.age.0.0 != won.age.0.0 {
        "it asks for the same and is younger"
    } else {
        "it asks for the same, is as old, and its name comes later"
    }
}
