//! `/v1/nodes`: the group as this node last heard of it, with or without a quorum.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::options::NodeOptions;
use super::problem::Problem;
use super::wait::reachable;
use super::{AdminState, read};
use crate::replication::{self, NodeReport};

pub(super) async fn list(
    State(state): State<AdminState>,
    options: NodeOptions,
) -> Result<Response, Problem> {
    read::fresh(&state, options.consistency).await?;
    let nodes = state.replication.nodes();
    let status = state.replication.status();
    let body = json!({
        "items": nodes.iter().map(item).collect::<Vec<_>>(),
        "next": null,
        "leader": status.leader_name,
        "cluster": status.cluster,
        "this": {"name": status.name, "state": condition(&status.state), "decided": status.decided.0, "applied": status.applied.0},
    });
    Ok(Json(body).into_response())
}

fn item(node: &NodeReport) -> Value {
    json!({
        "id": node.id.0,
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
    })
}

/// In a few words, for an operator.
pub(super) fn condition(state: &replication::State) -> String {
    match state {
        replication::State::Founding { waiting } => {
            format!("founding, waits for {}", waiting.join(", "))
        }
        replication::State::Running => "running".to_owned(),
        replication::State::Damaged => "damaged: its log must be synced by a leader".to_owned(),
        replication::State::Full => "disk full: writes are refused".to_owned(),
        replication::State::Upgrade { level } => format!("needs a newer build, of level {level}"),
        replication::State::Failed { reason } => format!("failed: {reason}"),
    }
}
