//! `/v1/locks`: acquired, released, checked, inspected.
//!
//! A lock is asked for at any node. Where the session has to wait, the call is held open; when its time is up the
//! claim stays in the queue, and the same call made again, at any node, goes on waiting for it: with the ticket it was
//! given without another entry of the log. A claim is made once for a session and a lock, so nobody loses its place
//! when a leader or a connection goes.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::body::JsonBody;
use super::fields::{self, Fields};
use super::options::{CheckOptions, LockOptions, PageOptions, ReadOptions};
use super::problem::{Kind, Problem};
use super::revisions::time;
use super::sessions::millis;
use super::{AdminState, fencing, lists, outcome, read};
use crate::config::{Fault, Faults, Name, limits};
use crate::state::{
    Acquire, Answer, Body, Check, Claim, Command, Holder, Lock, Locks, Mode, Operation, Outcome,
    Refusal, SessionId, Stamp, Standing, Token,
};

/// 200 with the token; 202 if the session still waits when the call's time is up; 409 if it does not want to wait;
/// 504 if it waited in vain.
pub(super) async fn acquire(
    State(state): State<AdminState>,
    Path(given): Path<String>,
    options: LockOptions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let until = Instant::now() + options.timeout;
    let (acquire, ticket) = read_acquire(name(&given)?, body)?;
    let (session, lock) = (acquire.session, acquire.lock.clone());
    let ticket = match ticket {
        Some(ticket) => ticket,
        None => match ask(&state, &options, Operation::Acquire(acquire)).await? {
            Answer::Granted { token } => return Ok(granted(&state, session, &lock, token).await),
            Answer::Queued { ticket } => ticket,
            Answer::Busy => return Err(busy(&state, &lock)),
            other => return Err(strange(&other)),
        },
    };
    let standing = state
        .replication
        .await_lock(session, lock.as_str(), ticket, until);
    match standing.await {
        Some(Standing::Held(token)) => Ok(granted(&state, session, &lock, token).await),
        None => Ok(queued(session, &lock, ticket, None)),
        Some(Standing::Waiting(ahead)) => Ok(queued(session, &lock, ticket, Some(ahead))),
        Some(Standing::NoSession) => Err(ended(session)),
        Some(Standing::Gone) => {
            let detail = format!("session {session} waited for {lock} in vain, or released it");
            Err(Problem::new(Kind::TimedOut, detail).with("lock", lock.as_str()))
        }
    }
}

/// Ends holding the lock, or waiting for it.
pub(super) async fn release(
    State(state): State<AdminState>,
    Path(given): Path<String>,
    options: LockOptions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let lock = name(&given)?;
    let mut fields = Fields::of(body)?;
    let session = fields.need("session", fields::number).map(SessionId);
    let session = fields.finish(session)?;
    let operation = Operation::Release {
        session,
        lock: lock.clone(),
    };
    match ask(&state, &options, operation).await? {
        Answer::Released => Ok(Json(json!({"lock": lock, "session": session})).into_response()),
        other => Err(strange(&other)),
    }
}

/// Whether a token is still good: nobody was granted the lock since in a way that excludes its holder.
pub(super) async fn check(
    State(state): State<AdminState>,
    Path(given): Path<String>,
    options: CheckOptions,
) -> Result<Response, Problem> {
    let lock = name(&given)?;
    read::fresh(&state, options.consistency).await?;
    let token = Token(options.token);
    let check = state
        .replication
        .inspect(|machine| machine.locks().check(lock.as_str(), token));
    let (good, held, why) = match check {
        Check::Good { held: true } => (true, true, "held"),
        Check::Good { held: false } => (true, false, "released"),
        Check::Old { .. } => (false, false, "older than the newest grant"),
        Check::Forgotten => (false, false, "of a lock that was forgotten"),
        Check::Unknown => (false, false, "never granted"),
    };
    let body = json!({"lock": lock, "token": token, "good": good, "held": held, "why": why});
    Ok(Json(body).into_response())
}

pub(super) async fn list(
    State(state): State<AdminState>,
    page: PageOptions,
) -> Result<Response, Problem> {
    let after = page.after.clone().unwrap_or_default();
    lists::held(&state, &page, |locks| {
        let locks = locks.locks();
        let locks = locks.filter(move |(name, _)| name.as_str() > after.as_str());
        Box::new(locks.map(|(name, lock)| (name.to_string(), item(name, lock))))
    })
    .await
}

/// Who holds it and who waits, the next one first.
pub(super) async fn get(
    State(state): State<AdminState>,
    Path(given): Path<String>,
    options: ReadOptions,
) -> Result<Response, Problem> {
    let name = name(&given)?;
    let missing = Problem::not_found(format!("lock {name}"));
    let find = |locks: &Locks| Some(item(&name, locks.lock(name.as_str())?));
    lists::one_held(&state, &options, missing, find).await
}

