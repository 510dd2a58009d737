//! Which backend, and whether another one after that.
//!
//! A request is tried again only as long as no byte of an answer has reached the client and all of its body that was
//! read is kept: after a failed connect whatever its method, after any other failure if it is idempotent (or its route
//! says that any is) or the backend cannot have seen it. A route may take statuses for failures too. Each further try
//! goes to a backend not yet tried, out of the pool's budget.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::affinity;
use super::download::Answered;
use super::failure::Failure;
use super::forward::{Job, Lost, attempt};
use super::queue;
use super::record::Picked;
use super::sticky;
use super::trace;
use crate::backend::{InFlight, Retry};
use crate::routing::{PoolEntry, RouteEntry};

/// Backends one request may be given to, whatever the pool says.
const MOST_TRIES: usize = 16;

pub(super) const FIRST_BACKOFF: Duration = Duration::from_millis(25);
pub(super) const LONGEST_BACKOFF: Duration = Duration::from_millis(250);

/// A request that no backend answered whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unanswered {
    pub(crate) failure: Failure,
    /// The client could take what it has for the whole answer.
    pub(crate) ambiguous: bool,
    /// Whether it may still be given to a backend that this pool did not have.
    pub(crate) again: bool,
}

impl Unanswered {
    /// Before any backend was asked.
    pub(crate) fn unasked(failure: Failure) -> Self {
        Self {
            failure,
            ambiguous: false,
            again: failure == Failure::NoBackend,
        }
    }
}

/// Leave to take an answer for a failure, while its backend's try is under way.
#[derive(Debug)]
pub(crate) struct Declining<'a> {
    statuses: &'a [u16],
    pool: &'a PoolEntry,
    /// The backends tried before, and the one whose answer it is.
    tried: &'a [u64],
    by: u64,
    /// For the try that follows, once an answer was declined.
    leave: RefCell<Option<Retry>>,
}

impl Declining<'_> {
    /// Whether an answer with this status is declined: if there is another backend, and the budget pays.
    pub(crate) fn declines(&self, status: u16) -> bool {
        if !self.statuses.contains(&status) || !another(self.pool, self.tried, self.by) {
            return false;
        }
        let leave = self.pool.withdraw_retry(Instant::now());
        let paid = leave.is_some();
        self.leave.replace(leave);
        paid
    }
}

/// Tries backends of `pool` until one answers, within the time of the route and of a client of gRPC.
pub(crate) async fn forward(
    job: &mut Job<'_>,
    route: &RouteEntry,
    pool: &PoolEntry,
    picked: &mut Picked,
) -> Result<Answered, Unanswered> {
    if route.timeouts().is_none() && job.grpc_timeout.is_none() {
        return tries(job, route, pool, picked).await;
    }
    if let Some(left) = job.left(route) {
        job.client.deadline.bound_request(left);
    }
    let result = tries(job, route, pool, picked).await;
    job.client.deadline.release();
    result
}

async fn tries(
    job: &mut Job<'_>,
    route: &RouteEntry,
    pool: &PoolEntry,
    picked: &mut Picked,
) -> Result<Answered, Unanswered> {
    let mut tried = Tried::default();
    let most = most_tries(pool);
    let mut last = Unanswered::unasked(Failure::NoBackend);
    // Kept while the try that it is for is under way.
    let mut leave = None;
    let hash = affinity::hash(pool, job);
    loop {
        let in_flight = match admit(job, pool, hash, &tried).await {
            Ok(in_flight) => in_flight,
            Err(None) => return Err(last),
            Err(Some(failure)) => return Err(Unanswered::unasked(job.blamed(failure))),
        };
        let backend = &in_flight.backend().clone();
        job.cookie = sticky::cookie_for(job, pool, backend);
        if job.client.worker.access_log.is_some() {
            picked.backend = Some(backend.id.clone());
        }
        if let Some(within) = route.timeouts().and_then(|timeouts| timeouts.one_try) {
            job.client.deadline.bound_try(within);
        }
        let left = tried.len() + 1 < most;
        let declining = declining(job, route, pool, &tried, backend.key).filter(|_| left);
        trace::begin_try(job, pool, backend, tried.len());
        let result = attempt(job, pool, backend, in_flight, declining.as_ref()).await;
        trace::end_try(job, &result);
        let paid = declining.and_then(|declining| declining.leave.take());
        match result {
            Ok(answered) => return Ok(answered),
            // It no longer admits, so the next pick passes it by.
            Err(Lost::Closed) => continue,
            Err(Lost::Failed {
                failure,
                sent,
                ambiguous,
            }) => {
                last = Unanswered {
                    failure,
                    ambiguous,
                    again: may_retry(job, failure, sent),
                };
            }
        }
        tried.add(backend.key);
        if !left || !last.again || !another(pool, tried.keys(), backend.key) {
            return Err(last);
        }
        // The try before is over, and with it its leave.
        drop(leave.take());
        leave = paid.or_else(|| pool.withdraw_retry(Instant::now()));
        let pause = backoff(tried.len());
        let left = job.left(route);
        if leave.is_none() || left.is_some_and(|left| left <= pause) {
            return Err(last);
        }
        route.metrics.retried();
        let paused = job.client.while_there(tokio::time::sleep(pause)).await;
        paused.map_err(Unanswered::unasked)?;
        job.record.try_again();
    }
}

