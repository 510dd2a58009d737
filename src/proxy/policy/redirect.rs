//! Where a client is sent.

use super::rewrite::{below, with_query};
use crate::config::PathMatch;
use crate::config::policy::{Redirect, Scheme};
use crate::proxy::connection::Client;
use crate::wire::field::Known;
use crate::wire::head::RequestHead;

/// The URL for Location, always absolute; `None` if the client asked for that one already, or named no host to be
/// sent to.
pub(super) fn location(
    redirect: &Redirect,
    matched: &PathMatch,
    request: &RequestHead,
    client: &Client,
) -> Option<String> {
    let asked = scheme(request, client);
    let scheme = redirect.scheme.unwrap_or(asked);
    let (host, port) = split(request.authority());
    let old_port = port.unwrap_or(asked.port());
    let new_port = match (redirect.port, redirect.scheme) {
        (Some(port), _) => port,
        (None, Some(scheme)) => scheme.port(),
        (None, None) => old_port,
    };
    let new_host = redirect.host.as_deref().unwrap_or(host);
    if new_host.is_empty() {
        return None;
    }
    let below = below(request.path(), matched);
    let path = match &redirect.path {
        Some(new) if request.path() != "*" => new.of(&below, matched),
        _ => request.path().into(),
    };
    // Clients that speak https to a proxy in front may come with whatever port that one forwards to.
    let same_place = scheme == asked && new_host.eq_ignore_ascii_case(host);
    let same_port = new_port == old_port || redirect.port.is_none();
    if same_place && same_port && path == request.path() {
        return None;
    }
    let path = if path == "*" { "/" } else { &path };
    let port = match new_port == scheme.port() {
        true => String::new(),
        false => format!(":{new_port}"),
    };
    let target = with_query(path, request.query());
    Some(format!("{}://{new_host}{port}{target}", scheme.name()))
}

/// What the client speaks: to this proxy, or as a trusted one in front tells.
pub(super) fn scheme(request: &RequestHead, client: &Client) -> Scheme {
    let told = request.fields().value(Known::XForwardedProto);
    match told {
        Some(b"https") if client.listener.trusts(client.peer) => Scheme::Https,
        Some(_) if client.listener.trusts(client.peer) => Scheme::Http,
        _ if client.stream.is_tls() => Scheme::Https,
        _ => Scheme::Http,
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
