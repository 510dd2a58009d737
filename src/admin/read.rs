//! Reads: as new as the request asks, as it asks by default with proof from a quorum.

use std::sync::Arc;
use std::time::Duration;

use super::AdminState;
use super::options::Consistency;
use super::problem::{Kind, Problem};
use crate::config::{Config, Revision};
use crate::replication::Unavailable;
use crate::state::History;

/// How long a read waits for a quorum before it is refused: time for an election, and under the promised 5 s.
pub(super) const QUORUM_WITHIN: Duration = Duration::from_secs(4);

/// How long what is known all the same waits for this node to catch up.
const CATCH_UP: Duration = Duration::from_secs(1);

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
        Consistency::Linearizable => state
            .replication
            .read_barrier(QUORUM_WITHIN)
            .await
            .map_err(|unavailable| unreadable(&unavailable)),
    }
}

/// Whether a leader leads, as most voters confirm; why this node may not know what that one has decided, if so.
pub(super) async fn led(state: &AdminState) -> Result<Option<String>, Problem> {
    let led = state.replication.confirm(QUORUM_WITHIN, CATCH_UP).await;
    let caught_up = led.map_err(|unavailable| unreadable(&unavailable))?;
    Ok(caught_up.err().map(|behind| behind.to_string()))
}

fn unreadable(unavailable: &Unavailable) -> Problem {
    let advice = match unavailable {
        Unavailable::NoLeader { .. } => {
            "?consistency=local reads what this node knows without a quorum"
        }
        Unavailable::Behind { .. } => {
            "ask another node; ?consistency=local reads what this one knows"
        }
    };
    Problem::new(kind(unavailable), unavailable.to_string())
        .retry_after(1)
        .with("advice", advice)
}

/// At fault are all, or this node.
pub(super) fn kind(unavailable: &Unavailable) -> Kind {
    match unavailable {
        Unavailable::NoLeader { .. } => Kind::Unavailable,
        Unavailable::Behind { .. } => Kind::Behind,
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
