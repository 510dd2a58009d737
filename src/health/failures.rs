//! The share of requests that failed at each backend, an interval of its pool at a time.
//!
//! Read from the counters that the metrics show, so that a request does nothing for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::backend::Backend;
use crate::config::{Name, Outlier};
use crate::routing::{PoolChange, PoolEntry, PoolMember, Snapshot};
use crate::telemetry::metrics::BackendError;

/// What was counted when each pool was last looked at.
#[derive(Default)]
pub(super) struct Failures {
    pools: BTreeMap<Name, Looked>,
    /// When each of them is due, the next one first.
    turns: BTreeSet<(Instant, Name)>,
}

struct Looked {
    next: Instant,
    /// By the key of the backend.
    counted: BTreeMap<u64, Counts>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    requests: u64,
    failed: u64,
}

impl Failures {
    /// When the next pool is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.turns.first().map(|(next, _)| *next)
    }

    /// Has a pool looked at from now on, or no more, as a change of it says.
    pub(super) fn follow(&mut self, (before, after): PoolChange<'_>, now: Instant) {
        let Some(pool) = after.filter(|pool| is_asked(pool)) else {
            if let Some(gone) = after.or(before)
                && let Some(looked) = self.pools.remove(&gone.name)
            {
                self.turns.remove(&(looked.next, gone.name.clone()));
            }
            return;
        };
        let soonest = now + pool.spec().outlier.interval;
        let begin = || Looked {
            next: soonest,
            counted: counts(pool),
        };
        let looked = self.pools.entry(pool.name.clone()).or_insert_with(begin);
        self.turns.remove(&(looked.next, pool.name.clone()));
        looked.next = looked.next.min(soonest);
        self.turns.insert((looked.next, pool.name.clone()));
    }

    /// The pools whose interval is over; their next one begins.
    pub(super) fn due(&mut self, snapshot: &Snapshot, now: Instant) -> Vec<Arc<PoolEntry>> {
        let mut due = Vec::new();
        while self.next().is_some_and(|next| next <= now)
            && let Some((_, name)) = self.turns.pop_first()
        {
            let looked = self.pools.get_mut(&name);
            let Some((looked, pool)) = looked.zip(snapshot.pool(name.as_str())) else {
                // Whoever follows the snapshots forgets it.
                continue;
            };
            looked.next = now + pool.spec().outlier.interval;
            self.turns.insert((looked.next, name));
            due.push(pool.clone());
        }
        due
    }

    /// The members of `pool` that failed too often since it was last looked at, and why.
    pub(super) fn look<'a>(&mut self, pool: &'a PoolEntry) -> Vec<(&'a PoolMember, String)> {
        let now = counts(pool);
        let Some(looked) = self.pools.get_mut(&pool.name) else {
            return Vec::new();
        };
        let before = std::mem::replace(&mut looked.counted, now);
        let rule = &pool.spec().outlier;
        let faulty = |member: &'a PoolMember| {
            let key = member.backend.key;
            // One that is new since begins with this look.
            let (before, now) = (before.get(&key)?, looked.counted.get(&key)?);
            Some((member, too_many(rule, *before, *now)?))
        };
        pool.members().iter().filter_map(faulty).collect()
    }
}

fn is_asked(pool: &PoolEntry) -> bool {
    !pool.spec().outlier.is_off() && pool.spec().outlier.failure_percent > 0
}

fn counts(pool: &PoolEntry) -> BTreeMap<u64, Counts> {
    let backends = pool.members().iter().map(|member| &member.backend);
    backends.map(|backend| (backend.key, of(backend))).collect()
}

fn of(backend: &Backend) -> Counts {
    let metrics = backend.metrics();
    let errors: u64 = BackendError::ALL
        .into_iter()
        .map(|error| metrics.errors(error))
        .sum();
    let answers: u64 = (1..=5).map(|class| metrics.answers(class * 100)).sum();
    Counts {
        requests: answers + errors,
        failed: metrics.answers(500) + errors,
    }
}

/// Why the rule is broken, if it is.
fn too_many(rule: &Outlier, before: Counts, now: Counts) -> Option<String> {
    let requests = now.requests.saturating_sub(before.requests);
    let failed = now.failed.saturating_sub(before.failed);
    let enough = requests >= u64::from(rule.min_requests).max(1);
    let broken = failed * 100 >= requests * u64::from(rule.failure_percent);
    (enough && broken).then(|| {
        let percent = failed * 100 / requests;
        format!("{percent} % of {requests} requests failed")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_counts_only_among_enough_requests() {
        let rule = Outlier::default();
        let before = Counts {
            requests: 100,
            failed: 90,
        };
        for (requests, failed, expected) in [
            (19, 19, None),
            (20, 9, None),
            (20, 10, Some("50 % of 20 requests failed")),
            (1_000, 499, None),
            (0, 0, None),
        ] {
            let now = Counts {
                requests: before.requests + requests,
                failed: before.failed + failed,
            };
            assert_eq!(too_many(&rule, before, now).as_deref(), expected);
        }
    }
}
