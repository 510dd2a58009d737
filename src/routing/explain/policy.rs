//! What the route does besides sending the request somewhere, as sentences.

use std::ops::ControlFlow;

use crate::config::policy::{
    Clients, Cors, Edits, ErrorPage, FaultInjection, HeaderEdits, Mirror, Origin, Redirect, Rewrite,
};
use crate::config::{
    Fence, HashOn, Name, Network, PathMatch, Policy, RateLimit, RouteRetries, RouteTimeouts,
    Statuses, friendly,
};
use crate::routing::asked::Asked;
use crate::routing::snapshot::{RouteEntry, Snapshot};

/// More networks than this are not named.
const LISTED: usize = 10;

/// One sentence for each thing, in the order they are done.
pub(super) fn does(snapshot: &Snapshot, route: &RouteEntry, asked: &Asked<'_>) -> Vec<String> {
    let mut does: Vec<String> = sticks(snapshot, route, asked).collect();
    does.extend(takes_part(route));
    let Some(policy) = route.policy() else {
        return does;
    };
    let matched = &route.spec().matches.path;
    let Policy {
        timeouts,
        retries,
        rate_limit,
        fence,
        basic_auth,
        clients,
        redirect,
        respond,
        rewrite,
        cors,
        max_body_bytes,
        headers,
        fault_injection,
        mirror,
        error_pages,
        compress,
        forward_auth,
    } = policy;
    does.extend(clients.as_deref().map(admits));
    does.extend(max_body_bytes.map(|most| format!("takes bodies of at most {most} bytes")));
    does.extend(cors.as_deref().map(shares));
    does.extend(basic_auth.iter().map(|auth| {
        let users: Vec<&str> = auth.users.iter().map(|user| &user.name[..]).collect();
        format!("asks for the name and password of {}", users.join(" or "))
    }));
    does.extend(redirect.iter().map(|to| redirects(to, matched, asked)));
    does.extend(rewrite.iter().map(|to| rewrites(to, matched, asked)));
    does.extend(headers.iter().flat_map(|headers| edits(headers)));
    does.extend(rate_limit.iter().map(limits));
    does.extend(fence.iter().map(|fence| {
        let Fence { lock, header } = fence;
        format!("takes only requests with a good token of lock {lock} in header {header}")
    }));
    does.extend(fault_injection.iter().flat_map(injects));
    does.extend(forward_auth.iter().map(|auth| {
        let (pool, path) = (&auth.pool, &auth.path);
        format!("asks pool {pool} for {path} whether the request may go on")
    }));
    does.extend(respond.iter().map(|respond| {
        let bytes = respond.body.len();
        format!(
            "answers by itself, with {} and {bytes} bytes",
            respond.status
        )
    }));
    let mirror = mirror.iter().filter(|_| respond.is_none());
    does.extend(mirror.map(|mirror| {
        let Mirror { pool, percent } = mirror;
        format!("copies {percent} % of requests to pool {pool}, whose answers are dropped")
    }));
    does.extend(timeouts.iter().flat_map(hurries));
    does.extend(retries.iter().flat_map(repeats));
    does.extend(pages(error_pages));
    does.extend(compress.iter().map(|compress| {
        let codings: Vec<&str> = compress.codings.iter().map(|it| it.name()).collect();
        format!("compresses answers by {}", codings.join(" or "))
    }));
    does
}

/// Whose sentences are among those that follow.
fn takes_part(route: &RouteEntry) -> Option<String> {
    let policies = &route.spec().policies;
    let names: Vec<&str> = policies.iter().map(Name::as_str).collect();
    let what = "shares what it does not say itself with policy";
    (!names.is_empty()).then(|| format!("{what} {}", names.join(", then ")))
}

fn limits(rate: &RateLimit) -> String {
    let RateLimit {
        requests,
        per,
        burst,
        by,
    } = rate;
    let each = match by {
        None => String::new(),
        Some(HashOn::Address) => " from each address".to_owned(),
        Some(HashOn::Header(name)) => format!(" for each value of header {name}"),
        Some(HashOn::Cookie(name)) => format!(" for each value of cookie {name}"),
        Some(HashOn::Path) => " for each path".to_owned(),
        Some(HashOn::Query(name)) => format!(" for each value of query parameter {name}"),
    };
    let per = friendly::print(*per);
    format!("takes {requests} requests in {per}{each}, {burst} at once at most")
}

fn hurries(timeouts: &RouteTimeouts) -> impl Iterator<Item = String> {
    let one = timeouts.one_try.map(|time| ("a try", time));
    let all = timeouts.total.map(|time| ("a request", time));
    let bounds = one.into_iter().chain(all);
    bounds.map(|(what, time)| format!("lets {what} take {} at most", friendly::print(time)))
}

fn repeats(retries: &RouteRetries) -> impl Iterator<Item = String> {
    let any = retries.any_method.then(|| "of any method".to_owned());
    let statuses: Vec<String> = retries.statuses.iter().map(u16::to_string).collect();
    let answered = (!statuses.is_empty()).then(|| format!("answered {}", statuses.join(" or ")));
    let which = any.into_iter().chain(answered);
    which.map(|which| format!("tries requests {which} again"))
}

