//! `/v1/backup`: the whole replicated state, for `synod restore` to make a new group of.
//!
//! It holds what every other answer leaves out: keys and hashes. Hence it is for admins alone.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::options::ReadOptions;
use super::problem::Problem;
use super::{AdminState, read};
use crate::state::{self, Machine};

pub(super) async fn get(
    State(state): State<AdminState>,
    options: ReadOptions,
) -> Result<Response, Problem> {
    read::fresh(&state, options.consistency).await?;
    let machine = state.replication.inspect(Machine::clone);
    let body = tokio::task::spawn_blocking(move || {
        json!({
            "revision": machine.revision(),
            "slot": machine.applied(),
            "state": STANDARD.encode(state::checkpoint(&machine)),
        })
    });
    match body.await {
        Ok(body) => Ok(Json(body).into_response()),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
