//! `synod get KIND [NAME]`.

mod locks;

use serde_json::Value;

use super::Failure;
use super::backend::name_of;
use super::output::{cell, table};
use super::remote::{Read, Remote};
use crate::client::Call;

#[derive(clap::Args)]
pub(super) struct Args {
    /// What to show
    #[arg(value_enum)]
    kind: Kind,
    /// Only this one
    name: Option<String>,
    /// How many of a list [default: 1000]
    #[arg(long, value_name = "N", conflicts_with = "name")]
    limit: Option<u32>,
    #[command(flatten)]
    read: Read,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    #[value(alias = "pool")]
    Pools,
    #[value(alias = "route")]
    Routes,
    #[value(alias = "policy")]
    Policies,
    #[value(alias = "node")]
    Nodes,
    #[value(alias = "revision")]
    Revisions,
    #[value(alias = "lock")]
    Locks,
    #[value(alias = "session")]
    Sessions,
    Config,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let path = match args.kind {
        Kind::Pools => "/v1/pools",
        Kind::Routes => "/v1/routes",
        Kind::Policies => "/v1/policies",
        Kind::Nodes => "/v1/nodes",
        Kind::Revisions => "/v1/revisions",
        Kind::Locks => "/v1/locks",
        Kind::Sessions => "/v1/sessions",
        Kind::Config => "/v1/config",
    };
    let path = match &args.name {
        Some(name) => format!("{path}/{}", name_of(name)?),
        None => {
            let limit = args.limit.map(|limit| format!("?limit={limit}"));
            format!("{path}{}", limit.unwrap_or_default())
        }
    };
    let fields = match (args.kind, &args.name) {
        (Kind::Config, _) => &["pools", "routes"][..],
        (_, None) => &["items"],
        (Kind::Pools | Kind::Routes | Kind::Policies, _) => &["spec"],
        (Kind::Nodes | Kind::Locks, _) => &["name"],
        (Kind::Sessions, _) => &["session"],
        (Kind::Revisions, _) => &["revision"],
    };
    let answer = args
        .read
        .call(remote, Call::get(args.read.path(&path)), fields)?;
    remote.output.print(&answer, |answer| {
        let text = text(&args, answer);
        match answer["next"].is_null() {
            true => text,
            false => format!("{}\nand more: --limit shows up to 10000", text.trim_end()),
        }
    })
}

fn text(args: &Args, answer: &Value) -> String {
    match (args.kind, &args.name) {
        (Kind::Pools, None) => pools(answer),
        (Kind::Pools, Some(_)) => pool(answer),
        (Kind::Routes, None) => routes(items(answer)),
        (Kind::Routes, Some(_)) => routes(std::slice::from_ref(answer)),
        (Kind::Policies, None) => policies(items(answer)),
        (Kind::Policies, Some(_)) => policies(std::slice::from_ref(answer)),
        (Kind::Nodes, _) => super::nodes::text(answer),
        (Kind::Revisions, None) => super::history::text(answer),
        (Kind::Locks, None) => locks::list(items(answer)),
        (Kind::Locks, Some(_)) => locks::one(answer),
        (Kind::Sessions, None) => locks::sessions(items(answer)),
        (Kind::Sessions, Some(_)) => locks::sessions(std::slice::from_ref(answer)),
        (Kind::Revisions | Kind::Config, _) => {
            serde_json::to_string_pretty(answer).unwrap_or_default()
        }
    }
}

fn items(answer: &Value) -> &[Value] {
    answer["items"].as_array().map_or(&[], Vec::as_slice)
}

fn pools(answer: &Value) -> String {
    let rows = items(answer)
        .iter()
        .map(|item| {
            let backends = item["spec"]["backends"]
                .as_array()
                .map_or(&[][..], Vec::as_slice);
            let ready = backends.iter().filter(|backend| is_ready(backend)).count();
            vec![
                cell(&item["spec"]["name"]),
                cell(&item["spec"]["balance"]),
                format!("{ready}/{}", backends.len()),
                cell(&item["revision"]),
            ]
        })
        .collect();
    table(&["POOL", "BALANCE", "READY", "REVISION"], rows, "no pools")
}