/// Has the lock service do something, through the log.
pub(super) async fn ask(
    state: &AdminState,
    options: &LockOptions,
    operation: Operation,
) -> Result<Answer, Problem> {
    let body = Body::Locks(operation);
    let command = Command {
        key: options.key.clone(),
        stamp: Stamp(0),
        level: body.level(),
        sticky_key: None,
        author: options.author.clone(),
        comment: String::new(),
        body,
    };
    let outcome = state.replication.propose(command, read::QUORUM_WITHIN);
    let outcome = outcome.await;
    match outcome.map_err(|error| outcome::not_known(&error, &options.key))? {
        Outcome::Locks(Answer::Refused(refusal)) => Err(refused(&refusal)),
        Outcome::Locks(answer) => Ok(answer),
        other => match outcome::applied(other, &options.key) {
            Err(problem) => Err(problem),
            Ok(_) => Err(Problem::new(
                Kind::Internal,
                "this is a bug of Synod: an operation on locks was answered as a change of the config",
            )),
        },
    }
}

fn refused(refusal: &Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::NoSession { session } => ended(*session),
        Refusal::NotHeld { .. } => Problem::new(Kind::NotHeld, detail),
        Refusal::OtherMode { mode, .. } => {
            Problem::new(Kind::LockHeld, detail).with("mode", mode.to_string())
        }
        Refusal::TooMany { most, .. } => Problem::new(Kind::TooMany, detail).with("most", *most),
        Refusal::OutOfBounds { field, bounds } => Problem::invalid(Faults(vec![Fault {
            pointer: format!("/{field}"),
            detail: format!("must be {bounds}"),
        }])),
    }
}

pub(super) fn ended(session: SessionId) -> Problem {
    let refusal = Refusal::NoSession { session };
    Problem::new(Kind::SessionEnded, refusal.to_string()).with("session", session.0)
}

/// An answer to another question.
pub(super) fn strange(answer: &Answer) -> Problem {
    let detail = format!("this is a bug of Synod: an operation on locks was answered {answer:?}");
    Problem::new(Kind::Internal, detail)
}

fn busy(state: &AdminState, lock: &Name) -> Problem {
    let holders = state.replication.inspect(|machine| {
        let lock = machine.locks().lock(lock.as_str());
        let holders = lock.into_iter().flat_map(Lock::holders);
        holders.map(holder).collect::<Vec<Value>>()
    });
    let detail = format!("{lock} is held or waited for by others; give \"wait\" to wait for it");
    Problem::new(Kind::LockHeld, detail).with("holders", holders)
}

/// Told only once every node refuses all older tokens, where a route names the lock.
async fn granted(state: &AdminState, session: SessionId, lock: &Name, token: Token) -> Response {
    fencing::everywhere(state, lock, token).await;
    Json(json!({"lock": lock, "session": session, "token": token})).into_response()
}

fn queued(session: SessionId, lock: &Name, ticket: u64, ahead: Option<usize>) -> Response {
    let body = json!({"lock": lock, "session": session, "ticket": ticket, "ahead": ahead});
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

/// What is asked for, and the ticket if it was before.
fn read_acquire(lock: Name, body: Value) -> Result<(Acquire, Option<u64>), Problem> {
    let mut fields = Fields::of(body)?;
    let session = fields.need("session", fields::number).map(SessionId);
    let mode = fields.take("mode", |given| match given.as_str() {
        Some("exclusive") => Ok(Mode::Exclusive),
        Some("shared") => Ok(Mode::Shared),
        _ => Err("must be `exclusive` or `shared`".to_owned()),
    });
    let wait = fields.take("wait", |given| fields::duration(given, limits::LOCK_WAIT));
    let delay = fields.take("lock_delay", |given| {
        fields::duration(given, limits::LOCK_DELAY)
    });
    let content = fields.take("content", |given| {
        let text = given
            .as_str()
            .filter(|it| it.len() <= limits::CONTENT_BYTES);
        let expected = || format!("must be a text of at most {} bytes", limits::CONTENT_BYTES);
        text.map(str::to_owned).ok_or_else(expected)
    });
    let ticket = fields.take("ticket", fields::number);
    let session = fields.finish(session)?;
    let acquire = Acquire {
        session,
        lock,
        mode: mode.unwrap_or(Mode::Exclusive),
        wait: wait.unwrap_or_default(),
        delay: delay.unwrap_or_default(),
        content: content.unwrap_or_default().into(),
    };
    Ok((acquire, ticket))
}

fn name(given: &str) -> Result<Name, Problem> {
    Name::new(given).map_err(|wrong| {
        let detail = format!("the lock's name in the path, {given:?}, {wrong}");
        Problem::at(Kind::Invalid, "/name", detail)
    })
}

fn item(name: &Name, lock: &Lock) -> Value {
    let delay = lock.delay().map(
        |delay| json!({"mode": delay.mode, "token": delay.token, "lasts_ms": millis(delay.lasts)}),
    );
    json!({
        "name": name,
        "newest": lock.newest(),
        "fence": lock.fence(),
        "holders": lock.holders().iter().map(holder).collect::<Vec<_>>(),
        "queue": lock.queue().map(claim).collect::<Vec<_>>(),
        "delay": delay,
    })
}

fn holder(holder: &Holder) -> Value {
    let mut value = claim(&holder.claim);
    value["token"] = json!(holder.token);
    value["since"] = json!(time(holder.since));
    value
}

fn claim(claim: &Claim) -> Value {
    json!({
        "session": claim.session,
        "ticket": claim.ticket,
        "mode": claim.mode,
        "content": &*claim.content,
    })
}
