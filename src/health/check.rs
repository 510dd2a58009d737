//! The checks of one backend, one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::probe::{self, Way};
use crate::backend::{Backend, Tally};
use crate::config::Health;
use crate::routing::{SnapshotCell, judge};

/// How much an interval may be longer or shorter, so that the checks of many nodes and backends spread out.
const JITTER: f64 = 0.15;

/// One backend and how it is checked.
pub(super) struct Check {
    pub(super) backend: Arc<Backend>,
    pub(super) health: Health,
    pub(super) way: Way,
    pub(super) cell: Arc<SnapshotCell>,
    pub(super) turns: Arc<Semaphore>,
}

impl Check {
    /// Checks at once, then at every interval, until it is dropped.
    pub(super) async fn run(self) {
        let mut tally = Tally::default();
        loop {
            let began = Instant::now();
            let result = self.ask().await;
            self.tell(&mut tally, result, began);
            let pause = pause(self.health.interval, tally.is_counting());
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask(&self) -> Result<(), String> {
        // Never closed; were it, checking without a turn is better than not at all.
        let _turn = self.turns.acquire().await;
        let Health { probe, timeout, .. } = &self.health;
        probe::ask(probe, &self.backend, &self.way, *timeout).await
    }

    fn tell(&self, tally: &mut Tally, result: Result<(), String>, began: Instant) {
        let Health { rise, fall, .. } = self.health;
        let backend = &self.backend;
        backend.checked(&result);
        let founder = backend.was_founder();
        if result.is_ok() && backend.readmit(Instant::now(), |ejection| ejection.began < began) {
            let (pool, id) = (&backend.pool, &backend.id);
            tracing::info!(%pool, backend = %id, "backend is readmitted: a check was good");
            self.came_up();
            judge(&self.cell, pool);
        }
        let held = backend.health();
        let next = tally.count(held, result.is_ok(), rise, fall);
        if next.is_up() && !held.is_up() && !founder {
            self.came_up();
        }
        if !backend.change_health(|_, _| next) {
            return;
        }
        let (pool, id) = (&backend.pool, &backend.id);
        match result {
            Ok(()) => tracing::info!(%pool, backend = %id, "backend is up"),
            Err(reason) => tracing::info!(%pool, backend = %id, reason, "backend is down"),
        }
        judge(&self.cell, pool);
    }

    /// To be called before its backend gets requests again.
    fn came_up(&self) {
        if let Some(pool) = self.cell.load().pool(self.backend.pool.as_str()) {
            pool.came_up(&self.backend);
        }
    }
}

/// Until the next check: half the interval while results speak against what is held, so that it is settled soon.
fn pause(interval: Duration, counting: bool) -> Duration {
    let interval = if counting { interval / 2 } else { interval };
    interval.mul_f64(1.0 + JITTER * (2.0 * rand::random::<f64>() - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_spread_by_the_jitter_and_are_half_while_counting() {
        let interval = Duration::from_secs(2);
        for (counting, least, most) in [(false, 1.7, 2.3), (true, 0.85, 1.15)] {
            let pauses: Vec<f64> = (0..1_000)
                .map(|_| pause(interval, counting).as_secs_f64())
                .collect();
            assert!(pauses.iter().all(|pause| (least..=most).contains(pause)));
            let spread = pauses.iter().copied().fold(0.0, f64::max)
                - pauses.iter().copied().fold(f64::MAX, f64::min);
            assert!(spread > (most - least) * 0.8, "{spread}");
        }
    }
}
