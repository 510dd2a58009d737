//! `/v1/nodes`: the group as this node last heard of it, with or without a quorum.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::options::NodeOptions;
use super::problem::Problem;
use super::wait::{RENEWAL, reachable};
use super::{AdminState, read};
use crate::replication::{self, NodeReport};

pub(super) async fn list(
    State(state): State<AdminState>,
    options: NodeOptions,
) -> Result<Response, Problem> {
    read::fresh(&state, options.consistency).await?;
    renew(&state).await;
    let nodes = state.replication.nodes();
    let status = state.replication.status();
    let body = json!({
        "items": nodes.iter().map(item).collect::<Vec<_>>(),
        "next": null,
        "leader": status.leader_name,
        "cluster": status.cluster,
        "this": {
            "name": status.name,
            "state": condition(&status.state),
            "decided": status.decided.0,
            "applied": status.applied.0,
            "follows": status.following.as_ref().and_then(|following| following.voter.as_deref()),
            "feeds": status.feeding,
        },
    });
    Ok(Json(body).into_response())
}

/// Has what this node knows of the others be as new as it can.
pub(super) async fn renew(state: &AdminState) {
    state.replication.renew_nodes(RENEWAL).await;
}

fn item(node: &NodeReport) -> Value {
    // A follower has no number yet.
    let id = match node.id {
        Some(id) => json!(id.0),
        None => json!(node.instance),
    };
    json!({
        "id": id,
        "name": node.name,
        "role": node.role.to_string(),
        "applied": node.applied,
        "digest": format!("{:016x}", node.digest),
        "lag": node.lag,
        "rejected": node.rejected.as_ref().map(|rejected| format!("revision {}: {}", rejected.revision, rejected.reason)),
        "slot": node.slot,
        "reachable": reachable(node),
        "heard_ms": node.heard.map(|ago| ago.as_millis() as u64),
        "failed": node.failed,
        "admin": node.admin.map(|admin| admin.to_string()),
        "peer": node.peer.as_ref().map(ToString::to_string),
    })
}

/// In a few words, for an operator.
pub(super) fn condition(state: &replication::State) -> String {
    match state {
        replication::State::Founding { waiting } => {
            format!("founding, waits for {}", waiting.join(", "))
        }
        replication::State::Joining { why } => format!("joining: {why}"),
        replication::State::Running => "running".to_owned(),
        replication::State::Alone { why } => format!("alone, serves on: {why}"),
        replication::State::Damaged => "damaged: its log must be synced by a leader".to_owned(),
        replication::State::Full => "disk full: writes are refused".to_owned(),
        replication::State::Upgrade { level } => format!("needs a newer build, of level {level}"),
        replication::State::Removed => {
            "removed: it votes no more, and follows once the voters have a leader".to_owned()
        }
        replication::State::Failed { reason } => format!("failed: {reason}"),
    }
}
