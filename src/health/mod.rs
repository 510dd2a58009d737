//! Active health checks, which ask every backend of a pool that has checks and tell it what came of it; and, in
//! [`ejection`], passive ones.
//!
//! One task a checked backend, on the control plane's runtime; [`run`] follows the published snapshots and starts and
//! ends them. What is held of a backend's health belongs to the backend, so a change of weights, of the checks or a
//! restart of a task loses none of it. A kind of check is one file in `probe` and a variant in `config`.

mod check;

pub mod ejection;

mod failures;

pub mod warming;

mod probe;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use self::check::Check;
use self::probe::Way;
use crate::backend::{self, Backend};
use crate::config::{Health, Name};
use crate::routing::{PoolEntry, Snapshot, SnapshotCell, judge};

/// Checks under way at one time; more wait their turn, which their timeout does not count.
const AT_ONCE: usize = 1_024;

/// A first check takes its timeout at most, which is a second unless the pool says more.
const FIRST_RESULTS: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(5);

/// Checks what the snapshots in `cell` say, until this future is dropped.
pub async fn run(cell: Arc<SnapshotCell>) {
    let mut stored = cell.watch();
    let mut checks = Checks {
        cell,
        followed: Arc::default(),
        turns: Arc::new(Semaphore::new(AT_ONCE)),
        pools: BTreeMap::new(),
    };
    loop {
        stored.mark_unchanged();
        checks.follow().await;
        // The sender is in the cell, which `checks` holds, so this never ends by itself.
        if stored.changed().await.is_err() {
            return;
        }
    }
}

/// Waits until every backend that is to be checked has been, two seconds at most: a node that accepts before
/// would use whichever there are, also those that its peers know to be down.
pub async fn first_results(cell: &SnapshotCell) {
    let unknown = |pool: &Arc<PoolEntry>| {
        let mut members = pool.members().iter().filter(|member| member.eligible());
        members.any(|member| member.backend.health() == backend::Health::Unknown)
    };
    let deadline = Instant::now() + FIRST_RESULTS;
    while cell.load().pools().any(unknown) && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
}

/// All checks under way.
struct Checks {
    cell: Arc<SnapshotCell>,
    /// The snapshot whose checks these are.
    followed: Arc<Snapshot>,
    turns: Arc<Semaphore>,
    pools: BTreeMap<Name, Pool>,
}

/// A pool as it was looked at last.
struct Pool {
    entry: Arc<PoolEntry>,
    /// By the key of the backend.
    running: BTreeMap<u64, Running>,
}

/// The task of one backend. It ends with this.
struct Running {
    health: Health,
    way: Way,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// Ends the task; afterwards it tells its backend nothing more.
    async fn stop(mut self) {
        self.task.abort();
        // Cancelled, or it had panicked and said so.
        let _ = (&mut self.task).await;
    }
}

impl Checks {
    /// Has those tasks run that the newest snapshot wants.
    async fn follow(&mut self) {
        let newest = self.cell.load();
        let before = std::mem::replace(&mut self.followed, newest.clone());
        for change in before.changed_pools(&newest) {
            match change {
                (_, Some(entry)) => self.follow_pool(entry).await,
                (Some(gone), None) => {
                    if let Some(pool) = self.pools.remove(&gone.name) {
                        stop_all(pool).await;
                    }
                }
                (None, None) => {}
            }
        }
    }

    async fn follow_pool(&mut self, entry: &Arc<PoolEntry>) {
        let known = self.pools.remove(&entry.name);
        let (before, mut old) = match known {
            Some(pool) => (Some(pool.entry), pool.running),
            None => (None, BTreeMap::new()),
        };
        let mut running = BTreeMap::new();
        if let Some(health) = &entry.spec().health {
            let checked = entry.members().iter().filter(|member| member.is_checked());
            for backend in checked.map(|member| &member.backend) {
                let same = old.get(&backend.key).is_some_and(|run| {
                    run.health == *health && run.way.is_of(entry) && !run.task.is_finished()
                });
                let run = match old.remove(&backend.key) {
                    Some(run) if same => run,
                    Some(run) => {
                        run.stop().await;
                        self.start(backend, health, Way::of(entry))
                    }
                    None => self.start(backend, health, Way::of(entry)),
                };
                running.insert(backend.key, run);
            }
        }
        // A result may have come between the publication, which settled health, and the end of its task.
        let late = !old.is_empty();
        for (key, run) in old {
            run.stop().await;
            forget(before.as_deref(), key);
        }
        if late {
            entry.settle_health();
            judge(&self.cell, &entry.name);
        }
        let entry = entry.clone();
        self.pools
            .insert(entry.name.clone(), Pool { entry, running });
    }

    fn start(&self, backend: &Arc<Backend>, health: &Health, way: Way) -> Running {
        let check = Check {
            backend: backend.clone(),
            health: health.clone(),
            way: way.clone(),
            cell: self.cell.clone(),
            turns: self.turns.clone(),
        };
        Running {
            health: health.clone(),
            way,
            task: tokio::spawn(check.run()),
        }
    }
}

async fn stop_all(pool: Pool) {
    for (key, run) in pool.running {
        run.stop().await;
        forget(Some(&pool.entry), key);
    }
}

/// Holds nothing of the health of a backend that is not checked any more.
fn forget(pool: Option<&PoolEntry>, key: u64) {
    let members = pool.map_or(&[][..], PoolEntry::members);
    if let Some(member) = members.iter().find(|member| member.backend.key == key) {
        use crate::backend::Health::Unchecked;
        member.backend.change_health(|_, _| Unchecked);
    }
}

#[cfg(test)]
mod tests;
