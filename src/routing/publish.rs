//! Makes a revision the one that is served, and says so only when it is true.
//!
//! One config after the other, always the newest: compile off the request path; open the backends that the revision
//! gives a share; store the snapshot; close those that it removed, drained or weighted 0; wait until every worker has
//! passed its loop once; report. From the report on, no request of this node is sent to what was closed: a worker
//! that had picked it either sent its first byte before it passed its loop, or reads `admits` again and picks
//! another. A config that cannot be compiled leaves the snapshot before it in force.

use std::collections::HashSet;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::snapshot::{PoolEntry, PoolMember};
use super::{Snapshot, SnapshotCell, compile, judge};
use crate::backend::{Health, Registry};
use crate::config::{Config, Revision};

/// So many resources that differ are compiled at once: handing them to another thread would cost more.
const INLINE: usize = 100;

/// In a burst more is let come for so long: each publication wakes every worker, and none but the newest counts.
const BURST: Duration = Duration::from_millis(20);

/// It is one when there is something newer as soon as a revision is in force, or when so many resources differed in it.
const CROWD: usize = 8;

/// How often snapshots are looked at that requests still held.
const BURIAL: Duration = Duration::from_secs(1);

/// What became of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// Every worker serves it.
    Activated {
        /// The revision.
        revision: Revision,
        /// Of its snapshot.
        digest: u64,
    },
    /// It could not be compiled; the one before is served on.
    Rejected {
        /// The revision.
        revision: Revision,
        /// Why.
        reason: String,
    },
}

/// Publishes into one cell.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// Where the workers look.
    pub cell: Arc<SnapshotCell>,
    /// What outlives the snapshots.
    pub registry: Arc<Registry>,
}

impl Publisher {
    /// Publishes what `configs` holds, at once and after each change, until its sender is gone. `config` takes the
    /// config out of a value; `fence` ends when every worker has passed its loop; `report` must not block.
    pub async fn run<T, F>(
        self,
        mut configs: watch::Receiver<T>,
        config: impl Fn(&T) -> Arc<Config>,
        fence: impl Fn() -> F,
        report: impl Fn(Published),
    ) where
        F: Future<Output = ()>,
    {
        configs.mark_changed();
        let mut retired = Retired::default();
        while retired.bury_until(configs.changed()).await.is_ok() {
            let newest = config(&configs.borrow_and_update());
            let revision = newest.revision;
            let crowd = self.cell.load().differences(&newest) >= CROWD;
            match self.compile(newest).await {
                Ok(snapshot) => {
                    let digest = snapshot.digest;
                    retired.0.push(self.cell.load());
                    self.activate(snapshot);
                    fence().await;
                    tracing::debug!(%revision, "activated");
                    report(Published::Activated { revision, digest });
                }
                Err(reason) => {
                    tracing::error!(%revision, reason, "revision rejected, the one before is served on");
                    report(Published::Rejected { revision, reason });
                }
            }
            if crowd || configs.has_changed().unwrap_or(false) {
                tokio::time::sleep(BURST).await;
            }
        }
    }

    /// Puts `snapshot` in force in this order: open, store, close. Workers may be behind until they pass their loop.
    pub fn activate(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        let next = Arc::new(snapshot);
        let before = self.cell.load();
        let changes = before.changed_pools(&next);
        let mut warms = false;
        for (known, pool) in &changes {
            let Some(pool) = pool else { continue };
            let known = known.is_some();
            pool.settle_health();
            for member @ PoolMember { backend, .. } in pool.members() {
                backend.keep();
                backend.set_sticky(pool.cookie_name().is_some() && member.keeps_sticky());
                if !known {
                    backend.set_founder();
                }
            }
            let eligible = pool.members().iter().filter(|member| member.eligible());
            for backend in eligible.map(|member| &member.backend) {
                if known && !backend.admits() && backend.is_up() {
                    pool.came_up(backend);
                    warms = true;
                }
                backend.open();
            }
            pool.attach();
            pool.judge_ahead();
        }
        self.cell.store(next.clone());
        if warms {
            // Who was woken before found an older snapshot, without the newcomer, and would never take its steps.
            self.registry.warming().notify_one();
        }
        for (left, pool) in changes {
            pool.iter().for_each(|pool| judge(&self.cell, &pool.name));
            left.iter().for_each(|left| close_left(left, pool));
            if let (Some(left), None) = (left, pool) {
                left.runtime.follow([]);
            }
        }
        self.registry.sweep();
        next
    }

    /// A big change is compiled on a thread of its own, for it takes a while. A bug in there must not end publishing.
    async fn compile(&self, config: Arc<Config>) -> Result<Snapshot, String> {
        let registry = self.registry.clone();
        let previous = self.cell.load();
        let small = previous.differences(&config) <= INLINE;
        let run = move || {
            let compile = || compile(&config, &registry, Some(&previous));
            catch_unwind(AssertUnwindSafe(compile))
        };
        let compiled = match small {
            true => run(),
            false => match tokio::task::spawn_blocking(run).await {
                Ok(compiled) => compiled,
                Err(failed) => return Err(format!("compiling it failed: {failed}")),
            },
        };
        match compiled {
            Ok(compiled) => compiled.map_err(|error| error.to_string()),
            // The hook of panics has told of it.
            Err(_) => Err("compiling it failed: it broke".to_owned()),
        }
    }
}

/// Snapshots that were in force. The last to let go of one has all to drop that no other shares, and a request must
/// not be that one.
#[derive(Default)]
struct Retired(Vec<Arc<Snapshot>>);

impl Retired {
    /// Drops those that no request holds any more, until `event` comes.
    async fn bury_until<T>(&mut self, event: impl Future<Output = T>) -> T {
        let mut event = pin!(event);
        loop {
            self.0.retain(|snapshot| Arc::strong_count(snapshot) > 1);
            if self.0.is_empty() {
                return event.await;
            }
            // Nothing is lost with either: the event is the same one in each round.
            tokio::select! {
                come = &mut event => return come,
                () = tokio::time::sleep(BURIAL) => {}
            }
        }
    }
}

/// Closes the members of `before` that get nothing in `next`; one that is not there any more is checked no more.
fn close_left(before: &PoolEntry, next: Option<&Arc<PoolEntry>>) {
    let next = || next.iter().flat_map(|pool| pool.members());
    let there: HashSet<u64> = next().map(key).collect();
    let kept: HashSet<u64> = next().filter(|member| member.eligible()).map(key).collect();
    for member in before
        .members()
        .iter()
        .filter(|member| !kept.contains(&key(member)))
    {
        member.backend.close();
        if !there.contains(&key(member)) {
            member.backend.set_sticky(false);
            member.backend.remove();
            member.backend.change_health(|_, _| Health::Unchecked);
            member.backend.readmit(Instant::now(), |_| true);
        }
    }
}

fn key(member: &PoolMember) -> u64 {
    member.backend.key
}
