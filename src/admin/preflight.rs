//! What a change would come to, tried on this node before anything is proposed: parsed, applied, compiled.
//!
//! Consensus carries a poisonous entry to every node at once, so nothing that fails here is proposed. This node may
//! be behind; it therefore refuses only after it has seen all that was acknowledged before.

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::layers::{SYNOD_REVISION, revision_value};
use super::options::WriteOptions;
use super::problem::{Kind, Problem};
use super::write::Write;
use super::{AdminState, outcome, read};
use crate::config::policy::redact;
use crate::config::{
    Action, Config, Fault, Faults, Name, Next, Rejection, ResourcePath, Revision, diff,
};
use crate::replication::Unavailable;
use crate::routing::{self, CompileError};
use crate::state::Glance;

/// Above this many resources that differ from those in force compiling is work for a thread of its own.
const INLINE: usize = 100;

/// The config before and after.
pub(super) struct Tried {
    pub(super) before: Arc<Config>,
    pub(super) after: Next,
}

/// Why it would not come to pass.
pub(super) enum Refused {
    /// The config says no. What is decided by then may change its mind.
    Rejected(Rejection),
    /// No data plane could serve the result.
    Unservable(Problem),
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Rejected(rejection) => outcome::rejected(rejection),
            Refused::Unservable(problem) => problem,
        }
    }
}

/// Refuses what would fail.
///
/// A client's own key may be of a write that was made already, and then its answer is wanted, not what it would come
/// to now: only the state machine can tell.
pub(super) async fn check(
    state: &AdminState,
    write: &Write,
    options: &WriteOptions,
    quorum_by: Instant,
) -> Result<(), Problem> {
    match attempt(state, write).await {
        Ok(_) => return Ok(()),
        Err(Refused::Rejected(_)) if options.retried => return Ok(()),
        Err(_) => {}
    }
    barrier(state, quorum_by).await.map_err(|error| {
        outcome::unavailable(
            read::kind(&error),
            &format!("{error}; nothing was changed; traffic goes on; retry"),
            "not_proposed",
            &options.key,
        )
    })?;
    attempt(state, write).await?;
    Ok(())
}

/// Answers what the change would do, and proposes nothing.
pub(super) async fn dry_run(
    state: &AdminState,
    write: &Write,
    quorum_by: Instant,
) -> Result<Response, Problem> {
    barrier(state, quorum_by).await.map_err(|error| {
        Problem::new(read::kind(&error), format!("{error}; nothing was changed")).retry_after(1)
    })?;
    let Tried { before, after } = attempt(state, write).await?;
    let changes = diff(&before, &after.config);
    let mut body = json!({
        "dry_run": true,
        "revision": before.revision,
        "changed": !changes.is_empty(),
        "effects": after.effects,
        "diff": changes,
    });
    redact(&mut body);
    Ok((
        [(SYNOD_REVISION, revision_value(before.revision))],
        Json(body),
    )
        .into_response())
}

/// From here on this node knows all that was acknowledged before.
async fn barrier(state: &AdminState, quorum_by: Instant) -> Result<(), Unavailable> {
    let within = quorum_by.saturating_duration_since(Instant::now());
    state.replication.read_barrier(within).await
}

/// What the change would make of the config this node knows.
pub(super) async fn attempt(state: &AdminState, write: &Write) -> Result<Tried, Refused> {
    let Glance {
        config: before,
        applied: slot,
        ..
    } = state.replication.glance();
    let after = before
        .apply(Revision(slot + 1), &write.transaction)
        .map_err(|rejection| {
            Refused::Rejected(if write.path.is_some() {
                rejection.of_single()
            } else {
                rejection
            })
        })?;
    compile(state, &before, &after.config, write)
        .await
        .map_err(Refused::Unservable)?;
    Ok(Tried { before, after })
}

/// Compiles against a scratch registry: nothing that serves is touched.
///
/// What was there `before` was compiled by whoever proposed it. In a burst of writes the config that is served is many
/// behind: each of them would compile what all those between have changed.
async fn compile(
    state: &AdminState,
    before: &Config,
    config: &Config,
    write: &Write,
) -> Result<(), Problem> {
    let sound = !state.replication.rejects();
    let alone = sound.then(|| routing::check_pools(before, config, &state.registry, INLINE));
    let checked = match alone.flatten() {
        Some(checked) => checked,
        None => compile_whole(state, config).await?,
    };
    checked.map_err(|error| {
        Problem::invalid(Faults(vec![Fault {
            pointer: place(write, &error),
            detail: error.to_string(),
        }]))
    })
}

/// Compiles all that differs from what is served.
async fn compile_whole(
    state: &AdminState,
    config: &Config,
) -> Result<Result<(), CompileError>, Problem> {
    let previous = state.cell.load();
    if previous.differences(config) <= INLINE {
        return Ok(routing::check(config, &state.registry, Some(&previous)));
    }
    let (config, registry) = (config.clone(), state.registry.clone());
    let check = move || routing::check(&config, &registry, Some(&previous));
    let checked = tokio::task::spawn_blocking(check).await;
    checked.map_err(|error| {
        let detail = format!("this is a bug of Synod: compiling the config failed: {error}");
        Problem::new(Kind::Internal, detail)
    })
}

/// Where what cannot be served stands in what was sent; empty where it was there before.
fn place(write: &Write, error: &CompileError) -> String {
    let Some((pool, field)) = error.place() else {
        return String::new();
    };
    let operations = write.transaction.operations.iter().enumerate();
    let found = operations.rev().find_map(|(index, operation)| {
        let (Action::Put(value) | Action::Patch(value)) = &operation.action else {
            return None;
        };
        let root = match write.path {
            Some(_) => String::new(),
            None => format!("/{index}/value"),
        };
        match &operation.path {
            ResourcePath::Pool(name) if name == pool => Some(format!("{root}/{field}")),
            ResourcePath::Config => {
                let listed = listed(&value["pools"], pool)?;
                Some(format!("{root}/pools/{listed}/{field}"))
            }
            _ => None,
        }
    });
    found.unwrap_or_default()
}

/// By its place in a list, or by its name in a patch.
fn listed(pools: &Value, name: &Name) -> Option<String> {
    if let Some(patches) = pools.as_object() {
        return patches.get(name.as_str()).map(|_| name.to_string());
    }
    let mut pools = pools.as_array()?.iter();
    let index = pools.position(|pool| pool["name"] == name.as_str())?;
    Some(index.to_string())
}