/// How many backends a request to `pool` may be given to.
pub(super) fn most_tries(pool: &PoolEntry) -> usize {
    (pool.retries.attempts as usize).clamp(1, MOST_TRIES)
}

/// A backend for the next try, with the request begun there: the one that the client sticks to, or as
/// [`admit_anywhere`] has it.
async fn admit(
    job: &mut Job<'_>,
    pool: &PoolEntry,
    hash: u64,
    tried: &Tried,
) -> Result<InFlight, Option<Failure>> {
    job.sticks = false;
    if tried.len() == 0
        && let Some(in_flight) = sticky::admit(job, pool)
    {
        job.sticks = true;
        return Ok(in_flight);
    }
    admit_anywhere(job, pool, hash, tried).await
}

/// A backend for the next try, with the request begun there. Where only limits are in the way, the first try waits in
/// the queue, and behind those that wait already. Else there is none, for the reason told if it is another than before.
pub(super) async fn admit_anywhere(
    job: &mut Job<'_>,
    pool: &PoolEntry,
    hash: u64,
    tried: &Tried,
) -> Result<InFlight, Option<Failure>> {
    let may_wait = pool.is_limited() && tried.len() == 0;
    if !(may_wait && pool.waiting() > 0) {
        if let Some(in_flight) = pool.admit(hash, tried.keys()) {
            return Ok(in_flight);
        }
        if !(may_wait && pool.is_full()) {
            return Err(None);
        }
    }
    queue::wait(job, pool, hash).await.map_err(Some)
}

/// What answers may be declined in a try; none unless the route says so and the request can be repeated.
fn declining<'a>(
    job: &Job<'_>,
    route: &'a RouteEntry,
    pool: &'a PoolEntry,
    tried: &'a Tried,
    by: u64,
) -> Option<Declining<'a>> {
    let statuses = route.declines();
    let repeats = !statuses.is_empty() && job.idempotent && job.upload.is_whole();
    repeats.then(|| Declining {
        statuses,
        pool,
        tried: tried.keys(),
        by,
        leave: RefCell::default(),
    })
}

fn may_retry(job: &Job<'_>, failure: Failure, sent: bool) -> bool {
    let repeatable = !job.record.answered.get() && !job.upload.spent;
    let harmless = match failure {
        // Whoever declined it saw to that.
        Failure::Declined(_) => true,
        _ => failure.is_connect() || failure.of_backend().is_some() && (job.idempotent || !sent),
    };
    repeatable && harmless
}

/// Whether there is anybody left to try behind `tried` and `last`. Asked before a retry is paid for.
pub(super) fn another(pool: &PoolEntry, tried: &[u64], last: u64) -> bool {
    let mut all = [last; MOST_TRIES + 1];
    all[..tried.len()].copy_from_slice(tried);
    pool.any_available(&all[..=tried.len()])
}

/// Full jitter: anything up to a bound that doubles.
pub(super) fn backoff(tries: usize) -> Duration {
    let doublings = u32::try_from(tries.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(8);
    let bound = FIRST_BACKOFF
        .saturating_mul(1 << doublings)
        .min(LONGEST_BACKOFF);
    bound.mul_f64(rand::random())
}

/// The keys of the backends tried, on the stack.
#[derive(Default)]
pub(super) struct Tried {
    keys: [u64; MOST_TRIES],
    count: usize,
}

impl Tried {
    pub(super) fn keys(&self) -> &[u64] {
        &self.keys[..self.count]
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn add(&mut self, key: u64) {
        self.keys[self.count] = key;
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_its_bound() {
        for (tries, bound) in [
            (1, 25),
            (2, 50),
            (3, 100),
            (4, 200),
            (5, 250),
            (16, 250),
            (usize::MAX, 250),
        ] {
            let bound = Duration::from_millis(bound);
            let pauses: Vec<Duration> = (0..100).map(|_| backoff(tries)).collect();
            assert!(pauses.iter().all(|pause| *pause <= bound), "{tries}");
            // By chance none of a hundred is in either half: one in 2^100.
            assert!(pauses.iter().any(|pause| *pause > bound / 2), "{tries}");
            assert!(pauses.iter().any(|pause| *pause < bound / 2), "{tries}");
        }
    }
}
