//! GET, PUT, PATCH and DELETE of one resource, whichever kind it is, and POST of a backend's state.
//!
//! A GET answers `{"spec", "status", "revision"}`, where `spec` is replicated, `status` is what this node sees, and
//! `revision` is when the spec last changed. A PUT takes the spec alone. `/v1/config` is its spec both ways.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::ETAG;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::body::JsonBody;
use super::conditions::{etag, unchanged};
use super::layers::{SYNOD_REVISION, revision_value};
use super::options::{ReadOptions, StateOptions, Wait, WriteOptions};
use super::problem::{Kind, Problem};
use super::target::Target;
use super::{AdminState, read, status, write};
use crate::config::policy::redact;
use crate::config::{Config, Operation, ResourcePath, Revision};

pub(super) async fn get(
    State(state): State<AdminState>,
    Target(path): Target,
    options: ReadOptions,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = read::view(&state, options.consistency).await?;
    let Some((spec, revision)) = find(&view.config, view.revision, &path) else {
        return Err(Problem::not_found(&path));
    };
    let head = [
        (ETAG, etag(revision)),
        (SYNOD_REVISION, revision_value(view.revision)),
    ];
    if unchanged(&headers, revision)? {
        return Ok((StatusCode::NOT_MODIFIED, head).into_response());
    }
    let body = match path {
        ResourcePath::Config => spec,
        path => {
            json!({"spec": spec, "status": status::of(&state, &view.config, &path), "revision": revision})
        }
    };
    Ok((head, Json(body)).into_response())
}

pub(super) async fn put(
    State(state): State<AdminState>,
    Target(path): Target,
    options: WriteOptions,
    JsonBody(spec): JsonBody,
) -> Result<Response, Problem> {
    write::single(&state, options, Operation::put(path, spec)).await
}

pub(super) async fn patch(
    State(state): State<AdminState>,
    Target(path): Target,
    options: WriteOptions,
    JsonBody(patch): JsonBody,
) -> Result<Response, Problem> {
    write::single(&state, options, Operation::patch(path, patch)).await
}

pub(super) async fn delete(
    State(state): State<AdminState>,
    Target(path): Target,
    options: WriteOptions,
) -> Result<Response, Problem> {
    write::single(&state, options, Operation::delete(path)).await
}

/// POST of `…/drain`, `…/ready` or `…/maint`.
pub(super) async fn set_state(
    word: &'static str,
    State(state): State<AdminState>,
    Target(path): Target,
    StateOptions(options): StateOptions,
) -> Result<Response, Problem> {
    if word == "ready" && options.wait == Wait::Empty {
        return Err(Problem::at(
            Kind::Malformed,
            "?wait",
            "a ready backend does not run empty; drain it or set it to maint",
        ));
    }
    write::single(
        &state,
        options,
        Operation::patch(path, json!({"state": word})),
    )
    .await
}

/// The spec as it is told, and when it last changed.
pub(super) fn find(
    config: &Config,
    current: Revision,
    path: &ResourcePath,
) -> Option<(Value, Revision)> {
    let (mut spec, revision) = find_whole(config, current, path)?;
    redact(&mut spec);
    Some((spec, revision))
}

/// As [`find`], with its secrets.
pub(super) fn find_whole(
    config: &Config,
    current: Revision,
    path: &ResourcePath,
) -> Option<(Value, Revision)> {
    match path {
        ResourcePath::Config => Some((config.to_json(), current)),
        ResourcePath::Pool(name) => config
            .pools
            .get(name)
            .map(|pool| (json!(pool.spec), pool.revision)),
        ResourcePath::Route(name) => config
            .routes
            .get(name)
            .map(|route| (json!(route.spec), route.revision)),
        ResourcePath::Policy(name) => config
            .policies
            .get(name)
            .map(|policy| (json!(policy.spec), policy.revision)),
        ResourcePath::Backend(name, id) => {
            let pool = config.pools.get(name)?;
            Some((json!(pool.spec.backend(id)?), pool.part(id)?))
        }
    }
}
