//! What happens to the request, in a sentence. The order is that in which the proxy asks.

use std::ops::ControlFlow;

use super::{PoolChances, Question};
use crate::backend::{Passage, fence_token};
use crate::config::policy::{Cors, Redirect};
use crate::config::{PathMatch, Policy};
use crate::routing::asked::Asked;
use crate::routing::snapshot::RouteEntry;
use crate::routing::target::{self, Url};

pub(super) const NO_CONFIG: &str = "no config is known yet: the proxy answers that it is not ready";

pub(super) const AMBIGUOUS: &str = "its path means different things to different readers: the proxy answers that it \
    is a bad request";

/// The sentence, and where the client is sent if it is.
pub(super) fn of(
    route: Option<&RouteEntry>,
    question: &Question,
    asked: &Asked<'_>,
    pools: &[PoolChances],
) -> (String, Option<String>) {
    let Some(route) = route else {
        let nowhere = "no route matches: the proxy answers that nothing is found here";
        return (nowhere.to_owned(), None);
    };
    let policy = route.policy();
    if let Some(refused) = policy.and_then(|policy| refused(policy, question, asked)) {
        return (refused.by(route), None);
    }
    let redirect = policy.and_then(|policy| policy.redirect.as_ref());
    let matched = &route.spec().matches.path;
    if let Some(redirect) = redirect
        && let Some(location) = location(redirect, matched, question, asked)
    {
        let (status, name) = (redirect.status, &route.name);
        let sentence = format!("is redirected with {status} by route {name} to {location}");
        return (sentence, Some(location));
    }
    if let Some(refused) = fenced(route, asked).or_else(|| policy.and_then(aborted)) {
        return (refused.by(route), None);
    }
    if let Some(respond) = policy.and_then(|policy| policy.respond.as_ref()) {
        let (status, name) = (respond.status, &route.name);
        let sentence = format!("is answered with {status} by route {name} itself");
        return (sentence, None);
    }
    (forwarded(route, pools), None)
}

/// An answer in the place of a backend's: its status, and why.
struct Refused(u16, String);

impl Refused {
    fn by(self, route: &RouteEntry) -> String {
        let Self(status, why) = self;
        format!("is answered with {status} by route {}: {why}", route.name)
    }
}

/// What the policy says before it says where the client is sent.
fn refused(policy: &Policy, question: &Question, asked: &Asked<'_>) -> Option<Refused> {
    if let (Some(clients), Some(client)) = (&policy.clients, question.client)
        && !clients.admit(client)
    {
        return Some(Refused(403, format!("it is not for the client {client}")));
    }
    let length = first(asked, "content-length");
    let length: Option<u64> = length.and_then(|length| length.parse().ok());
    if let (Some(most), Some(length)) = (policy.max_body_bytes, length)
        && length > most
    {
        let why = format!("its body is longer than {most} bytes");
        return Some(Refused(413, why));
    }
    let preflight = policy.cors.as_deref().and_then(|cors| {
        let names_method = first(asked, "access-control-request-method").is_some();
        let origin = first(asked, "origin")?;
        Cors::is_preflight(asked.method, names_method).then(|| match cors.admits(origin) {
            true => Refused(204, format!("it is a preflight from {origin}")),
            false => Refused(
                403,
                format!("it is a preflight from {origin}, which it is not for"),
            ),
        })
    });
    if preflight.is_some() {
        return preflight;
    }
    policy.basic_auth.as_ref()?;
    // Whether those shown are right is not told: whoever may read the config could guess here as often as he likes.
    let shown = lines(asked, "authorization").len() == 1;
    let why = "it shows no name and password, or several";
    (!shown).then(|| Refused(401, why.to_owned()))
}

/// Where the client is sent.
fn location(
    redirect: &Redirect,
    matched: &PathMatch,
    question: &Question,
    asked: &Asked<'_>,
) -> Option<String> {
    let url = Url {
        scheme: question.scheme,
        authority: asked.host,
        path: asked.path,
        query: asked.query,
    };
    target::location(redirect, matched, url)
}

/// What the fence of the route says.
fn fenced(route: &RouteEntry, asked: &Asked<'_>) -> Option<Refused> {
    let fence = route.fence.as_ref()?;
    let token = match &lines(asked, &fence.header)[..] {
        [shown] => fence_token(shown),
        _ => None,
    };
    let (status, why) = match token.map(|token| fence.gate.passage(token)) {
        Some(Passage::Free) => return None,
        None => (428, "it shows no token of the lock, or several"),
        Some(Passage::Old) => (412, "its token is old"),
        Some(Passage::Unknown) => (412, "its token was never granted"),
        Some(Passage::Unsure) => (503, "whether its token is good cannot be told here now"),
    };
    Some(Refused(status, why.to_owned()))
}

/// What is done to every request on purpose.
fn aborted(policy: &Policy) -> Option<Refused> {
    let abort = policy.fault_injection.as_ref()?.abort.as_ref()?;
    let why = "it fails on purpose".to_owned();
    (abort.percent >= 100).then_some(Refused(abort.status, why))
}

/// Which pools and backends there are for it.
fn forwarded(route: &RouteEntry, pools: &[PoolChances]) -> String {
    let name = &route.name;
    if pools.is_empty() {
        return format!(
            "route {name} has no pool with a weight above 0: the proxy answers unavailable"
        );
    }
    let names: Vec<&str> = pools.iter().map(|pool| pool.pool.as_str()).collect();
    let names = names.join(" or ");
    let backends = pools.iter().flat_map(|pool| &pool.backends);
    let backends = match backends.filter(|backend| backend.eligible).count() {
        0 => {
            return format!(
                "goes to {names} by route {name}, which has no eligible backend: the proxy answers unavailable"
            );
        }
        1 => "1 eligible backend".to_owned(),
        able => format!("{able} eligible backends"),
    };
    format!("goes to {names} by route {name}, to one of {backends}")
}

/// The value of the first line of a header field, if it is text.
fn first<'a>(asked: &Asked<'a>, name: &str) -> Option<&'a str> {
    std::str::from_utf8(lines(asked, name).first()?).ok()
}

/// The values of all lines of a header field.
fn lines<'a>(asked: &Asked<'a>, name: &str) -> Vec<&'a [u8]> {
    let mut lines = Vec::new();
    asked.each_header(name, &mut |value| {
        lines.push(value);
        ControlFlow::Continue(())
    });
    lines
}
