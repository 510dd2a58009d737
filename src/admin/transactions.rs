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
use super::{AdminState, preflight, read, resource, revisions, write};
use crate::config::policy::redact;
use crate::config::{Config, Operation, ResourcePath, Revision, Transaction, diff};

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

/// A new revision with the content of an old one, or with that of some of its resources.
pub(super) async fn rollback(
    State(state): State<AdminState>,
    mut options: WriteOptions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let (revision, only) = wanted(&body)?;
    let fresh = read::fresh(&state, Consistency::Linearizable).await;
    fresh.map_err(|problem| problem.with("outcome", "not_proposed"))?;
    let history = read::history(&state);
    // A slot that changed nothing has a content too, but whoever names it has mistyped.
    revisions::kept(history.entry(revision), revision)?;
    let config = revisions::kept(history.config_at(revision), revision)?;
    let what = match &only {
        None => String::new(),
        Some(only) => {
            let names: Vec<String> = only.iter().map(ResourcePath::to_string).collect();
            format!(" of {}", names.join(", "))
        }
    };
    if options.comment.is_empty() {
        options.comment = format!("rollback{what} to {revision}");
    }
    match only {
        None => {
            let whole = Operation::put(ResourcePath::Config, config.to_json());
            write::single(&state, options, whole).await
        }
        Some(only) => {
            let now = state
                .replication
                .inspect(|machine| machine.config().clone());
            let back = only.into_iter().enumerate();
            let back = back.map(|(at, path)| as_it_was(path, &config, &now, at));
            let operations = back.collect::<Result<_, _>>()?;
            write::several(&state, options, Transaction { operations }).await
        }
    }
}

/// Puts the resource as it is in `then`, or deletes it if it is not there.
fn as_it_was(
    path: ResourcePath,
    then: &Config,
    now: &Config,
    at: usize,
) -> Result<Operation, Problem> {
    let spec = |config: &Config| {
        let found = resource::find_whole(config, config.revision, &path);
        found.map(|(spec, _)| spec)
    };
    match (spec(then), spec(now)) {
        (Some(spec), _) => Ok(Operation::put(path, spec)),
        (None, Some(_)) => Ok(Operation::delete(path)),
        (None, None) => Err(Problem::at(
            Kind::Invalid,
            &format!("/only/{at}"),
            "must be there at that revision or now",
        )),
    }
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

/// `{"revision": 12}`, and `"only": ["/routes/shop"]`, but nothing else.
fn wanted(body: &Value) -> Result<(Revision, Option<Vec<ResourcePath>>), Problem> {
    let invalid = |at: &str, detail: &str| Problem::at(Kind::Invalid, at, detail);
    let number = body.get("revision").and_then(Value::as_u64);
    let detail = "must be the number of the revision to go back to";
    let revision = Revision(number.ok_or_else(|| invalid("/revision", detail))?);
    let mut names = body
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.keys());
    if let Some(other) = names.find(|name| !["revision", "only"].contains(&name.as_str())) {
        let at = format!("/{other}");
        return Err(invalid(
            &at,
            "unknown field; known are `revision` and `only`",
        ));
    }
    let Some(only) = body.get("only") else {
        return Ok((revision, None));
    };
    let detail = "must be a list of resources such as \"/routes/shop\", one at least";
    let list = only.as_array().filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| invalid("/only", detail))?;
    let path = |(at, value): (usize, &Value)| {
        let path = value.as_str().and_then(|text| text.parse().ok());
        let whole =
            |path: &ResourcePath| !matches!(path, ResourcePath::Config | ResourcePath::Backend(..));
        let detail = "must be a pool, a route or a policy, such as \"/routes/shop\"";
        path.filter(whole)
            .ok_or_else(|| invalid(&format!("/only/{at}"), detail))
    };
    let only = list
        .iter()
        .enumerate()
        .map(path)
        .collect::<Result<_, _>>()?;
    Ok((revision, Some(only)))
}
