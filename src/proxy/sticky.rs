//! Sends clients back to the backend they had, by a cookie, and gives them one.

use std::sync::Arc;

use super::affinity::cookie;
use super::forward::Job;
use super::policy::is_https;
use crate::backend::{Backend, InFlight};
use crate::routing::{PoolEntry, RouteEntry, Snapshot};
use crate::wire::head::RequestHead;

/// The pool of a split that the request sticks to, if it does to any.
pub(crate) fn pool<'a>(
    snapshot: &'a Snapshot,
    route: &'a RouteEntry,
    request: &RequestHead,
) -> Option<&'a Arc<PoolEntry>> {
    let mut pools = snapshot.sticky_pools_of(route);
    pools.find(|pool| named(pool, request).is_some())
}

/// Begins the request at the backend that it sticks to, if that one takes it.
pub(crate) fn admit(job: &Job<'_>, pool: &PoolEntry) -> Option<InFlight> {
    let backend = pool.stuck(named(pool, &job.exchange.request)?)?;
    backend.try_begin()
}

/// The Set-Cookie field for a client that is at `backend` and was not told so.
pub(crate) fn cookie_for(job: &Job<'_>, pool: &PoolEntry, backend: &Backend) -> Option<Box<str>> {
    let request = &job.exchange.request;
    let at = pool.sticky_index(backend)?;
    if named(pool, request) == Some(at) {
        return None;
    }
    pool.cookie(at, is_https(request, job.client))
}

/// The member that the request's cookie names.
fn named(pool: &PoolEntry, request: &RequestHead) -> Option<usize> {
    pool.named_by(cookie(request, pool.cookie_name()?)?)
}
