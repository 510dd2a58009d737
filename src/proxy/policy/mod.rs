//! What a route does to a request before a backend is picked, and to the answer before the client gets it. One file a
//! policy, each on heads alone, so it holds for every protocol. A route without policy costs one look.

mod basic_auth;
pub(super) mod cors;
mod header_edits;
mod redirect;
mod rewrite;

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Instant;

use super::connection::Client;
use super::exchange::Exchange;
use super::failure::Failure;
use super::forward_auth::Verdict;
use super::rate;
use super::record::client_of;
use super::upload::Upload;
use crate::backend::Meter;
use crate::config::Policy;
use crate::config::policy::Scheme;
use crate::routing::RouteEntry;
use crate::wire::body::BodyKind;
use crate::wire::head::{RequestHead, ResponseHead};
use crate::wire::http1::Instead;

use header_edits::{edit_answer, edit_request};

/// What policies made of one request.
#[derive(Debug, Default)]
pub(crate) struct Ruling {
    /// Fields of the answer, be it a backend's or the proxy's own.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// What the service that is asked about requests answered to this one instead.
    pub(crate) verdict: OnceCell<Box<Verdict>>,
    /// What counted the request on the way that it did not go in the end.
    pub(crate) counted: Option<Arc<Meter>>,
    target: Option<String>,
    authority: Option<String>,
}

impl Ruling {
    /// What to ask the backend for.
    pub(crate) fn instead(&self) -> Instead<'_> {
        Instead {
            target: self.target.as_deref(),
            authority: self.authority.as_deref(),
        }
    }

    /// Does to a backend's answer what the route's policy says.
    pub(crate) fn edit_answer(&self, policy: &Policy, answer: &mut ResponseHead) {
        let fields = answer.fields_mut();
        if policy.cors.is_some() {
            cors::drop_others(fields);
        }
        if let Some(headers) = &policy.headers {
            edit_answer(fields, &headers.response);
        }
        for (name, value) in &self.fields {
            // What the config takes, and an Origin as it was received, are valid fields.
            let _ = fields.append(name, value.as_bytes());
        }
    }

    /// Takes everything back but what `meter` counted, for a request that goes another way.
    pub(crate) fn undo(
        &mut self,
        exchange: &mut Exchange,
        upload: &mut Upload,
        meter: Option<Arc<Meter>>,
    ) {
        *self = Self {
            counted: meter,
            ..Self::default()
        };
        upload.most = u64::MAX;
        exchange.request.fields_mut().undo_edits();
    }
}

/// Whether the client speaks https: to this proxy, or as a trusted one in front tells.
pub(crate) fn is_https(request: &RequestHead, client: &Client) -> bool {
    redirect::scheme(request, client) == Scheme::Https
}

/// Does what the route's policy says. `None`: the request goes on to a backend.
pub(crate) fn rule(
    route: &RouteEntry,
    client: &Client,
    exchange: &mut Exchange,
    upload: &mut Upload,
    ruling: &mut Ruling,
) -> Option<Failure> {
    let policy = route.policy()?;
    refuse(policy, client, &exchange.request, upload)
        .or_else(|| apply(policy, route, client, exchange, ruling))
}

/// What forbids the request.
fn refuse(
    policy: &Policy,
    client: &Client,
    request: &RequestHead,
    upload: &mut Upload,
) -> Option<Failure> {
    if let Some(clients) = &policy.clients
        && !clients.admit(client_of(request, client.peer, &client.listener))
    {
        return Some(Failure::ClientDenied);
    }
    if let Some(most) = policy.max_body_bytes {
        upload.most = most;
        let told = match request.body() {
            BodyKind::Length(length) => length,
            BodyKind::None | BodyKind::Chunked | BodyKind::UntilClose => 0,
        };
        if told.max(upload.data) > most {
            return Some(Failure::BodyTooLarge);
        }
    }
    None
}

fn apply(
    policy: &Policy,
    route: &RouteEntry,
    client: &Client,
    exchange: &mut Exchange,
    ruling: &mut Ruling,
) -> Option<Failure> {
    let matched = &route.spec().matches.path;
    if let Some(cors) = &policy.cors
        && let Some(answer) = cors::rule(cors, &exchange.request, &mut ruling.fields)
    {
        return Some(answer);
    }
    if let Some(auth) = &policy.basic_auth
        && !basic_auth::admits(auth, &exchange.request)
    {
        // Who guesses is held to the rate, and told no more once it is spent. The others are counted later.
        if let Err(too_many) = rate::take(route, client, &exchange.request, ruling, Instant::now())
        {
            return Some(too_many);
        }
        let challenge = basic_auth::challenge(auth);
        ruling.fields.push(("WWW-Authenticate", challenge));
        return Some(Failure::Unauthorized);
    }
    if let Some(redirect) = &policy.redirect
        && let Some(location) = redirect::location(redirect, matched, &exchange.request, client)
    {
        ruling.fields.push(("Location", location));
        return Some(Failure::Redirected(redirect.status));
    }
    if let Some(rewrite) = &policy.rewrite {
        ruling.authority.clone_from(&rewrite.host);
        match rewrite::target(rewrite, matched, &exchange.request) {
            Ok(target) => ruling.target = target,
            Err(failure) => return Some(failure),
        }
    }
    if let Some(headers) = &policy.headers {
        edit_request(exchange.request.fields_mut(), &headers.request);
    }
    None
}
