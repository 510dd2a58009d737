//! Resolves the backends that are host names, on the control plane, for as long as the snapshots have them.
//!
//! One task a name: it asks, tells every backend of that name, and asks again when the answer has expired, within
//! bounds. After a failed lookup the last answer stays in force; where there was none yet, requests no longer wait for
//! it. The data plane only reads what was told.

mod system;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

pub use system::System;

use crate::backend::Backend;
use crate::config::Address;
use crate::routing::{PoolEntry, Snapshot, SnapshotCell};

/// How often a name is asked for.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// An answer is asked for again no sooner and no later than this, whatever its time to live.
    soonest: Duration,
    latest: Duration,
    /// Between failed lookups: doubling.
    first_retry: Duration,
    last_retry: Duration,
}

const PACE: Pace = Pace {
    soonest: Duration::from_secs(1),
    latest: Duration::from_secs(300),
    first_retry: Duration::from_secs(1),
    last_retry: Duration::from_secs(30),
};

/// Addresses taken of one answer.
const MOST_ADDRESSES: usize = 256;

/// How long a start waits for names to be resolved for the first time.
const FIRST_ANSWERS: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(5);

/// Whom to ask.
pub trait Lookup: Clone + Send + Sync + 'static {
    /// The addresses of `host`, and how long they hold; else why not.
    fn lookup(
        &self,
        host: &str,
    ) -> impl Future<Output = Result<(Vec<IpAddr>, Duration), String>> + Send;
}

/// Resolves what the snapshots in `cell` name, until this future is dropped.
pub async fn run(cell: Arc<SnapshotCell>, lookup: impl Lookup) {
    follow(cell, lookup, PACE).await;
}

async fn follow(cell: Arc<SnapshotCell>, lookup: impl Lookup, pace: Pace) {
    let mut stored = cell.watch();
    let mut wanted = Wanted::default();
    let mut names: BTreeMap<Box<str>, Resolving> = BTreeMap::new();
    loop {
        stored.mark_unchanged();
        for (host, backends) in wanted.follow(cell.load()) {
            match names.get(&host) {
                _ if backends.is_empty() => drop(names.remove(&host)),
                Some(resolving) => drop(resolving.backends.send_replace(backends)),
                None => {
                    let resolving = Resolving::start(host.clone(), backends, lookup.clone(), pace);
                    names.insert(host, resolving);
                }
            }
        }
        // The sender is in the cell, so this never ends by itself.
        if stored.changed().await.is_err() {
            return;
        }
    }
}

/// Waits until every name that gets requests has an address, two seconds at most.
pub async fn first_answers(cell: &SnapshotCell) {
    let deadline = Instant::now() + FIRST_ANSWERS;
    let unknown = || {
        let waiting = |backend: &Arc<Backend>| backend.admits() && backend.is_unresolved();
        let snapshot = cell.load();
        let mut wanted = snapshot.pools().flat_map(|pool| named(pool));
        wanted.any(|(_, backend)| waiting(backend))
    };
    while unknown() && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
}

/// The backends of a snapshot that are names.
#[derive(Default)]
struct Wanted {
    followed: Arc<Snapshot>,
    /// By name, and then by key.
    names: BTreeMap<Box<str>, BTreeMap<u64, Arc<Backend>>>,
}

impl Wanted {
    /// Those of each name that is not wanted as before.
    fn follow(&mut self, newest: Arc<Snapshot>) -> BTreeMap<Box<str>, Vec<Arc<Backend>>> {
        let mut touched: BTreeMap<Box<str>, Vec<Arc<Backend>>> = BTreeMap::new();
        let before = std::mem::replace(&mut self.followed, newest.clone());
        for (before, after) in before.changed_pools(&newest) {
            for (host, backend) in before.into_iter().flat_map(|pool| named(pool)) {
                touched.entry(host.clone()).or_default();
                let backends = self.names.entry(host.clone()).or_default();
                backends.remove(&backend.key);
            }
            for (host, backend) in after.into_iter().flat_map(|pool| named(pool)) {
                touched.entry(host.clone()).or_default();
                let backends = self.names.entry(host.clone()).or_default();
                backends.insert(backend.key, backend.clone());
            }
        }
        for (host, backends) in &mut touched {
            backends.extend(
                self.names
                    .get(host)
                    .into_iter()
                    .flat_map(BTreeMap::values)
                    .cloned(),
            );
            if backends.is_empty() {
                self.names.remove(host);
            }
        }
        touched
    }
}

/// The members of a pool that are names.
fn named(pool: &PoolEntry) -> impl Iterator<Item = (&Box<str>, &Arc<Backend>)> {
    let backends = pool.members().iter().map(|member| &member.backend);
    backends.filter_map(|backend| match &backend.address {
        Address::Name { host, .. } => Some((host, backend)),
        _ => None,
    })
}

/// The task of one name. It ends with this.
struct Resolving {
    backends: watch::Sender<Vec<Arc<Backend>>>,
    _task: AbortOnDropHandle<()>,
}

impl Resolving {
    fn start(host: Box<str>, backends: Vec<Arc<Backend>>, lookup: impl Lookup, pace: Pace) -> Self {
        let (backends, told) = watch::channel(backends);
        let task = tokio::spawn(resolve(host, told, lookup, pace));
        Self {
            backends,
            _task: AbortOnDropHandle::new(task),
        }
    }
}

async fn resolve(
    host: Box<str>,
    mut backends: watch::Receiver<Vec<Arc<Backend>>>,
    lookup: impl Lookup,
    pace: Pace,
) {
    let mut last: Arc<[IpAddr]> = Arc::new([]);
    let mut retry = pace.first_retry;
    loop {
        let pause = match lookup.lookup(&host).await {
            Ok((addresses, holds)) if !addresses.is_empty() => {
                retry = pace.first_retry;
                let addresses = in_order(addresses);
                if addresses != last {
                    tracing::info!(%host, ?addresses, "resolved");
                    last = addresses;
                }
                holds.clamp(pace.soonest, pace.latest)
            }
            answer => {
                let reason = answer.err().unwrap_or_else(|| "no address".to_owned());
                if retry == pace.first_retry {
                    tracing::warn!(%host, reason, "cannot resolve; the last answer stays in force");
                }
                let pause = retry;
                retry = (retry * 2).min(pace.last_retry);
                pause
            }
        };
        let next = tokio::time::Instant::now() + pause;
        loop {
            for backend in &*backends.borrow_and_update() {
                backend.set_addresses(&last);
            }
            tokio::select! {
                // Nothing is lost with either: the time is fixed, and the newest list is looked at again.
                () = tokio::time::sleep_until(next) => break,
                changed = backends.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }
}

/// Sorted, so that an answer in another order is no other answer, and the turns go on over it.
fn in_order(mut addresses: Vec<IpAddr>) -> Arc<[IpAddr]> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MOST_ADDRESSES);
    addresses.into()
}

#[cfg(test)]
mod tests;
