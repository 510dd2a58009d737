//! Reads what routes do besides sending their requests somewhere, of their own and by policies that they share. One
//! file a kind, as in `config::policy`.

mod basic_auth;
mod clients;
mod compress;
mod cors;
mod error_pages;
mod fence;
mod forward_auth;
mod header_edits;
mod injection;
mod mirror;
mod rate_limit;
mod redirect;
mod respond;
mod rewrite;
mod shared;
#[cfg(test)]
mod tests;
mod tries;

use std::sync::Arc;

use super::object::Object;
use crate::config::fault::{Faults, Pointer};
use crate::config::{PathMatch, Policy};
pub(super) use header_edits::read_check_headers;
pub(in crate::config) use shared::read_policy;

/// Reads what the route `object`, which takes paths by `path`, does of its own; `None` if that is nothing.
pub(super) fn read_own(
    object: &Object<'_>,
    path: &PathMatch,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> Option<Arc<Policy>> {
    let mut policy = read_common(object, at, faults);
    policy.fence = fence::read(object, &at.field("fence"), faults);
    if let Some(value) = object.get("redirect") {
        policy.redirect = redirect::read(value, path, &at.field("redirect"), faults);
    }
    if let Some(value) = object.get("rewrite") {
        policy.rewrite = rewrite::read(value, path, &at.field("rewrite"), faults);
    }
    (policy != Policy::default()).then(|| Arc::new(policy))
}

/// Reads what is the same for all paths.
fn read_common(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Policy {
    let mut policy = Policy::default();
    if let Some(value) = object.get("timeouts") {
        policy.timeouts = Some(tries::read_timeouts(value, &at.field("timeouts"), faults));
    }
    if let Some(value) = object.get("retries") {
        policy.retries = Some(tries::read_retries(value, &at.field("retries"), faults));
    }
    if let Some(value) = object.get("rate_limit") {
        policy.rate_limit = rate_limit::read(value, &at.field("rate_limit"), faults);
    }
    if let Some(value) = object.get("clients") {
        policy.clients = clients::read(value, &at.field("clients"), faults).map(Arc::new);
    }
    if let Some(value) = object.get("basic_auth") {
        policy.basic_auth = basic_auth::read(value, &at.field("basic_auth"), faults).map(Arc::new);
    }
    if let Some(value) = object.get("forward_auth") {
        policy.forward_auth =
            forward_auth::read(value, &at.field("forward_auth"), faults).map(Arc::new);
    }
    if let Some(value) = object.get("respond") {
        policy.respond = respond::read(value, &at.field("respond"), faults).map(Arc::new);
    }
    if let Some(value) = object.get("cors") {
        policy.cors = cors::read(value, &at.field("cors"), faults).map(Arc::new);
    }
    if object.get("max_body_bytes").is_some() {
        let most = object.integer("max_body_bytes", 0..=i64::MAX as u64, 0, faults);
        policy.max_body_bytes = Some(most);
    }
    if let Some(value) = object.get("headers") {
        policy.headers = header_edits::read(value, &at.field("headers"), faults).map(Arc::new);
    }
    if let Some(value) = object.get("fault_injection") {
        policy.fault_injection = injection::read(value, &at.field("fault_injection"), faults);
    }
    if let Some(value) = object.get("mirror") {
        policy.mirror = mirror::read(value, &at.field("mirror"), faults);
    }
    if let Some(value) = object.get("compress") {
        policy.compress = compress::read(value, &at.field("compress"), faults).map(Arc::new);
    }
    policy.error_pages = error_pages::read(object, &at.field("error_pages"), faults);
    policy
}
