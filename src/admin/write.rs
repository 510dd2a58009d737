//! The one way of every change: tried here, proposed, answered as it came out, and waited for as far as asked.
//!
//! All that can fail is tried before anything is proposed: the transaction against the config this node knows, the
//! compiler against its result. What was decided is judged again where it is applied, and that outcome is the answer.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{ETAG, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::conditions::{Condition, etag};
use super::layers::{SYNOD_REVISION, revision_value};
use super::options::{Wait, WriteOptions};
use super::outcome::{self, Done};
use super::problem::{Kind, Problem};
use super::{AdminState, preflight, read, wait};
use crate::config::{Effect, Expected, Operation, ResourcePath, Revision, Transaction, limits};
use crate::state::{Body, Command, Proposal, Stamp};

/// A change of one resource.
pub(super) async fn single(
    state: &AdminState,
    options: WriteOptions,
    operation: Operation,
) -> Result<Response, Problem> {
    let path = operation.path.clone();
    let operation = match expected(state, &options.condition, &path)? {
        Some(expected) => operation.expecting(expected),
        None => operation,
    };
    run(
        state,
        options,
        Write {
            path: Some(path),
            transaction: Transaction::of(operation),
        },
    )
    .await
}

/// A change of many resources, as one revision.
pub(super) async fn several(
    state: &AdminState,
    options: WriteOptions,
    transaction: Transaction,
) -> Result<Response, Problem> {
    if options.condition != Condition::Always {
        let detail = "If-Match and If-None-Match do not say of which resource; give operations a \"revision\"";
        return Err(Problem::new(Kind::Malformed, detail));
    }
    run(
        state,
        options,
        Write {
            path: None,
            transaction,
        },
    )
    .await
}

/// What is to be changed.
pub(super) struct Write {
    /// The resource, where it is one alone: faults then point into the body that was sent for it.
    pub(super) path: Option<ResourcePath>,
    pub(super) transaction: Transaction,
}

async fn run(state: &AdminState, options: WriteOptions, write: Write) -> Result<Response, Problem> {
    let began = Instant::now();
    let quorum_by = began
        + options
            .timeout
            .clamp(Duration::from_secs(1), read::QUORUM_WITHIN);
    if options.dry_run {
        return preflight::dry_run(state, &write, quorum_by).await;
    }
    preflight::check(state, &write, &options, quorum_by).await?;
    let body = Body::Config(write.transaction);
    let command = Proposal::from(Command {
        key: options.key.clone(),
        stamp: Stamp(0),
        level: body.level(),
        sticky_key: None,
        author: options.author.clone(),
        comment: options.comment.clone(),
        body,
    });
    if command.length() > limits::COMMAND_BYTES {
        let detail = format!(
            "the change is over {} bytes as the log keeps it; split it",
            limits::COMMAND_BYTES
        );
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    let within = quorum_by.saturating_duration_since(Instant::now());
    if options.wait == Wait::None {
        return Ok(propose_unwatched(state, &options, command, within));
    }
    let outcome = state.replication.propose(command, within).await;
    let outcome = outcome.map_err(|error| outcome::not_known(&error, &options.key))?;
    let done = outcome::applied(single_pointers(outcome, write.path.is_some()), &options.key)?;
    let until = began + options.timeout;
    let waited = wait::after(state, &options, done.revision, write.path.as_ref(), until).await?;
    Ok(answer(state, &options, write.path.as_ref(), &done, waited))
}

/// 202: it is on its way, and a retry with the key tells what became of it.
fn propose_unwatched(
    state: &AdminState,
    options: &WriteOptions,
    command: Proposal,
    within: Duration,
) -> Response {
    let replication = state.replication.clone();
    tokio::spawn(async move {
        if let Err(error) = replication.propose(command, within).await {
            tracing::warn!(%error, "a change that nobody waits for may not have been made");
        }
    });
    (
        StatusCode::ACCEPTED,
        Json(json!({"outcome": "unknown", "key": options.key.as_str()})),
    )
        .into_response()
}

/// What a change is answered with.
#[derive(Serialize)]
struct Answer<'a> {
    revision: Revision,
    changed: bool,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<Effect>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effects: Option<&'a [Effect]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waited_for: Option<Value>,
}

fn answer(
    state: &AdminState,
    options: &WriteOptions,
    path: Option<&ResourcePath>,
    done: &Done,
    waited: Option<Value>,
) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(SYNOD_REVISION, revision_value(done.revision));
    let mut body = Answer {
        revision: done.revision,
        changed: done.changed,
        key: options.key.as_str(),
        effect: None,
        effects: None,
        waited_for: waited,
    };
    let mut status = StatusCode::OK;
    if let (Some(path), [effect]) = (path, done.effects.as_slice()) {
        body.effect = Some(*effect);
        if let Some(revision) = changed_at(state, path, done, *effect) {
            headers.insert(ETAG, etag(revision));
        }
        if *effect == Effect::Created {
            status = StatusCode::CREATED;
            let location =
                HeaderValue::try_from(format!("/v1{path}")).expect("names are visible ASCII");
            headers.insert(LOCATION, location);
        }
    } else {
        body.effects = Some(&done.effects);
    }
    (status, headers, Json(body)).into_response()
}

/// When the resource last changed, as far as that is known for sure.
fn changed_at(
    state: &AdminState,
    path: &ResourcePath,
    done: &Done,
    effect: Effect,
) -> Option<Revision> {
    match effect {
        Effect::Created | Effect::Updated => Some(done.revision),
        Effect::Deleted => None,
        Effect::Unchanged | Effect::Checked => {
            let view = read::local(state);
            view.config
                .revision_of(path)
                .filter(|_| view.revision >= done.revision)
        }
    }
}

/// What the request's conditions demand of the resource, for the command to carry.
fn expected(
    state: &AdminState,
    condition: &Condition,
    path: &ResourcePath,
) -> Result<Option<Expected>, Problem> {
    Ok(match condition {
        Condition::Always => None,
        Condition::Exists => Some(Expected::Present),
        Condition::Absent => Some(Expected::Absent),
        Condition::At(revisions) => {
            let current = read::local(state).config.revision_of(path);
            let matching = revisions
                .iter()
                .find(|revision| Some(**revision) == current)
                .or(revisions.first());
            let Some(revision) = matching else {
                return Err(Problem::new(
                    Kind::LostRace,
                    format!("no validator in If-Match is one of {path}"),
                )
                .with("path", path.to_string()));
            };
            Some(Expected::Revision(*revision))
        }
    })
}

fn single_pointers(outcome: crate::state::Outcome, single: bool) -> crate::state::Outcome {
    match outcome {
        crate::state::Outcome::Rejected(rejection) if single => {
            crate::state::Outcome::Rejected(rejection.of_single())
        }
        other => other,
    }
}
