//! Tells the data plane's fences what the state machine knows of locks, and has it confirmed by a quorum.
//!
//! What is told here is what a grant waits for: a node reports a slot as fenced when no request with a token older than
//! that slot's grants passes it any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use crate::backend::{FENCE_LEASE, Registry};
use crate::config::Name;
use crate::replication::Handle;
use crate::state::Locks;

/// How often new fences are looked for, and what is told is confirmed.
const PERIOD: Duration = Duration::from_millis(500);

/// Runs until it is dropped.
pub(super) async fn run(handle: Handle, registry: Arc<Registry>) {
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut locked = handle.locked();
    let confirm = async {
        loop {
            tick.tick().await;
            if registry.fences().in_use().is_empty() {
                continue;
            }
            let asked = Instant::now();
            let confirmed = handle.read_barrier(FENCE_LEASE).await.is_ok();
            tell(&handle, &registry);
            if confirmed {
                registry.fences().confirm(asked);
            }
        }
    };
    let follow = async {
        while locked.changed().await.is_ok() {
            tell(&handle, &registry);
        }
    };
    tokio::join!(confirm, follow);
}

/// All fences are told what is known now, and all nodes that they were.
fn tell(handle: &Handle, registry: &Registry) {
    let fences = registry.fences().in_use();
    if fences.is_empty() {
        return;
    }
    let slot = handle.inspect(|machine| {
        for (lock, fence) in &fences {
            let (oldest, newest) = good(machine.locks(), lock);
            fence.tell(oldest, newest);
        }
        machine.locks().changed()
    });
    handle.fenced(slot);
}

/// The oldest and the newest good token of a lock.
fn good(locks: &Locks, lock: &Name) -> (u64, u64) {
    match locks.lock(lock.as_str()) {
        Some(lock) => (lock.fence().0, lock.newest().0),
        // Of a lock that was forgotten none is good, and of one that never was none was granted.
        None => (locks.forgotten().0 + 1, locks.forgotten().0),
    }
}