/// Which of the proxy's own answers have a page.
fn pages(pages: &[ErrorPage]) -> Option<String> {
    let statuses = pages.iter().flat_map(|page| &page.status);
    let statuses: Vec<String> = statuses.map(Statuses::to_string).collect();
    let all = statuses.join(", ");
    (!pages.is_empty()).then(|| format!("has error pages of its own for {all}"))
}

/// By which cookies it keeps clients, and whom those of the request name.
fn sticks(
    snapshot: &Snapshot,
    route: &RouteEntry,
    asked: &Asked<'_>,
) -> impl Iterator<Item = String> {
    snapshot.pools_of(route).filter_map(|pool| {
        let (cookie, name) = (pool.cookie_name()?, &pool.name);
        let mut named = None;
        asked.each_header("cookie", &mut |line| {
            let mut values = line.split(|byte| *byte == b';').filter_map(|pair| {
                let value = pair.trim_ascii().strip_prefix(cookie.as_bytes())?;
                value.strip_prefix(b"=")
            });
            named = values.next();
            match named {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            }
        });
        let keeps = format!("keeps clients at their backend of pool {name} by the cookie {cookie}");
        let member = named.map(|value| pool.named_by(value));
        let whose = match member.map(|member| pool.members().get(member?)) {
            None => return Some(keeps),
            Some(None) => "names no backend".to_owned(),
            Some(Some(member)) => {
                let id = &member.backend.id;
                match pool.stuck(named.and_then(|value| pool.named_by(value))?) {
                    Some(_) => format!("names {id}"),
                    None => format!("names {id}, which takes none now"),
                }
            }
        };
        Some(format!("{keeps}; that of the request {whose}"))
    })
}

fn admits(clients: &Clients) -> String {
    let list = |networks: &[Network]| {
        let shown = networks.iter().take(LISTED).map(Network::to_string);
        let mut shown: Vec<String> = shown.collect();
        if networks.len() > LISTED {
            shown.push("...".to_owned());
        }
        shown.join(", ")
    };
    match (&clients.allow[..], &clients.deny[..]) {
        (allow, []) => format!("is for clients from {} alone", list(allow)),
        ([], deny) => format!("is not for clients from {}", list(deny)),
        (allow, deny) => format!(
            "is for clients from {}, but not from {}",
            list(allow),
            list(deny)
        ),
    }
}

fn shares(cors: &Cors) -> String {
    let origins: Vec<String> = cors.origins.iter().map(Origin::to_string).collect();
    format!("lets scripts from {} read answers", origins.join(", "))
}

fn redirects(redirect: &Redirect, matched: &PathMatch, asked: &Asked<'_>) -> String {
    let mut to = Vec::new();
    to.extend(
        redirect
            .scheme
            .map(|scheme| format!("scheme {}", scheme.name())),
    );
    to.extend(redirect.host.as_ref().map(|host| format!("host {host}")));
    to.extend(redirect.port.map(|port| format!("port {port}")));
    let path = redirect.path.as_ref();
    to.extend(path.map(|path| format!("path {}", path.of(asked.path, matched))));
    format!(
        "redirects with {} to {}, unless the client asked for that very URL",
        redirect.status,
        to.join(", ")
    )
}

fn rewrites(rewrite: &Rewrite, matched: &PathMatch, asked: &Asked<'_>) -> String {
    let mut to = Vec::new();
    to.extend(rewrite.host.as_ref().map(|host| format!("host {host}")));
    let path = rewrite.path.as_ref();
    to.extend(path.map(|path| format!("path {}", path.of(asked.path, matched))));
    format!("asks the backend for {}", to.join(" and "))
}

fn injects(injection: &FaultInjection) -> impl Iterator<Item = String> {
    let delay = injection.delay.as_ref().map(|delay| {
        let time = friendly::print(delay.time);
        format!(
            "holds {} % of requests for {time}, on purpose",
            delay.percent
        )
    });
    let abort = injection.abort.as_ref().map(|abort| {
        format!(
            "answers {} % of requests with {}, on purpose",
            abort.percent, abort.status
        )
    });
    delay.into_iter().chain(abort)
}

fn edits(headers: &HeaderEdits) -> impl Iterator<Item = String> {
    let sides = [
        ("requests", &headers.request),
        ("answers", &headers.response),
    ];
    sides
        .into_iter()
        .filter(|(_, edits)| !edits.is_empty())
        .map(|(side, edits)| {
            let Edits { remove, set, add } = edits;
            let mut parts = Vec::new();
            if !remove.is_empty() {
                parts.push(format!("removes {}", remove.join(", ")));
            }
            for (word, fields) in [("sets", set), ("adds", add)] {
                if !fields.is_empty() {
                    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
                    parts.push(format!("{word} {}", names.join(", ")));
                }
            }
            format!("of headers of {side} {}", parts.join(", "))
        })
}
