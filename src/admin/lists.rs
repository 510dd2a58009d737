//! Lists: `{"items": […], "next"}` in the order of names.
//!
//! `?limit=` bounds a page; `next` is the value of `?after=` for the page behind it, null on the last.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::ETAG;
use serde_json::{Value, json};

use super::conditions::etag;
use super::layers::{SYNOD_REVISION, revision_value};
use super::options::{PageOptions, ReadOptions};
use super::problem::Problem;
use super::target::Target;
use super::{AdminState, read, resource, status};
use crate::config::{Name, ResourcePath, Revision};
use crate::state::Locks;

pub(super) async fn pools(
    State(state): State<AdminState>,
    page: PageOptions,
) -> Result<Response, Problem> {
    let view = read::view(&state, page.consistency).await?;
    let paths = view
        .config
        .pools
        .keys()
        .map(|name| (name, ResourcePath::Pool(name.clone())));
    let status = |path: &ResourcePath| status::of(&state, &view.config, path);
    Ok(answer(&view, &page, view.revision, paths, status))
}

pub(super) async fn routes(
    State(state): State<AdminState>,
    page: PageOptions,
) -> Result<Response, Problem> {
    let view = read::view(&state, page.consistency).await?;
    let paths = view
        .config
        .routes
        .keys()
        .map(|name| (name, ResourcePath::Route(name.clone())));
    let status = |path: &ResourcePath| status::of(&state, &view.config, path);
    Ok(answer(&view, &page, view.revision, paths, status))
}

pub(super) async fn policies(
    State(state): State<AdminState>,
    page: PageOptions,
) -> Result<Response, Problem> {
    let view = read::view(&state, page.consistency).await?;
    let paths = view
        .config
        .policies
        .keys()
        .map(|name| (name, ResourcePath::Policy(name.clone())));
    let shared = status::Shared::count(&state.cell.load());
    let status = |path: &ResourcePath| shared.status(path);
    Ok(answer(&view, &page, view.revision, paths, status))
}

pub(super) async fn backends(
    State(state): State<AdminState>,
    Target(path): Target,
    page: PageOptions,
) -> Result<Response, Problem> {
    let view = read::view(&state, page.consistency).await?;
    let pool = match &path {
        ResourcePath::Pool(name) => view.config.pools.get(name),
        _ => None,
    };
    let Some(pool) = pool else {
        return Err(Problem::not_found(&path));
    };
    let name = &pool.spec.name;
    let mut ids: Vec<&Name> = pool
        .spec
        .backends
        .iter()
        .map(|backend| &backend.id)
        .collect();
    ids.sort_unstable();
    let paths = ids
        .into_iter()
        .map(|id| (id, ResourcePath::Backend(name.clone(), id.clone())));
    let status = |path: &ResourcePath| status::of(&state, &view.config, path);
    Ok(answer(&view, &page, pool.revision, paths, status))
}

fn answer<'a>(
    view: &read::View,
    page: &PageOptions,
    changed: Revision,
    paths: impl Iterator<Item = (&'a Name, ResourcePath)>,
    status: impl Fn(&ResourcePath) -> Value,
) -> Response {
    let after = page.after.as_deref().unwrap_or("");
    let paths = paths.filter(|(name, _)| name.as_str() > after);
    let (paths, next) = cut(page.limit, paths, |(name, _)| name.to_string());
    let items = paths.into_iter().filter_map(|(_, path)| {
        let (spec, revision) = resource::find(&view.config, view.revision, &path)?;
        Some(json!({"spec": spec, "status": status(&path), "revision": revision}))
    });
    let head = [
        (ETAG, etag(changed)),
        (SYNOD_REVISION, revision_value(view.revision)),
    ];
    let body = json!({"items": items.collect::<Vec<Value>>(), "next": next});
    (head, Json(body)).into_response()
}

/// A page of what the lock service holds, and the slot it is of: watched from there on, nothing is missed.
pub(super) async fn held(
    state: &AdminState,
    page: &PageOptions,
    all: impl FnOnce(&Locks) -> Keyed<'_>,
) -> Result<Response, Problem> {
    read::fresh(state, page.consistency).await?;
    let (items, next, slot) = state.replication.inspect(|machine| {
        let all = all(machine.locks());
        let (items, next) = cut(page.limit, all, |(key, _)| key.clone());
        (items, next, machine.applied())
    });
    let items: Vec<Value> = items.into_iter().map(|(_, item)| item).collect();
    Ok(Json(json!({"items": items, "next": next, "slot": slot})).into_response())
}

/// Items by what `?after=` names them.
pub(super) type Keyed<'a> = Box<dyn Iterator<Item = (String, Value)> + 'a>;

/// One thing that the lock service holds.
pub(super) async fn one_held(
    state: &AdminState,
    options: &ReadOptions,
    missing: Problem,
    find: impl FnOnce(&Locks) -> Option<Value>,
) -> Result<Response, Problem> {
    read::fresh(state, options.consistency).await?;
    let found = state.replication.inspect(|machine| find(machine.locks()));
    Ok(Json(found.ok_or(missing)?).into_response())
}

/// At most `limit` of `items`, and what asks for those behind them.
pub(super) fn cut<T>(
    limit: usize,
    items: impl Iterator<Item = T>,
    key: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let mut items = items.peekable();
    let taken: Vec<T> = items.by_ref().take(limit).collect();
    let next = items.peek().and(taken.last()).map(key);
    (taken, next)
}
