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
            ["id", "name", "role", "applied", "lag", "digest", "rejected"]
                .map(|field| cell(&item[field]))
                .into()
        })
        .collect();
    table(
        &["ID", "NAME", "ROLE", "APPLIED", "LAG", "DIGEST", "REJECTED"],
        rows,
        "no nodes",
    )
}
