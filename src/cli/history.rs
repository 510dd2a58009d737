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

/// More resources than this are counted, not named.
const NAMED: usize = 3;

/// The resources of a revision, as `rollback --only` takes them.
fn changed(paths: &Value) -> String {
    let paths: Vec<&str> = paths
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut named: Vec<&str> = paths
        .iter()
        .take(NAMED)
        .map(|path| path.trim_start_matches('/'))
        .collect();
    let more = paths.len().saturating_sub(NAMED);
    let more = format!("and {more} more");
    if paths.len() > NAMED {
        named.push(&more);
    }
    named.join(" ")
}

/// Revisions as a table.
pub(super) fn text(answer: &Value) -> String {
    let items = answer["items"].as_array().into_iter().flatten();
    let rows = items
        .map(|item| {
            let [revision, time, author, comment] =
                ["revision", "time", "author", "comment"].map(|field| cell(&item[field]));
            vec![revision, time, author, changed(&item["changed"]), comment]
        })
        .collect();
    table(
        &["REVISION", "TIME", "AUTHOR", "CHANGED", "COMMENT"],
        rows,
        "no revisions yet",
    )
}
