//! Passive ejection: takes backends out of use for what requests met there, and brings them back.
//!
//! Nothing is asked of anybody: the request path tells of backends that failed often enough in a row, and their
//! counters are looked at once an interval for the share that failed. Judged here, by one task, a pool never has more
//! ejected than it says, and its last backend that is up stays. An ejection ends when its time is over or with the
//! first check begun since that is good.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::failures::Failures;
use crate::backend::{Backend, Suspect};
use crate::routing::{PoolEntry, PoolMember, Snapshot, SnapshotCell, judge};

/// Ejects and readmits, by the snapshots in `cell` and what `suspects` tells, until this future is dropped.
pub async fn run(cell: Arc<SnapshotCell>, mut suspects: mpsc::Receiver<Suspect>) {
    let mut stored = cell.watch();
    stored.mark_changed();
    let mut ejections = Ejections {
        cell,
        followed: Arc::default(),
        under_way: BTreeMap::new(),
        failures: Failures::default(),
    };
    loop {
        let next = tokio::time::Instant::from_std(ejections.next());
        // No side loses anything: suspects stay queued, the next time is computed anew, a change stays one.
        tokio::select! {
            suspect = suspects.recv() => match suspect {
                Some(suspect) => ejections.judge_suspect(&suspect),
                None => return,
            },
            changed = stored.changed() => match changed {
                Ok(()) => ejections.follow(),
                Err(_) => return,
            },
            () = tokio::time::sleep_until(next) => ejections.pass(Instant::now()),
        }
    }
}

/// Nothing is due for so long at most.
const IDLE: Duration = Duration::from_secs(60);

struct Ejections {
    cell: Arc<SnapshotCell>,
    /// The snapshot whose rules are in force here.
    followed: Arc<Snapshot>,
    /// By the key of the backend, with the end. Some may have ended before.
    under_way: BTreeMap<u64, (Instant, Arc<Backend>)>,
    failures: Failures,
}

impl Ejections {
    /// When something is due.
    fn next(&self) -> Instant {
        let ends = self.under_way.values().map(|(until, _)| *until);
        let looks = self.failures.next();
        let idle = Instant::now() + IDLE;
        ends.chain(looks).min().unwrap_or(idle).min(idle)
    }

    fn judge_suspect(&mut self, suspect: &Suspect) {
        let snapshot = self.cell.load();
        let Some(pool) = snapshot.pool(suspect.pool.as_str()) else {
            return;
        };
        let mut members = pool.members().iter();
        if let Some(member) = members.find(|member| member.backend.key == suspect.key) {
            let enough = pool.spec().outlier.consecutive_failures;
            self.judge(pool, member, format!("{enough} failures in a row"));
        }
    }

    /// Ejects the member unless it gets nothing anyway or the pool cannot do without it.
    fn judge(&mut self, pool: &PoolEntry, member: &PoolMember, why: String) {
        let backend = &member.backend;
        if !member.eligible() || !backend.is_up() || !pool.can_eject(backend) {
            return;
        }
        let now = Instant::now();
        tracing::warn!(pool = %pool.name, backend = %backend.id, why, "backend is ejected");
        let until = backend.eject(now, &pool.spec().outlier, why);
        self.under_way.insert(backend.key, (until, backend.clone()));
        judge(&self.cell, &pool.name);
    }

    /// Does what is due.
    fn pass(&mut self, now: Instant) {
        let due: Vec<Arc<Backend>> = self
            .under_way
            .extract_if(.., |_, (until, _)| *until <= now)
            .map(|(_, (_, backend))| backend)
            .collect();
        for backend in due {
            self.readmit(&backend, now, |until| until <= now);
        }
        let snapshot = self.cell.load();
        for pool in self.failures.due(&snapshot, now) {
            for (member, why) in self.failures.look(&pool) {
                self.judge(&pool, member, why);
            }
        }
    }

    /// Ends what the newest snapshot has no ejections for.
    fn follow(&mut self) {
        let (snapshot, now) = (self.cell.load(), Instant::now());
        let before = std::mem::replace(&mut self.followed, snapshot.clone());
        for change in before.changed_pools(&snapshot) {
            self.failures.follow(change, now);
        }
        let ends = |backend: &Backend| {
            let pool = snapshot.pool(backend.pool.as_str());
            pool.is_none_or(|pool| pool.spec().outlier.is_off())
        };
        let over: Vec<Arc<Backend>> = self
            .under_way
            .extract_if(.., |_, (_, backend)| ends(backend))
            .map(|(_, (_, backend))| backend)
            .collect();
        for backend in over {
            self.readmit(&backend, now, |_| true);
        }
    }

    fn readmit(&self, backend: &Backend, now: Instant, ends: impl FnOnce(Instant) -> bool) {
        if backend.readmit(now, |ejection| ends(ejection.until)) {
            let (pool, id) = (&backend.pool, &backend.id);
            if let Some(pool) = self.cell.load().pool(pool.as_str()) {
                pool.came_up(backend);
            }
            tracing::info!(%pool, backend = %id, "backend is readmitted");
            judge(&self.cell, pool);
        }
    }
}
