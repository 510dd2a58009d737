//! `/v1/sessions`: opened, kept alive, closed. A session is what holds locks; it ends when nobody keeps it alive.
//!
//! Opening and closing go through the log. Keeping alive does not: any node passes it on to the leader, which answers
//! once a majority has confirmed it. What it answers counts from when the client asked.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::LOCATION;
use serde_json::{Value, json};

use super::body::JsonBody;
use super::fields::{self, Fields};
use super::options::{LockOptions, PageOptions, ReadOptions};
use super::problem::{Kind, Problem};
use super::{AdminState, lists, locks, read, revisions};
use crate::config::limits;
use crate::state::{Answer, Locks, Operation, Session, SessionId};

/// Sessions that one call keeps alive, at most.
const KEPT_AT_ONCE: usize = 1_000;

/// Opens one; 201 with its number.
pub(super) async fn open(
    State(state): State<AdminState>,
    options: LockOptions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let mut fields = Fields::of(body)?;
    let lease = fields.take("lease", |given| {
        fields::duration(given, limits::LONGEST_LEASE)
    });
    fields.finish(Some(()))?;
    let lease = lease.unwrap_or(limits::LEASE);
    let answer = locks::ask(&state, &options, Operation::Open { lease }).await?;
    let Answer::Opened { session } = answer else {
        return Err(locks::strange(&answer));
    };
    let body = json!({
        "session": session,
        "lease_ms": millis(lease),
        "key": options.key.as_str(),
    });
    let location = [(LOCATION, format!("/v1/sessions/{session}"))];
    Ok((StatusCode::CREATED, location, Json(body)).into_response())
}

/// Closes one: what it holds is free at once.
pub(super) async fn close(
    State(state): State<AdminState>,
    Path(given): Path<String>,
    options: LockOptions,
) -> Result<Response, Problem> {
    let session = number(&given)?;
    match locks::ask(&state, &options, Operation::Close { session }).await? {
        Answer::Closed { locks } => {
            Ok(Json(json!({"session": session, "released": locks})).into_response())
        }
        other => Err(locks::strange(&other)),
    }
}

/// Keeps many alive. Of each it says how long it lives, counted from when the client sent this, or that it has ended.
pub(super) async fn keep_alive(
    State(state): State<AdminState>,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let mut fields = Fields::of(body)?;
    let sessions = fields.need("sessions", |given| {
        let numbers = given.as_array().and_then(|all| {
            let all = all.iter().map(|one| one.as_u64().map(SessionId));
            all.collect::<Option<Vec<SessionId>>>()
        });
        numbers
            .filter(|all| all.len() <= KEPT_AT_ONCE)
            .ok_or_else(|| format!("must be a list of at most {KEPT_AT_ONCE} numbers of sessions"))
    });
    let sessions = fields.finish(sessions)?;
    let lives = state.replication.keep_alive(&sessions, read::QUORUM_WITHIN);
    let lives = lives.await.map_err(|unavailable| {
        let detail = format!("nobody is known to be kept alive: {unavailable}; ask again");
        Problem::new(Kind::Unavailable, detail).retry_after(1)
    })?;
    let items: Vec<Value> = lives
        .into_iter()
        .map(|(session, lease)| json!({"session": session, "lease_ms": lease.map(millis)}))
        .collect();
    Ok(Json(json!({ "items": items })).into_response())
}

pub(super) async fn list(
    State(state): State<AdminState>,
    page: PageOptions,
) -> Result<Response, Problem> {
    let after = match page.after.as_deref().map(str::parse::<u64>) {
        None => 0,
        Some(Ok(after)) => after,
        Some(Err(_)) => return Err(Problem::at(Kind::Malformed, "?after", "must be a session")),
    };
    lists::held(&state, &page, |locks| {
        let sessions = locks.sessions().filter(move |(id, _)| id.0 > after);
        Box::new(sessions.map(|(id, session)| (id.to_string(), item(id, session))))
    })
    .await
}

pub(super) async fn get(
    State(state): State<AdminState>,
    Path(given): Path<String>,
    options: ReadOptions,
) -> Result<Response, Problem> {
    let id = number(&given)?;
    let find = |locks: &Locks| Some(item(id, locks.session(id)?));
    lists::one_held(&state, &options, locks::ended(id), find).await
}

fn item(id: SessionId, session: &Session) -> Value {
    json!({
        "session": id,
        "lease_ms": millis(session.lease),
        "owner": session.owner,
        "opened": revisions::time(session.opened),
        "locks": session.locks().collect::<Vec<_>>(),
    })
}

fn number(given: &str) -> Result<SessionId, Problem> {
    let number = given.parse().map(SessionId);
    number.map_err(|_| Problem::not_found(format!("session {given:?}")))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
