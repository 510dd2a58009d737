//! Where a client is sent.

use crate::config::PathMatch;
use crate::config::policy::{Redirect, Scheme};
use crate::proxy::connection::Client;
use crate::routing::target::{self, Url};
use crate::wire::field::Known;
use crate::wire::head::RequestHead;

/// The URL for Location; `None` if the request is to go on.
pub(super) fn location(
    redirect: &Redirect,
    matched: &PathMatch,
    request: &RequestHead,
    client: &Client,
) -> Option<String> {
    let asked = Url {
        scheme: scheme(request, client),
        authority: request.authority(),
        path: request.path(),
        query: request.query(),
    };
    target::location(redirect, matched, asked)
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