fn is_ready(backend: &Value) -> bool {
    matches!(backend["state"].as_str(), None | Some("ready")) && backend["weight"] != 0
}

fn pool(answer: &Value) -> String {
    let spec = &answer["spec"];
    let status = answer["status"]["backends"].as_array();
    let rows = spec["backends"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|backend| {
            let status = status
                .and_then(|items| items.iter().find(|item| item["id"] == backend["id"]))
                .unwrap_or(&Value::Null);
            vec![
                cell(&backend["id"]),
                cell(&backend["address"]),
                backend.get("weight").map_or("1".into(), cell),
                backend.get("state").map_or("ready".into(), cell),
                health(status),
                cell(&status["in_flight"]),
            ]
        });
    let rows = table(
        &[
            "BACKEND",
            "ADDRESS",
            "WEIGHT",
            "STATE",
            "HEALTH",
            "IN FLIGHT",
        ],
        rows.collect(),
        "no backends",
    );
    let panic = match answer["status"]["panic"].as_bool() {
        Some(true) => ", in panic: too few are up, so those that are down are used too",
        _ => "",
    };
    format!(
        "{} ({}), revision {}{panic}\n{rows}",
        cell(&spec["name"]),
        cell(&spec["balance"]),
        cell(&answer["revision"])
    )
}

/// With the last failure, if it has not been made good.
fn health(status: &Value) -> String {
    match status["health_reason"].as_str() {
        Some(reason) => format!("{}: {reason}", cell(&status["health"])),
        None => cell(&status["health"]),
    }
}

fn routes(items: &[Value]) -> String {
    let rows = items
        .iter()
        .map(|item| {
            let spec = &item["spec"];
            let hosts = spec["match"]["hosts"]
                .as_array()
                .map_or(&[][..], Vec::as_slice);
            let hosts: Vec<String> = hosts.iter().map(cell).collect();
            let path = &spec["match"]["path"];
            let path = match (&path["exact"], &path["regex"], &path["prefix"]) {
                (Value::String(exact), ..) => format!("= {exact}"),
                (_, Value::String(regex), _) => format!("~ {regex}"),
                (.., Value::String(prefix)) => format!("{prefix}..."),
                _ => "/...".into(),
            };
            let to = spec["to"].as_array().into_iter().flatten();
            let to: Vec<String> = to
                .map(|target| match &target["weight"] {
                    Value::Null => cell(&target["pool"]),
                    weight => format!("{}:{weight}", cell(&target["pool"])),
                })
                .collect();
            vec![
                cell(&spec["name"]),
                if hosts.is_empty() {
                    "*".into()
                } else {
                    hosts.join(" ")
                },
                path,
                match (spec.get("redirect"), spec.pointer("/respond/status")) {
                    (None, Some(status)) => format!("answers {status}"),
                    _ if to.is_empty() => "redirected".into(),
                    _ => to.join(" "),
                },
                cell(&item["revision"]),
            ]
        })
        .collect();
    table(
        &["ROUTE", "HOSTS", "PATH", "TO", "REVISION"],
        rows,
        "no routes",
    )
}

/// What each has beside its name, and how many routes share it.
fn policies(items: &[Value]) -> String {
    let row = |item: &Value| {
        let fields = item["spec"].as_object().into_iter().flatten();
        let fields = fields.map(|(name, _)| name.as_str());
        let fields: Vec<&str> = fields.filter(|name| *name != "name").collect();
        vec![
            cell(&item["spec"]["name"]),
            fields.join(" "),
            cell(&item["status"]["routes"]),
            cell(&item["revision"]),
        ]
    };
    let rows = items.iter().map(row).collect();
    let head = ["POLICY", "HAS", "ROUTES", "REVISION"];
    table(&head, rows, "no policies")
}
