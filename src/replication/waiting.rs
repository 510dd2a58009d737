//! Waiting, at any node, for a claim on a lock to be granted: the node's own state tells.

use tokio::time::{Instant, timeout_at};

use super::Handle;
use crate::state::{SessionId, Standing};

impl Handle {
    /// Whether this node's state reflects `slot`, now or by `until`.
    pub async fn has_applied(&self, slot: u64, until: Instant) -> bool {
        let mut applied = self.0.applied.subscribe();
        let reached = timeout_at(until, applied.wait_for(|at| *at >= slot)).await;
        matches!(reached, Ok(Ok(_)))
    }

    /// Where a claim stands once it no longer waits, or at `until`. `None`: this node has not heard of it by then.
    pub async fn await_lock(
        &self,
        session: SessionId,
        lock: &str,
        ticket: u64,
        until: Instant,
    ) -> Option<Standing> {
        // Before its slot is applied here, the state says nothing of it.
        if !self.has_applied(ticket, until).await {
            return None;
        }
        let mut changed = self.0.locked.subscribe();
        loop {
            changed.mark_unchanged();
            let standing = self.inspect(|machine| machine.locks().standing(session, lock, ticket));
            let waits = matches!(standing, Standing::Waiting(_));
            if !waits || !matches!(timeout_at(until, changed.changed()).await, Ok(Ok(()))) {
                return Some(standing);
            }
        }
    }
}
