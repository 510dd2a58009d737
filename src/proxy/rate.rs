//! How many requests a route takes in a time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use twox_hash::XxHash3_64;

use super::affinity;
use super::connection::Client;
use super::failure::Failure;
use super::policy::Ruling;
use super::record::client_of;
use crate::config::HashOn;
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
    let key = rate.by.as_ref().map(|by| key(by, client, request));
    meter.take(rate, key, now).map_err(|wait| {
        route.metrics.rate_limited();
        Failure::too_many(wait)
    })
}

/// Requests without what is asked for are one key of their own. Of an IPv6 address its first 64 bits count: who has one
/// has all that begin so, and would else have an allowance for each of them.
fn key(by: &HashOn, client: &Client, request: &RequestHead) -> u64 {
    if *by == HashOn::Address
        && let IpAddr::V6(address) =
            client_of(request, client.peer, &client.listener).to_canonical()
    {
        return XxHash3_64::oneshot(&address.octets()[..8]);
    }
    affinity::hash_of(by, client, request).unwrap_or_default()
}
