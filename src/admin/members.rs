//! `/v1/members`: who votes, and orders to the leader.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::body::JsonBody;
use super::nodes::{self, known, state};
use super::options::{MemberOptions, NodeOptions};
use super::problem::{Kind, Problem};
use super::{AdminState, read};
use crate::config::Revision;
use crate::replication::{NodeReport, NodeRole, OrderError};

pub(super) async fn list(
    State(state): State<AdminState>,
    options: NodeOptions,
) -> Result<Response, Problem> {
    read::fresh(&state, options.consistency).await?;
    nodes::renew(&state).await;
    let nodes = state.replication.nodes();
    let known = known(&state, &nodes);
    let voters = nodes.iter().filter(|node| node.role != NodeRole::Follower);
    let status = state.replication.status();
    let body = json!({
        "items": voters.map(|node| item(node, known)).collect::<Vec<_>>(),
        "next": null,
        "epoch": status.ballot.epoch.0,
        "leader": status.leader_name,
    });
    Ok(Json(body).into_response())
}

fn item(node: &NodeReport, known: Revision) -> Value {
    json!({
        "id": node.id.map(|id| id.0),
        "name": node.name,
        "role": node.role.to_string(),
        "peer": node.peer.as_ref().map(ToString::to_string),
        "reachable": node.is_reachable(),
        "lag": node.lag,
        "failed": node.failed,
        "state": state(node, known),
    })
}

/// Gives followers a vote and takes it from voters, in one step.
pub(super) async fn change(
    State(state): State<AdminState>,
    MemberOptions(within): MemberOptions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let fields = fields(&body, &["add", "remove"])?;
    let (add, remove) = (names(fields, "add")?, names(fields, "remove")?);
    if add.is_empty() && remove.is_empty() {
        let detail = "must name who comes in \"add\", who leaves in \"remove\", or both";
        return Err(Problem::at(Kind::Invalid, "", detail));
    }
    changed(&state, add, remove, within).await
}

/// Takes the vote from one voter.
pub(super) async fn remove(
    State(state): State<AdminState>,
    Path(name): Path<String>,
    MemberOptions(within): MemberOptions,
) -> Result<Response, Problem> {
    changed(&state, Vec::new(), vec![name], within).await
}

async fn changed(
    state: &AdminState,
    add: Vec<String>,
    remove: Vec<String>,
    within: Duration,
) -> Result<Response, Problem> {
    let done = state.replication.change_members(add, remove, within).await;
    let epoch = done.map_err(refusal)?;
    Ok(Json(json!({"epoch": epoch.parse::<u32>().ok()})).into_response())
}

/// Hands leadership over, to the voter named or to the most advanced one.
pub(super) async fn transfer(
    State(state): State<AdminState>,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let to = match fields(&body, &["to"])?.get("to") {
        None | Some(Value::Null) => None,
        Some(name) => Some(self::name(name, "/to")?),
    };
    let done = state.replication.transfer(to, read::QUORUM_WITHIN).await;
    let leader = done.map_err(refusal)?;
    Ok(Json(json!({"leader": leader})).into_response())
}

fn fields<'a>(body: &'a Value, known: &[&str]) -> Result<&'a Map<String, Value>, Problem> {
    let Some(fields) = body.as_object() else {
        return Err(Problem::at(Kind::Invalid, "", "must be an object"));
    };
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(fields),
        Some(unknown) => {
            let detail = format!("is not known here; there is {}", known.join(", "));
            Err(Problem::at(Kind::Invalid, &format!("/{unknown}"), detail))
        }
    }
}

fn names(fields: &Map<String, Value>, field: &str) -> Result<Vec<String>, Problem> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(names)) => names
            .iter()
            .enumerate()
            .map(|(at, value)| name(value, &format!("/{field}/{at}")))
            .collect(),
        Some(_) => Err(Problem::at(
            Kind::Invalid,
            &format!("/{field}"),
            "must be a list of names",
        )),
    }
}

fn name(value: &Value, pointer: &str) -> Result<String, Problem> {
    let name = value.as_str().filter(|name| !name.is_empty());
    let name = name.map(str::to_owned);
    name.ok_or_else(|| Problem::at(Kind::Invalid, pointer, "must be the name of a node"))
}

fn refusal(error: OrderError) -> Problem {
    let detail = error.to_string();
    match error {
        OrderError::Refused { .. } => Problem::new(Kind::Refused, detail),
        OrderError::NotTaken { .. } => Problem::new(Kind::Unavailable, detail)
            .retry_after(1)
            .with("outcome", "not_done"),
        OrderError::Unknown { .. } => Problem::new(
            Kind::Unavailable,
            format!("{detail}; /v1/members tells who votes and who leads"),
        )
        .with("outcome", "unknown"),
    }
}
