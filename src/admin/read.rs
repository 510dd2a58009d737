//! Reads: as new as the request asks, as it asks by default with proof from a quorum.

use std::sync::Arc;
use std::time::Duration;

use super::AdminState;
use super::options::Consistency;
use super::problem::{Kind, Problem};
use crate::config::{Config, Revision};
use crate::state::History;

/// How long a read waits for a quorum before it is refused: time for an election, and under the promised 5 s.
pub(super) const QUORUM_WITHIN: Duration = Duration::from_secs(4);

/// The config as one read sees it.
pub(super) struct View {
    pub(super) config: Arc<Config>,
    pub(super) revision: Revision,
}

/// The config, as new as asked for.
pub(super) async fn view(state: &AdminState, consistency: Consistency) -> Result<View, Problem> {
    fresh(state, consistency).await?;
    Ok(local(state))
}

/// Waits until what this node knows is as new as asked for.
pub(super) async fn fresh(state: &AdminState, consistency: Consistency) -> Result<(), Problem> {
    match consistency {
        Consistency::Local => Ok(()),
        Consistency::Linearizable => {
            state
                .replication
                .read_barrier(QUORUM_WITHIN)
                .await
                .map_err(|unavailable| {
                    Problem::new(Kind::Unavailable, unavailable.to_string())
                        .retry_after(1)
                        .with(
                            "advice",
                            "?consistency=local reads what this node knows without a quorum",
                        )
                })
        }
    }
}

/// What this node knows now.
pub(super) fn local(state: &AdminState) -> View {
    let config = state.replication.glance().config;
    let revision = config.revision;
    View { config, revision }
}

/// Who changed what, as this node knows it now: a copy, which shares every entry, so that applying does not wait while
/// it is walked back.
pub(super) fn history(state: &AdminState) -> History {
    state
        .replication
        .inspect(|machine| machine.history().clone())
}
