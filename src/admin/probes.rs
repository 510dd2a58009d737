//! `/livez` and `/readyz`, for whoever decides whether this process is restarted or sent traffic.
//!
//! Ready means that a snapshot is in force and the node is not about to end. It does not mean a quorum: traffic flows
//! without one.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::AdminState;
use super::problem::{Kind, Problem};

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
    Ok(Json(json!({"status": "ready", "revision": state.cell.load().revision})).into_response())
}
