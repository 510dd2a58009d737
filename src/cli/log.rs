//! `synod log inspect DIR`: what is in a data directory, as a start would find it.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Failure;
use super::output::{cell, table};
use super::remote::Remote;
use crate::node::offline::{self, Directory, Line, Log};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Show whose it is, what it has promised and holds, what is damaged, and the entries of its log. Changes nothing;
    /// exit code 1 if the log is damaged
    Inspect(Inspect),
}

#[derive(clap::Args)]
pub(super) struct Inspect {
    /// The data directory
    #[arg(value_name = "DIR", default_value = "synod-data")]
    directory: PathBuf,
    /// Show entries from this slot on [default: the last of them]
    #[arg(long, value_name = "SLOT")]
    from: Option<u64>,
    /// Show so many entries at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u64,
}

pub(super) fn run(remote: &Remote, command: Command) -> Result<(), Failure> {
    let Command::Inspect(args) = command;
    let found = offline::inspect(&args.directory)?;
    let lines = match &found.log {
        Err(_) => Vec::new(),
        Ok(log) => {
            let last_ones = log.last.saturating_sub(args.limit) + 1;
            let from = args.from.unwrap_or(last_ones);
            log.lines(from).take(args.limit as usize).collect()
        }
    };
    remote.output.print(&whole(&found, &lines), text)?;
    match &found.log {
        Ok(log) if log.damage.is_none() => Ok(()),
        // The answer says what.
        _ => Err(Failure::Command(1)),
    }
}

fn whole(found: &Directory, lines: &[Line]) -> Value {
    let Directory {
        identity,
        files,
        checkpoints,
        log,
    } = found;
    let voters = identity
        .voters
        .iter()
        .map(|(id, name, address)| json!({"id": id, "name": name, "address": address}));
    let checkpoints = checkpoints.iter().map(|(slot, read)| match read {
        Ok(bytes) => json!({"slot": slot, "bytes": bytes, "damage": null}),
        Err(damage) => json!({"slot": slot, "bytes": null, "damage": damage}),
    });
    let files = files
        .iter()
        .map(|(name, bytes)| json!({"name": name, "bytes": bytes}));
    json!({
        "cluster": identity.cluster,
        "name": identity.name,
        "id": identity.id,
        "incarnation": identity.incarnation,
        "epoch": identity.epoch,
        "voters": voters.collect::<Vec<_>>(),
        "files": files.collect::<Vec<_>>(),
        "checkpoints": checkpoints.collect::<Vec<_>>(),
        "log": match log {
            Ok(log) => facts(log),
            Err(error) => json!({"error": error}),
        },
        "entries": lines.iter().map(entry).collect::<Vec<_>>(),
    })
}

fn facts(log: &Log) -> Value {
    json!({
        "promised": log.promised,
        "synced": log.synced,
        "damage": log.damage,
        "first": log.start,
        "last": log.last,
        "decided": log.decided,
        "checkpoint": log.checkpoint,
    })
}

fn entry(line: &Line) -> Value {
    json!({
        "slot": line.slot,
        "ballot": line.ballot,
        "kind": line.kind,
        "what": line.what,
        "bytes": line.bytes,
    })
}

fn text(found: &Value) -> String {
    let items = |field: &str| found[field].as_array().cloned().unwrap_or_default();
    let rows = |values: Vec<Value>, fields: &[&str]| -> Vec<Vec<String>> {
        let row = |value: &Value| fields.iter().map(|field| cell(&value[*field])).collect();
        values.iter().map(row).collect()
    };
    let log = &found["log"];
    let mut text = format!(
        "cluster {}, node {} (number {}), start {}, membership {}\n",
        cell(&found["cluster"]),
        cell(&found["name"]),
        cell(&found["id"]),
        cell(&found["incarnation"]),
        cell(&found["epoch"]),
    );
    match &log["error"] {
        Value::String(error) => text += &format!("the log cannot be opened: {error}\n"),
        _ => {
            text += &format!(
                "promised {}, in sync with the leader of {}\nslots {} to {}, decided through {}, goes on from the checkpoint of slot {}\n",
                cell(&log["promised"]),
                cell(&log["synced"]),
                cell(&log["first"]),
                cell(&log["last"]),
                cell(&log["decided"]),
                cell(&log["checkpoint"]),
            );
        }
    }
    if let Value::String(damage) = &log["damage"] {
        text += &format!("DAMAGED: {damage}\n");
    }
    let parts = [
        ("voters", &["id", "name", "address"][..]),
        ("checkpoints", &["slot", "bytes", "damage"][..]),
        ("files", &["name", "bytes"][..]),
        ("entries", &["slot", "ballot", "kind", "bytes", "what"][..]),
    ];
    for (name, fields) in parts {
        let heading: Vec<String> = fields.iter().map(|field| field.to_uppercase()).collect();
        let heading: Vec<&str> = heading.iter().map(String::as_str).collect();
        let none = format!("no {name}");
        text += &format!(
            "\n{}\n",
            table(&heading, rows(items(name), fields), &none).trim_end()
        );
    }
    text
}
