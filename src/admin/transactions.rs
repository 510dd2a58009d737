//! Changes and candidates of several resources: `/v1/transactions`, `/v1/validate`, `/v1/diff`, `/v1/rollback`.
//!
//! A candidate is a whole config, `{"pools", "routes", "policies"}`, judged as if it replaced the present one, or the
//! list that `/v1/transactions` takes, judged as if it were posted there.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::body::JsonBody;
use super::layers::{SYNOD_REVISION, revision_value};
use super::options::{Consistency, ReadOptions, WriteOptions};
use super::problem::{Kind, Problem};
use super::write::Write;
use super::{AdminState, preflight, read, revisions, write};
use crate::config::policy::redact;
use crate::config::{Operation, ResourcePath, Revision, Transaction, diff};

pub(super) async fn post(
    State(state): State<AdminState>,
    options: WriteOptions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let transaction = Transaction::from_json(body).map_err(Problem::invalid)?;
    write::several(&state, options, transaction).await
}

/// 200 if the candidate could be put in force, else 422 with all that is wrong with it.
pub(super) async fn validate(
    State(state): State<AdminState>,
    options: ReadOptions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    // A whole config is valid or not whatever the present one is, so it needs no quorum.
    let whole = !body.is_array();
    let candidate = candidate(body)?;
    read::fresh(
        &state,
        if whole {
            Consistency::Local
        } else {
            options.consistency
        },
    )
    .await?;
    let tried = preflight::attempt(&state, &candidate).await?;
    Ok(Json(json!({"valid": true, "revision": tried.before.revision})).into_response())
}

pub(super) async fn compare(
    State(state): State<AdminState>,
    options: ReadOptions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let candidate = candidate(body)?;
    read::fresh(&state, options.consistency).await?;
    let tried = preflight::attempt(&state, &candidate).await?;
    let revision = tried.before.revision;
    let mut items = json!(diff(&tried.before, &tried.after.config));
    redact(&mut items);
    let head = [(SYNOD_REVISION, revision_value(revision))];
    Ok((
        head,
        Json(json!({"revision": revision, "items": items, "next": null})),
    )
        .into_response())
}

/// A new revision with the content of an old one.
pub(super) async fn rollback(
    State(state): State<AdminState>,
    mut options: WriteOptions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let revision = wanted(&body)?;
    let fresh = read::fresh(&state, Consistency::Linearizable).await;
    fresh.map_err(|problem| problem.with("outcome", "not_proposed"))?;
    let history = read::history(&state);
    // A slot that changed nothing has a content too, but whoever names it has mistyped.
    revisions::kept(history.entry(revision), revision)?;
    let config = revisions::kept(history.config_at(revision), revision)?;
    if options.comment.is_empty() {
        options.comment = format!("rollback to {revision}");
    }
    write::single(
        &state,
        options,
        Operation::put(ResourcePath::Config, config.to_json()),
    )
    .await
}

fn candidate(body: Value) -> Result<Write, Problem> {
    if body.is_array() {
        let transaction = Transaction::from_json(body).map_err(Problem::invalid)?;
        return Ok(Write {
            path: None,
            transaction,
        });
    }
    let path = ResourcePath::Config;
    Ok(Write {
        path: Some(path.clone()),
        transaction: Transaction::of(Operation::put(path, body)),
    })
}

/// `{"revision": 12}` and nothing else.
fn wanted(body: &Value) -> Result<Revision, Problem> {
    let revision = body.get("revision").and_then(Value::as_u64);
    match (revision, body.as_object().map(|fields| fields.len())) {
        (Some(revision), Some(1)) => Ok(Revision(revision)),
        (None, _) => Err(Problem::at(
            Kind::Invalid,
            "/revision",
            "must be the number of the revision to go back to",
        )),
        (Some(_), _) => Err(Problem::at(
            Kind::Invalid,
            "",
            "must have the field revision alone",
        )),
    }
}
