//! How many requests a route takes in a time.

use std::sync::Arc;
use std::time::Instant;

use super::affinity;
use super::connection::Client;
use super::failure::Failure;
use super::policy::Ruling;
use crate::routing::RouteEntry;
use crate::wire::head::RequestHead;

/// Counts a request that came at `now`, if the route has a rate, and has not counted it before a change of the config.
///
/// # Errors
/// When it is one too many.
pub(crate) fn take(
    route: &RouteEntry,
    client: &Client,
    request: &RequestHead,
    ruling: &Ruling,
    now: Instant,
) -> Result<(), Failure> {
    let Some((rate, meter)) = route.rate() else {
        return Ok(());
    };
    if ruling
        .counted
        .as_ref()
        .is_some_and(|by| Arc::ptr_eq(by, meter))
    {
        return Ok(());
    }
    // Requests without what is asked for are one key of their own.
    let key = rate
        .by
        .as_ref()
        .map(|by| affinity::hash_of(by, client, request).unwrap_or_default());
    meter.take(rate, key, now).map_err(|wait| {
        route.metrics.rate_limited();
        Failure::too_many(wait)
    })
}
