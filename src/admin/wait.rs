//! `?wait=`: from committed to served by every node, or to the end of a backend's last request.
//!
//! Waited for are all voters, and the followers heard of within the last minute but for those that stopped cleanly. One
//! that is silent is waited for like any other, since it may still serve the old revision; when the time is up it is
//! named, and the write is committed all the same.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use super::layers::{SYNOD_REVISION, revision_value};
use super::options::{Wait, WriteOptions};
use super::problem::{Kind, Problem};
use super::{AdminState, peers, status};
use crate::config::{Name, ResourcePath, Revision};
use crate::replication::NodeReport;

/// Between two looks at requests in flight, which tell nobody when they end.
const LOOK: Duration = Duration::from_millis(20);
/// Between two looks at the nodes when none has told anything.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a follower waits for its voter's list of the nodes.
pub(super) const RENEWAL: Duration = Duration::from_secs(1);

/// Waits, once `revision` is committed, for what the request asked; tells what was waited for.
pub(super) async fn after(
    state: &AdminState,
    options: &WriteOptions,
    revision: Revision,
    path: Option<&ResourcePath>,
    until: Instant,
) -> Result<Option<Value>, Problem> {
    if matches!(options.wait, Wait::None | Wait::Committed) {
        return Ok(None);
    }
    let not_in_time = |detail: String| {
        Problem::new(
            Kind::TimedOut,
            format!("revision {revision} is committed, but {detail}"),
        )
        .with("outcome", "committed")
        .with("revision", revision.0)
        .with("key", options.key.as_str())
        .header(SYNOD_REVISION, revision_value(revision))
    };
    let applied = applied(state, revision, until).await.map_err(|laggards| {
        let names = laggards.iter().map(
            |Laggard {
                 name, why, reason, ..
             }| match reason {
                Some(reason) => format!("{name} ({why}: {reason})"),
                None => format!("{name} ({why})"),
            },
        );
        not_in_time(format!(
            "not served by {}",
            names.collect::<Vec<_>>().join(", ")
        ))
        .with(
            "laggards",
            laggards.iter().map(Laggard::to_json).collect::<Vec<_>>(),
        )
    })?;
    match (options.wait, path) {
        (Wait::Empty, Some(ResourcePath::Backend(pool, id))) => {
            let emptied = empty(state, pool, id, until).await.map_err(|left| {
                let detail = format!(
                    "{pool}/{id} still has {} requests on {}",
                    left.in_flight, left.node
                );
                not_in_time(detail)
                    .with("node", left.node)
                    .with("in_flight", left.in_flight)
            })?;
            let unknown = emptied
                .unknown
                .iter()
                .map(|(name, why)| json!({"name": name, "why": why}));
            let unknown: Vec<Value> = unknown.collect();
            Ok(Some(
                json!({"applied": applied, "empty": emptied.names, "unknown": unknown}),
            ))
        }
        _ => Ok(Some(json!({"applied": applied}))),
    }
}

/// A node that does not serve the revision.
struct Laggard {
    name: String,
    applied: Revision,
    why: &'static str,
    reason: Option<String>,
}

impl Laggard {
    fn to_json(&self) -> Value {
        json!({"name": self.name, "applied": self.applied, "why": self.why, "reason": self.reason})
    }

    /// What the node's last report says of `revision`; `None` if it serves it.
    fn of(node: &NodeReport, revision: Revision) -> Option<Self> {
        if node.applied >= revision {
            return None;
        }
        let rejected = node
            .rejected
            .as_ref()
            .filter(|rejected| rejected.revision >= revision);
        let (why, reason) = if let Some(rejected) = rejected {
            ("rejected", Some(rejected.reason.clone()))
        } else if !node.is_reachable() {
            ("unreachable", None)
        } else if node.failed.is_some() {
            ("failed", node.failed.clone())
        } else {
            ("behind", node.trouble.clone())
        };
        Some(Self {
            name: node.name.clone(),
            applied: node.applied,
            why,
            reason,
        })
    }
}

/// The names of all nodes, once each serves `revision`; those that do not when the time is up, or as soon as nothing
/// is left to wait for.
async fn applied(
    state: &AdminState,
    revision: Revision,
    until: Instant,
) -> Result<Vec<String>, Vec<Laggard>> {
    let mut changed = state.replication.nodes_changed();
    loop {
        changed.mark_unchanged();
        let renewed = state.replication.renew_nodes(RENEWAL);
        let _ = timeout_at(until, renewed).await;
        let nodes = state.replication.nodes();
        let laggards: Vec<Laggard> = nodes
            .iter()
            .filter_map(|node| Laggard::of(node, revision))
            .collect();
        if laggards.is_empty() && !nodes.is_empty() {
            return Ok(nodes.into_iter().map(|node| node.name).collect());
        }
        let hopeless = laggards.iter().all(|laggard| laggard.why == "rejected");
        if hopeless || Instant::now() >= until {
            return Err(laggards);
        }
        // A follower hears of the others only when it asks.
        let look = if state.replication.status().following.is_some() {
            until.min(Instant::now() + LOOK)
        } else {
            until
        };
        // A node that falls silent, or is forgotten, tells nobody.
        let look = look.min(Instant::now() + PERIOD);
        // Cancelling the wait loses nothing: the reports are read afresh, and once more when the time is up.
        let _ = timeout_at(look, changed.changed()).await;
    }
}

/// Where the backend's last request has ended, and of which nodes that cannot be told.
#[derive(Default)]
struct Emptied {
    names: Vec<String>,
    unknown: Vec<(String, peers::Why)>,
}

/// Requests that are left when the time is up.
struct Left {
    node: String,
    in_flight: u64,
}

/// Waits for the last request of the backend, at whatever address it had, on one node after the other: none gets new
/// ones any more. A node that cannot be asked is not waited for, and is named.
async fn empty(
    state: &AdminState,
    pool: &Name,
    id: &Name,
    until: Instant,
) -> Result<Emptied, Left> {
    let mut emptied = Emptied::default();
    for node in state.replication.nodes() {
        loop {
            let asked = match node.admin {
                _ if node.here => Ok(status::in_flight(state, pool, id)),
                Some(admin) => peers::in_flight(&node.name, admin, pool, id).await,
                None => Err("it did not tell where its admin API listens"),
            };
            match asked {
                Ok(0) => break emptied.names.push(node.name),
                Ok(in_flight) if Instant::now() >= until => {
                    return Err(Left {
                        node: node.name,
                        in_flight,
                    });
                }
                Ok(_) => sleep(LOOK).await,
                Err(why) => break emptied.unknown.push((node.name, why)),
            }
        }
    }
    Ok(emptied)
}
