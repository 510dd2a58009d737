//! The history: who changed what, when and why, newest first, with what each revision changed.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::options::{PageOptions, ReadOptions};
use super::problem::{Kind, Problem};
use super::{AdminState, lists, read};
use crate::config::Revision;
use crate::config::policy::redact;
use crate::state::{At, Entry, Stamp};

pub(super) async fn list(
    State(state): State<AdminState>,
    page: PageOptions,
) -> Result<Response, Problem> {
    let after = match page.after.as_deref().map(str::parse::<u64>) {
        None => u64::MAX,
        Some(Ok(after)) => after,
        Some(Err(_)) => return Err(Problem::at(Kind::Malformed, "?after", "must be a revision")),
    };
    read::fresh(&state, page.consistency).await?;
    let (entries, next, revision) = state.replication.inspect(|machine| {
        let older = machine
            .history()
            .newest_first()
            .filter(|entry| entry.revision.0 < after)
            .cloned();
        let (entries, next) = lists::cut(page.limit, older, |entry| entry.revision.to_string());
        (entries, next, machine.revision())
    });
    let items: Vec<Value> = entries.iter().map(|entry| item(entry)).collect();
    Ok(Json(json!({"items": items, "next": next, "revision": revision})).into_response())
}

/// One entry, with the config as it was then.
pub(super) async fn get(
    State(state): State<AdminState>,
    Path(given): Path<String>,
    options: ReadOptions,
) -> Result<Response, Problem> {
    let revision = number(&given)?;
    let entry = entry(&state, &options, revision).await?;
    let config = read::history(&state).config_at(revision);
    let mut body = item(&entry);
    body["config"] = kept(config, revision)?.to_json();
    redact(&mut body);
    Ok(Json(body).into_response())
}

pub(super) async fn changes(
    State(state): State<AdminState>,
    Path(given): Path<String>,
    options: ReadOptions,
) -> Result<Response, Problem> {
    let revision = number(&given)?;
    let entry = entry(&state, &options, revision).await?;
    let mut body = json!({"revision": revision, "items": entry.changes(), "next": null});
    redact(&mut body);
    Ok(Json(body).into_response())
}

/// What the history says of a revision, or why it says nothing.
pub(super) fn kept<T>(answer: At<T>, revision: Revision) -> Result<T, Problem> {
    match answer {
        At::Found(found) => Ok(found),
        At::Compacted => Err(Problem::new(
            Kind::Compacted,
            format!("revision {revision} is older than the history that is kept"),
        )),
        At::Unknown => Err(Problem::not_found(format!("revision {revision}"))),
    }
}

async fn entry(
    state: &AdminState,
    options: &ReadOptions,
    revision: Revision,
) -> Result<Arc<Entry>, Problem> {
    read::fresh(state, options.consistency).await?;
    let entry = state
        .replication
        .inspect(|machine| match machine.history().entry(revision) {
            At::Found(entry) => At::Found(entry.clone()),
            At::Compacted => At::Compacted,
            At::Unknown => At::Unknown,
        });
    kept(entry, revision)
}

fn number(given: &str) -> Result<Revision, Problem> {
    given
        .parse()
        .map(Revision)
        .map_err(|_| Problem::not_found(format!("revision {given:?}")))
}

pub(super) fn item(entry: &Entry) -> Value {
    json!({
        "revision": entry.revision,
        "time": time(entry.stamp),
        "author": entry.author,
        "comment": entry.comment,
        "changed": changed(entry),
        "digest": entry.digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
    })
}

/// The resources that changed, each once: of a backend its pool.
fn changed(entry: &Entry) -> Vec<String> {
    let paths = entry.paths().into_iter();
    let resources = paths.map(|path| {
        let end = path.match_indices('/').nth(2);
        path[..end.map_or(path.len(), |(end, _)| end)].to_owned()
    });
    let mut changed: Vec<String> = resources.collect();
    changed.dedup();
    changed
}

/// RFC 3339; null for a stamp that no clock can have given.
pub(super) fn time(stamp: Stamp) -> Option<String> {
    let millisecond = i64::try_from(stamp.0).ok()?;
    jiff::Timestamp::from_millisecond(millisecond)
        .ok()
        .map(|time| time.to_string())
}
