//! Which backend, and whether another one after that.
//!
//! A request is tried again only as long as no byte of an answer has reached the client and none of its body is
//! used up: after a failed connect whatever its method, after any other failure if it is idempotent or the backend
//! cannot have seen it. Each further try goes to a backend not yet tried, out of the pool's budget.

use std::time::{Duration, Instant};

use super::download::Answered;
use super::failure::Failure;
use super::forward::{Job, Lost, attempt};
use super::record::Path;
use crate::routing::{PoolEntry, RouteEntry};

/// Backends one request may be given to, whatever the pool says.
const MOST_TRIES: usize = 16;

const FIRST_BACKOFF: Duration = Duration::from_millis(25);
const LONGEST_BACKOFF: Duration = Duration::from_millis(250);

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

/// Tries backends of `pool` until one answers.
pub(crate) async fn forward(
    job: &mut Job<'_>,
    route: &RouteEntry,
    pool: &PoolEntry,
    path: &mut Path,
) -> Result<Answered, Unanswered> {
    let mut tried = Tried::default();
    let most = (pool.retries.attempts as usize).clamp(1, MOST_TRIES);
    let mut last = Unanswered::unasked(Failure::NoBackend);
    let mut leave = None;
    loop {
        let Some(backend) = pool.balancer.pick(tried.keys()) else {
            return Err(last);
        };
        if job.client.worker.shared.access_log.is_some() {
            path.backend = Some(backend.id.clone());
        }
        match attempt(job, pool, backend).await {
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
        if tried.len() >= most || !last.again || !another(pool, &tried) {
            return Err(last);
        }
        // The try before is over, and with it its leave.
        drop(leave.take());
        leave = pool.withdraw_retry(Instant::now());
        if leave.is_none() {
            return Err(last);
        }
        route.metrics.retried();
        tokio::time::sleep(backoff(tried.len())).await;
    }
}

fn may_retry(job: &Job<'_>, failure: Failure, sent: bool) -> bool {
    let repeatable = !job.record.answered.get() && !job.upload.begun;
    repeatable
        && (failure.is_connect() || failure.of_backend().is_some() && (job.idempotent || !sent))
}

/// Whether there is anybody left to try. Asked before a retry is paid for.
fn another(pool: &PoolEntry, tried: &Tried) -> bool {
    pool.balancer
        .members()
        .iter()
        .any(|member| member.backend.is_available() && !tried.keys().contains(&member.backend.key))
}

/// Full jitter: anything up to a bound that doubles.
fn backoff(tries: usize) -> Duration {
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
struct Tried {
    keys: [u64; MOST_TRIES],
    count: usize,
}

impl Tried {
    fn keys(&self) -> &[u64] {
        &self.keys[..self.count]
    }

    fn len(&self) -> usize {
        self.count
    }

    fn add(&mut self, key: u64) {
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
            for _ in 0..100 {
                assert!(backoff(tries) <= Duration::from_millis(bound), "{tries}");
            }
        }
    }
}
