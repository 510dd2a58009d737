//! `synod history`: who changed what, when and why.

use serde_json::Value;

use super::output::{cell, table};
use super::remote::{Read, Remote};
use super::{Failure, changes};
use crate::client::Call;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Show what this revision changed
    revision: Option<u64>,
    /// How many, newest first
    #[arg(long, default_value_t = 20)]
    limit: u32,
    #[command(flatten)]
    read: Read,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    match args.revision {
        None => {
            let path = format!("/v1/revisions?limit={}", args.limit);
            let call = Call::get(args.read.path(&path));
            let answer = args.read.call(remote, call, &["items"])?;
            remote.output.print(&answer, text)
        }
        Some(revision) => {
            let path = format!("/v1/revisions/{revision}/diff");
            let call = Call::get(args.read.path(&path));
            let answer = args.read.call(remote, call, &["items"])?;
            remote
                .output
                .print(&answer, |answer| changes::text(&answer["items"]))
        }
    }
}

/// Revisions as a table.
pub(super) fn text(answer: &Value) -> String {
    let items = answer["items"].as_array().into_iter().flatten();
    let rows = items
        .map(|item| {
            ["revision", "time", "author", "comment"]
                .map(|field| cell(&item[field]))
                .into()
        })
        .collect();
    table(
        &["REVISION", "TIME", "AUTHOR", "COMMENT"],
        rows,
        "no revisions yet",
    )
}
