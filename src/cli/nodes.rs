//! `synod nodes`.

use serde_json::Value;

use super::Failure;
use super::output::{cell, table};
use super::remote::Remote;

#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(remote: &Remote, _args: Args) -> Result<(), Failure> {
    // Local, since a list of nodes is wanted most when there is no quorum.
    let answer = remote.get("/v1/nodes?consistency=local")?;
    remote.output.print(&answer, text)
}

/// Nodes as a table.
pub(super) fn text(answer: &Value) -> String {
    let items = answer["items"].as_array().into_iter().flatten();
    let rows = items
        .map(|item| {
            let starting = trouble(item).is_some_and(|told| told.starts_with("starting"));
            let known = |field| match item["heard_ms"] {
                Value::Null => "-".into(),
                _ if starting => "-".into(),
                _ => cell(&item[field]),
            };
            vec![
                cell(&item["id"]),
                cell(&item["name"]),
                cell(&item["role"]),
                known("applied"),
                known("lag"),
                known("digest"),
                state(item),
            ]
        })
        .collect();
    let heading = ["ID", "NAME", "ROLE", "APPLIED", "LAG", "DIGEST", "STATE"];
    table(&heading, rows, "no nodes")
}

/// What is wrong with a node, the worst first.
fn state(item: &Value) -> String {
    let told = |field| item[field].as_str();
    match (told("failed"), &item["reachable"], told("rejected")) {
        (Some(reason), ..) => reason.to_owned(),
        (None, Value::Bool(false), _) => match item["heard_ms"].as_u64() {
            Some(ago) => format!("unreachable, last heard {} s ago", ago / 1000),
            None => "never heard".to_owned(),
        },
        (None, _, Some(rejected)) => format!("rejected {rejected}"),
        (None, ..) => trouble(item).unwrap_or("serving").to_owned(),
    }
}

/// What keeps a node's replica from its full part.
pub(super) fn trouble(item: &Value) -> Option<&str> {
    item["state"].as_str().filter(|state| *state != "running")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_that_starts_is_not_said_to_serve_without_lag() {
        let node = |state: &str| {
            json!({"items": [{"id": 2, "name": "b", "role": "voter", "applied": 0, "lag": 0, "heard_ms": 5,
                              "digest": "0000000000000000", "reachable": true, "state": state}]})
        };
        let starting = text(&node("starting: it has not told yet what it serves"));
        let row = starting.lines().last().unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(
            cells[..7],
            ["2", "b", "voter", "-", "-", "-", "starting:"],
            "{row}"
        );
        assert!(text(&node("running")).contains("serving"));
    }
}
