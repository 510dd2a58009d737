//! Why a route does not match, as sentences.

use std::ops::ControlFlow;

use crate::config::{HostPattern, KeyMatch, Match, PathMatch, Wanted};
use crate::routing::asked::Asked;
use crate::routing::conditions::{Miss, misses};
use crate::routing::snapshot::RouteEntry;

/// Longest piece of a request that a reason repeats, in characters.
const SHOWN: usize = 100;

pub(super) fn path_misses(route: &RouteEntry, path: &str) -> String {
    match &route.spec().matches.path {
        PathMatch::Exact(exact) => format!("the path {path} is not exactly {exact}"),
        PathMatch::Regex(pattern) => {
            format!(
                "the path {path} does not match {} as a whole",
                pattern.as_str()
            )
        }
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

/// Each condition that the request does not meet.
pub(super) fn condition_misses(matches: &Match, asked: &Asked<'_>) -> Vec<String> {
    let reason = |miss: Miss<'_>| match miss {
        Miss::Method(methods) => {
            format!(
                "the method {} is not {}",
                asked.method,
                methods.join(" or ")
            )
        }
        Miss::Header(key) => key_misses("header", key, &header(asked, &key.name)),
        Miss::Query(key) => {
            let value = asked.parameter(&key.name).map(str::to_owned);
            key_misses("query parameter", key, &value)
        }
    };
    misses(matches, asked).map(reason).collect()
}

fn key_misses(kind: &str, key: &KeyMatch, value: &Option<String>) -> String {
    let name = &key.name;
    match (value, &key.wanted) {
        (Some(_), Wanted::Present(_)) => format!("the {kind} {name} is there"),
        (None, Wanted::Present(_)) => format!("the {kind} {name} is missing"),
        (None, Wanted::Exact(exact)) => {
            format!("the {kind} {name} is missing, and asked to be {exact:?}")
        }
        (None, Wanted::Regex(pattern)) => {
            format!(
                "the {kind} {name} is missing, and asked to match {:?}",
                pattern.as_str()
            )
        }
        (Some(value), Wanted::Regex(pattern)) => {
            let value: String = value.chars().take(SHOWN).collect();
            format!(
                "the {kind} {name} is {value:?}, which does not match {:?}",
                pattern.as_str()
            )
        }
        (Some(value), Wanted::Exact(exact)) => {
            let value: String = value.chars().take(SHOWN).collect();
            format!("the {kind} {name} is {value:?}, not {exact:?}")
        }
    }
}

/// Its first line.
fn header(asked: &Asked<'_>, name: &str) -> Option<String> {
    let mut first = None;
    asked.each_header(name, &mut |value| {
        first = Some(String::from_utf8_lossy(value).into_owned());
        ControlFlow::Break(())
    });
    first
}
