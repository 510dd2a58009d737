//! `/v1/nodes`: the group as this node last heard of it, with or without a quorum.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::options::{Consistency, NodeOptions};
use super::problem::Problem;
use super::wait::RENEWAL;
use super::{AdminState, read};
use crate::config::Revision;
use crate::replication::NodeReport;

pub(super) async fn list(
    State(state): State<AdminState>,
    options: NodeOptions,
) -> Result<Response, Problem> {
    // What a node that is behind has heard of the others is new all the same.
    let behind = match options.consistency {
        Consistency::Local => None,
        Consistency::Linearizable => read::led(&state).await?,
    };
    renew(&state).await;
    let nodes = state.replication.nodes();
    let known = known(&state, &nodes);
    let status = state.replication.status();
    let answers = state.metrics.answers();
    let [.., client_errors, errors] = answers;
    let body = json!({
        "items": nodes.iter().map(|node| item(node, known)).collect::<Vec<_>>(),
        "next": null,
        "leader": status.leader_name,
        "no_writes": no_writes(&nodes),
        "behind": behind,
        "cluster": status.cluster,
        "this": {
            "name": status.name,
            "state": status.state.to_string(),
            "decided": status.decided.0,
            "applied": status.applied.0,
            "follows": status.following.as_ref().and_then(|following| following.voter.as_deref()),
            "feeds": status.feeding,
            "requests": answers.iter().sum::<u64>(),
            "client_errors": client_errors,
            "errors": errors,
        },
    });
    Ok(Json(body).into_response())
}

/// The newest revision that this node knows of.
pub(super) fn known(state: &AdminState, nodes: &[NodeReport]) -> Revision {
    let served = nodes.iter().map(|node| node.applied).max();
    read::local(state).revision.max(served.unwrap_or_default())
}

/// What keeps it from its full part, where there is a config of revision `known`; `None` where it was never heard.
pub(super) fn state(node: &NodeReport, known: Revision) -> Option<&str> {
    // A config that it cannot build is told beside this.
    let starting = node.applied < known.min(Revision(1)) && node.rejected.is_none();
    let running = match starting {
        true => "starting: it has not told yet what it serves",
        false => "running",
    };
    let trouble = node.trouble.as_deref();
    node.heard.map(|_| trouble.unwrap_or(running))
}

/// Why nothing that is proposed can be committed, as far as this node was told; `None`: nothing speaks against it.
fn no_writes(nodes: &[NodeReport]) -> Option<String> {
    let voters: Vec<_> = nodes.iter().filter(|node| node.votes()).collect();
    let stores = |node: &NodeReport| node.is_reachable() && node.stores;
    let without: Vec<_> = voters.iter().filter(|node| !stores(node)).collect();
    let left = voters.len() - without.len();
    if 2 * left > voters.len() {
        return None;
    }
    let why = without.iter().map(|node| match &node.trouble {
        Some(trouble) if node.is_reachable() => format!("{}: {trouble}", node.name),
        _ => format!("{}: not heard of now", node.name),
    });
    let why = why.collect::<Vec<_>>().join("; ");
    let all = voters.len();
    Some(format!(
        "{left} of {all} voters can store what is written; {why}"
    ))
}

/// Has what this node knows of the others be as new as it can.
pub(super) async fn renew(state: &AdminState) {
    state.replication.renew_nodes(RENEWAL).await;
}

fn item(node: &NodeReport, known: Revision) -> Value {
    // A follower has no number yet.
    let id = match node.id {
        Some(id) => json!(id.0),
        None => json!(node.instance),
    };
    json!({
        "id": id,
        "name": node.name,
        "role": node.role.to_string(),
        "applied": node.applied,
        "digest": format!("{:016x}", node.digest),
        "lag": node.lag,
        "rejected": node.rejected.as_ref().map(|rejected| format!("revision {}: {}", rejected.revision, rejected.reason)),
        "slot": node.slot,
        "reachable": node.is_reachable(),
        "heard_ms": node.heard.map(|ago| ago.as_millis() as u64),
        "failed": node.failed,
        "state": state(node, known),
        "admin": node.admin.map(|admin| admin.to_string()),
        "peer": node.peer.as_ref().map(ToString::to_string),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::replication::NodeRole;

    fn voter(name: &str, heard: Option<u64>, trouble: Option<&str>) -> NodeReport {
        NodeReport {
            id: None,
            instance: String::new(),
            here: false,
            name: name.to_owned(),
            role: NodeRole::Voter,
            applied: Revision(1),
            slot: 1,
            digest: 0,
            lag: 0,
            rejected: None,
            fenced: 0,
            failed: None,
            trouble: trouble.map(str::to_owned),
            stores: trouble.is_none(),
            heard: heard.map(Duration::from_secs),
            admin: None,
            peer: None,
        }
    }

    #[test]
    fn a_node_that_serves_nothing_of_what_there_is_starts() {
        let well = voter("a", Some(0), None);
        let new = NodeReport {
            applied: Revision(0),
            ..well.clone()
        };
        let full = NodeReport {
            trouble: Some("disk full".to_owned()),
            ..new.clone()
        };
        let silent = NodeReport {
            heard: None,
            ..new.clone()
        };
        let told = |node: &NodeReport, known| state(node, Revision(known)).map(str::to_owned);
        assert_eq!(told(&well, 7).as_deref(), Some("running"));
        let starting = told(&new, 7);
        assert!(starting.is_some_and(|told| told.starts_with("starting")));
        assert_eq!(
            told(&new, 0).as_deref(),
            Some("running"),
            "there is nothing to serve"
        );
        assert_eq!(told(&full, 7).as_deref(), Some("disk full"));
        assert_eq!(told(&silent, 7), None);
    }

    #[test]
    fn writes_stand_still_where_most_voters_store_none() {
        let well = voter("a", Some(0), None);
        let full = voter("b", Some(1), Some("disk full"));
        let silent = voter("c", Some(9), None);
        assert_eq!(no_writes(&[well.clone(), full.clone(), well.clone()]), None);
        let why = no_writes(&[well.clone(), full.clone(), silent]);
        let why = why.expect("one of three is no majority");
        assert!(
            why.contains("1 of 3") && why.contains("b: disk full") && why.contains("c: not heard"),
            "{why}"
        );
        let follower = NodeReport {
            role: NodeRole::Follower,
            ..full
        };
        assert_eq!(no_writes(&[well, follower]), None, "it has no vote");
    }
}
