//! Copies of a route's requests to another pool, whose answers nobody sees.
//!
//! A copy is a task of its own: the request does not wait for it, and nothing that happens to it matters to the
//! request. It is made of what of the request is at hand anyway, so a body that is not kept whole is not copied. Those
//! under way are bounded in number and time; what is beyond is dropped, and counted.

use std::sync::Arc;
use std::time::Instant;

use super::affinity;
use super::aside::Aside;
use super::forward::{Job, encode};
use super::injection::drawn;
use super::trace::{self, callee};
use super::upgrade;
use crate::routing::{PoolEntry, RouteEntry};

/// Where copies go, and of how many requests in a hundred.
type Mirror<'a> = (&'a Arc<PoolEntry>, u32);

/// Copies the request if its route wants it and its body is there. True if the body is still awaited: then
/// [`finish`] is to be called once it may have come.
pub(crate) fn begin(job: &Job<'_>, route: &RouteEntry, mirror: Option<Mirror<'_>>) -> bool {
    let Some((pool, percent)) = mirror else {
        return false;
    };
    if !drawn(percent) || upgrade::asks(&job.exchange.request) {
        return false;
    }
    let whole = job.upload.is_whole();
    if whole {
        copy(job, route, pool);
    }
    !whole
}

/// Copies the request if all of its body has come and is kept.
pub(crate) fn finish(job: &Job<'_>, route: &RouteEntry, mirror: Option<Mirror<'_>>) {
    if let Some((pool, _)) = mirror {
        copy(job, route, pool);
    }
}

fn copy(job: &Job<'_>, route: &RouteEntry, pool: &Arc<PoolEntry>) {
    let worker = &job.client.worker;
    let kept = job.upload.is_whole() && !job.upload.spent;
    let copying = (kept && pool.waiting() == 0).then(|| pool.copy()).flatten();
    let admitted = copying.and_then(|copying| {
        let in_flight = pool.admit(affinity::hash(pool, job), &[])?;
        Some((copying, in_flight))
    });
    let Some((copying, in_flight)) = admitted else {
        return route.metrics.mirror_dropped();
    };
    route.metrics.mirrored();
    let trace = job.record.trace.as_deref();
    let traced = trace.and_then(|trace| trace.aside(callee(job, pool, in_flight.backend(), 0)));
    let mut request = Vec::new();
    encode(job, in_flight.backend(), &mut request);
    request.extend_from_slice(job.upload.prefix(&job.exchange.inbound));
    let method = job.exchange.request.method();
    let aside = Aside::new(job, pool, in_flight, method, request);
    let (worker, within) = (worker.clone(), pool.timeouts.response_headers);
    tokio::task::spawn_local(async move {
        let (mut status, began) = (0, Instant::now());
        // Nobody hears of it, but where requests are traced.
        let asked = aside.ask(&mut status, within).await;
        if let (Some(tracer), Some(mut traced)) = (&worker.shared.tracer, traced) {
            trace::asked(&mut traced, began.elapsed(), status, asked.err());
            tracer.record(traced);
        }
        drop(copying);
    });
}
