//! How well a route fits a request, by the rules that `table` words, and those rules as sentences.

use std::cmp::Reverse;

use crate::config::{HostPattern, Name, PathMatch, Revision};
use crate::routing::host::Host;
use crate::routing::snapshot::RouteEntry;

/// How well a route fits; the greatest wins.
pub(super) type Rank = (HostRank, PathRank, Reverse<(Revision, Name)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HostRank {
    Any,
    Wildcard(usize),
    Exact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathRank {
    Prefix(usize),
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

pub(super) fn path_rank(route: &RouteEntry, path: &str) -> Option<PathRank> {
    match &route.spec().matches.path {
        PathMatch::Exact(exact) => (exact == path).then_some(PathRank::Exact),
        PathMatch::Prefix(prefix) => {
            let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
            let rest = path.strip_prefix(prefix)?;
            let whole_segment = rest.is_empty() || rest.starts_with('/') || prefix.is_empty();
            whole_segment.then_some(PathRank::Prefix(prefix.len()))
        }
    }
}

pub(super) fn path_misses(route: &RouteEntry, path: &str) -> String {
    match &route.spec().matches.path {
        PathMatch::Exact(exact) => format!("the path {path} is not exactly {exact}"),
        PathMatch::Prefix(prefix) if path.starts_with(prefix.as_str()) => {
            format!("the path {path} only begins like {prefix}: prefixes match by whole segments")
        }
        PathMatch::Prefix(prefix) => format!("the path {path} is not {prefix} or below it"),
    }
}

pub(super) fn host_misses(route: &RouteEntry, host: &str) -> String {
    let patterns: Vec<String> = route
        .spec()
        .matches
        .hosts
        .iter()
        .map(HostPattern::to_string)
        .collect();
    let host = if host.is_empty() { "(none)" } else { host };
    format!("the host {host} is not {}", patterns.join(" or "))
}

pub(super) fn fits(route: &RouteEntry, host: HostRank, path: PathRank, fitting: usize) -> String {
    let host = match host {
        HostRank::Exact => "its host is exactly this".to_owned(),
        HostRank::Wildcard(_) => "its wildcard holds this host".to_owned(),
        HostRank::Any => "it takes any host".to_owned(),
    };
    let path = match (path, &route.spec().matches.path) {
        (PathRank::Exact, _) => "its path is exactly this".to_owned(),
        (PathRank::Prefix(_), PathMatch::Prefix(prefix) | PathMatch::Exact(prefix)) => {
            format!("the path is {prefix} or below it")
        }
    };
    let over = match fitting {
        1 => "no other route does".to_owned(),
        2 => "it comes before the other route that matches".to_owned(),
        many => format!("it comes before {} other routes that match", many - 1),
    };
    format!("{host} and {path}; {over}")
}

/// Why the rank `lost` is below the rank `won`.
pub(super) fn loses(lost: &Rank, won: &Rank) -> &'static str {
    match (lost.0, won.0) {
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
    match (lost.1, won.1) {
        (PathRank::Prefix(_), PathRank::Exact) => {
            return "its path is a prefix, and an exact path comes first";
        }
        (PathRank::Prefix(a), PathRank::Prefix(b)) if a < b => return "its prefix is shorter",
        _ => {}
    }
    if lost.2.0.0 != won.2.0.0 {
        "it asks for the same and is younger"
    } else {
        "it asks for the same, is as old, and its name comes later"
    }
}
