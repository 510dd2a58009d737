//! `/livez` and `/readyz`, for whoever decides whether this process is restarted or sent traffic.
//!
//! Ready means that a snapshot is in force, and that the node is neither about to end nor at its limits. It does not
//! mean a quorum: traffic flows without one. The empty config is one only for a node that has a part in the group: a
//! wiped or new one serves nothing.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::AdminState;
use super::problem::{Kind, Problem};
use crate::config::Revision;
use crate::replication;

pub(super) async fn live() -> Response {
    Json(json!({"status": "alive"})).into_response()
}

pub(super) async fn ready(State(state): State<AdminState>) -> Result<Response, Problem> {
    if state.shutdown.is_requested() {
        return Err(Problem::new(Kind::NotReady, "this node is draining"));
    }
    if !state.serving.load(Ordering::Acquire) {
        return Err(Problem::new(Kind::NotReady, "no snapshot is in force yet"));
    }
    if state.busy.load(Ordering::Relaxed) {
        let detail = "this node has nearly all the requests it takes";
        return Err(Problem::new(Kind::NotReady, detail));
    }
    let revision = state.cell.load().revision;
    let group = state.replication.status().state;
    if revision == Revision(0) && group != replication::State::Running {
        let detail = format!("no config is known here: {group}");
        return Err(Problem::new(Kind::NotReady, detail));
    }
    Ok(Json(json!({"status": "ready", "revision": revision})).into_response())
}
