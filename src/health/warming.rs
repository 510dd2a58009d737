//! Slow start: takes the steps of the backends that warm, in the pools that have a window for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::routing::SnapshotCell;

/// From one step to the next.
const STEP: Duration = Duration::from_millis(100);

/// Takes steps by the snapshots in `cell`, woken by `begun` when a backend begins, until this future is dropped.
pub async fn run(cell: Arc<SnapshotCell>, begun: Arc<Notify>) {
    loop {
        if take_steps(&cell) {
            tokio::time::sleep(STEP).await;
        } else {
            // A permit is kept, so who begins between the look and this is not missed.
            begun.notified().await;
        }
    }
}

/// Tells whether anybody still warms.
fn take_steps(cell: &SnapshotCell) -> bool {
    let now = Instant::now();
    let snapshot = cell.load();
    let mut warming = false;
    for pool in snapshot.pools() {
        let window = pool.spec().slow_start;
        for member in pool
            .members()
            .iter()
            .filter(|member| member.backend.pace() < 100)
        {
            warming |= member.backend.take_step(now, window);
        }
    }
    warming
}
