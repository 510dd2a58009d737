//! `synod apply`: puts what a file names in one transaction; with `--replace`, makes the whole config equal to it.

use std::path::PathBuf;

use http::Method;
use serde_json::{Value, json};

use super::remote::{Remote, Write, with};
use super::{Failure, changes, file};
use crate::client::Call;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    candidate: Candidate,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    write: Write,
}

/// A config that is to be, as `apply` and `diff` are given it.
#[derive(clap::Args)]
pub(super) struct Candidate {
    /// Config file: JSON, YAML or TOML; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: PathBuf,
    /// The whole config is to be equal to the file: what it does not name goes
    #[arg(long)]
    pub(super) replace: bool,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let config = file::read(&args.candidate.file)?;
    let planned = dry_run(remote, &config, args.candidate.replace)?;
    if args.dry_run {
        return remote
            .output
            .print(&planned, |answer| changes::text(&answer["diff"]));
    }
    let answer = if args.candidate.replace {
        remote.write(Method::PUT, "/v1/config", Some(config), &args.write)?
    } else {
        remote.write(
            Method::POST,
            "/v1/transactions",
            Some(operations(&config)?),
            &args.write,
        )?
    };
    remote.output.print(&answer.body, |_| {
        let diff = changes::text(&planned["diff"]);
        format!("{diff}\nrevision {}", answer.revision)
    })
}

/// What applying would change, by the node's own reckoning: an answer with `diff`.
pub(super) fn dry_run(remote: &Remote, config: &Value, replace: bool) -> Result<Value, Failure> {
    let call = if replace {
        Call::new(Method::PUT, "/v1/config?dry_run=true").json(config.clone())
    } else {
        Call::new(Method::POST, "/v1/transactions?dry_run=true").json(operations(config)?)
    };
    with(remote.call(call.reading())?, &["diff"])
}

/// A put of every resource the file names. What is not of that shape goes to the node as it is, which tells all faults.
fn operations(config: &Value) -> Result<Value, Failure> {
    let Value::Object(fields) = config else {
        return Err(anyhow::anyhow!(
            "a config file is {{\"pools\": [...], \"routes\": [...], \"policies\": [...]}}"
        )
        .into());
    };
    let mut operations = Vec::new();
    for (kind, items) in fields {
        if !matches!(kind.as_str(), "pools" | "routes" | "policies") {
            return Err(anyhow::anyhow!(
                "unknown key `{kind}`; a config file has `pools`, `routes` and `policies`"
            )
            .into());
        }
        let Value::Array(items) = items else {
            return Err(anyhow::anyhow!("`{kind}` must be a list").into());
        };
        for (index, item) in items.iter().enumerate() {
            let name = item["name"]
                .as_str()
                .ok_or_else(|| anyhow::anyhow!("/{kind}/{index} has no `name`"))?;
            operations.push(json!({"op": "put", "path": format!("/{kind}/{name}"), "value": item}));
        }
    }
    Ok(Value::Array(operations))
}
