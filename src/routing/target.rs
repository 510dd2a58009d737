//! What a route has in the place of the URL that was asked for: for the client that it redirects, and for the backend.

use std::borrow::Cow;

use super::path::comparable;
use crate::config::PathMatch;
use crate::config::policy::{Redirect, Scheme};

/// What a client asked for.
#[derive(Clone, Copy)]
pub struct Url<'a> {
    /// What it speaks.
    pub scheme: Scheme,
    /// Host and port as received.
    pub authority: &'a str,
    /// Without the query; `*` in an OPTIONS for the whole server.
    pub path: &'a str,
    /// Without its `?`.
    pub query: Option<&'a str>,
}

/// The URL for Location, always absolute; `None` if the client asked for that one already, or named no host to be
/// sent to.
pub fn location(redirect: &Redirect, matched: &PathMatch, asked: Url<'_>) -> Option<String> {
    let scheme = redirect.scheme.unwrap_or(asked.scheme);
    let (host, port) = split(asked.authority);
    let old_port = port.unwrap_or(asked.scheme.port());
    let new_port = match (redirect.port, redirect.scheme) {
        (Some(port), _) => port,
        (None, Some(scheme)) => scheme.port(),
        (None, None) => old_port,
    };
    let new_host = redirect.host.as_deref().unwrap_or(host);
    if new_host.is_empty() {
        return None;
    }
    let below = below(asked.path, matched);
    let path = match &redirect.path {
        Some(new) if asked.path != "*" => new.of(&below, matched),
        _ => asked.path.into(),
    };
    // Clients that speak https to a proxy in front may come with whatever port that one forwards to.
    let same_place = scheme == asked.scheme && new_host.eq_ignore_ascii_case(host);
    let same_port = new_port == old_port || redirect.port.is_none();
    if same_place && same_port && path == asked.path {
        return None;
    }
    let path = if path == "*" { "/" } else { &path };
    let port = match new_port == scheme.port() {
        true => String::new(),
        false => format!(":{new_port}"),
    };
    let target = with_query(path, asked.query);
    Some(format!("{}://{new_host}{port}{target}", scheme.name()))
}

/// A path as it is below the prefix that took it, which may be in its compared form alone.
pub fn below<'a>(path: &'a str, matched: &PathMatch) -> Cow<'a, str> {
    match matched {
        PathMatch::Prefix(_) if matched.behind(path).is_none() => comparable(path),
        _ => Cow::Borrowed(path),
    }
}

/// A path and the query of the request.
pub fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// Host and port of a valid authority.
fn split(authority: &str) -> (&str, Option<u16>) {
    let end = authority.rfind(']').map_or(0, |end| end + 1);
    match authority[end..].split_once(':') {
        Some((rest, port)) => (&authority[..end + rest.len()], port.parse().ok()),
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_host_and_port() {
        for (authority, expected) in [
            ("a.example", ("a.example", None)),
            ("a.example:8080", ("a.example", Some(8080))),
            ("a.example:", ("a.example", None)),
            ("[::1]", ("[::1]", None)),
            ("[::1]:80", ("[::1]", Some(80))),
            ("", ("", None)),
        ] {
            assert_eq!(split(authority), expected);
        }
    }
}
