//! A grant of a lock that a route names is told to nobody before every node refuses the tokens it made old.
//!
//! A node that does not say so is waited for as long as its data plane may go on without being confirmed: that was
//! asked for before the grant, or it reflects the grant. So what is told here holds also for nodes that are silent.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::AdminState;
use super::wait::RENEWAL;
use crate::backend::FENCE_LEASE;
use crate::config::Name;
use crate::state::Token;

/// Clocks of two machines do not run at quite the same pace.
const MARGIN: Duration = Duration::from_millis(500);
/// Between two looks at the nodes when none has told anything.
const PERIOD: Duration = Duration::from_millis(200);

/// Returns when no node passes a request with an older token of the lock any more.
pub(super) async fn everywhere(state: &AdminState, lock: &Name, token: Token) {
    // From when the grant is known at the latest: it was decided before.
    let until = Instant::now() + FENCE_LEASE + MARGIN;
    // A route that names the lock may be newer than what is applied here.
    let applied = state.replication.has_applied(token.0, until).await;
    if applied && !is_named(state, lock) {
        return;
    }
    let mut changed = state.replication.nodes_changed();
    while Instant::now() < until {
        changed.mark_unchanged();
        state.replication.renew_nodes(RENEWAL).await;
        let nodes = state.replication.nodes();
        if nodes.iter().all(|node| node.fenced >= token.0) {
            return;
        }
        let next = until.min(Instant::now() + PERIOD);
        // Either way the nodes are looked at again.
        let _ = timeout_at(next, changed.changed()).await;
    }
}

/// Whether a route demands tokens of the lock.
fn is_named(state: &AdminState, lock: &Name) -> bool {
    let config = state
        .replication
        .inspect(|machine| machine.config().clone());
    config
        .routes
        .values()
        .filter_map(|route| route.spec.policy.as_ref()?.fence.as_ref())
        .any(|fence| fence.lock == *lock)
}
