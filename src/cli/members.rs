//! `synod members`: who votes, and orders to the leader.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::Failure;
use super::nodes::trouble;
use super::output::{cell, printable, table};
use super::progress::Progress;
use super::remote::{Remote, with};
use crate::client::Call;

/// How long newcomers may take to catch up unless --timeout says so.
const CATCH_UP: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    order: Option<Order>,
}

#[derive(clap::Subcommand)]
enum Order {
    /// Give followers a vote, all in one step; waits until they have caught up
    Add {
        /// Followers of the cluster
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Give a follower the vote of a voter, which may be dead, in one step
    Replace {
        /// The voter that leaves
        old: String,
        /// The follower that comes
        new: String,
    },
    /// Take the vote from voters, all in one step
    Remove {
        /// Voters
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Hand leadership over, to the most advanced voter unless one is named
    Transfer {
        /// The voter that is to lead
        name: Option<String>,
    },
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    match args.order {
        // Local, since a list of voters is wanted most when there is no quorum.
        None => {
            let answer = remote.get_with("/v1/members?consistency=local", &["items"])?;
            remote.output.print(&answer, text)
        }
        Some(Order::Add { names }) => change(remote, &names, &[]),
        Some(Order::Replace { old, new }) => change(remote, &[new], &[old]),
        Some(Order::Remove { names }) => change(remote, &[], &names),
        Some(Order::Transfer { name }) => {
            let call = Call::new(Method::POST, "/v1/members/transfer").json(json!({"to": name}));
            let answer = with(remote.call(call.ordering())?, &["leader"])?;
            remote
                .output
                .print(&answer, |body| format!("{} leads", cell(&body["leader"])))
        }
    }
}

fn change(remote: &Remote, add: &[String], remove: &[String]) -> Result<(), Failure> {
    let within = remote.timeout_or(CATCH_UP);
    let path = format!("/v1/members?timeout={}ms", within.as_millis());
    let call = Call::new(Method::POST, path).json(json!({"add": add, "remove": remove}));
    let comers = add.to_vec();
    let whom = match comers.is_empty() {
        true => "a majority of the voters".to_owned(),
        false => format!(
            "{} to catch up and a majority of the voters",
            comers.join(", ")
        ),
    };
    let what = format!("waiting for {whom}, {within:?} at most (--timeout)");
    let nodes = "/v1/nodes?consistency=local".to_owned();
    let line = move |nodes: &Value| behind(nodes, &comers);
    let progress = Progress::tell(remote, what, nodes, line)?;
    let answer = remote.call_within(call.ordering(), within);
    drop(progress);
    let answer = with(answer?, &["epoch"])?;
    remote.output.print(&answer, |body| {
        let come = add.iter().map(|name| format!("{name} votes"));
        let leave = remove.iter().map(|name| format!("{name} votes no more"));
        let all: Vec<String> = come.chain(leave).collect();
        format!(
            "{}; this is membership {}",
            all.join(", "),
            cell(&body["epoch"])
        )
    })
}

/// How far those are who are to vote.
fn behind(nodes: &Value, comers: &[String]) -> Option<String> {
    let nodes = nodes["items"].as_array().into_iter().flatten();
    let each = nodes.filter_map(|node| {
        let name = node["name"].as_str()?;
        let comes = comers.iter().any(|comer| comer == name);
        comes.then(|| format!("{} is {} slots behind", printable(name), node["lag"]))
    });
    let each: Vec<String> = each.collect();
    (!each.is_empty()).then(|| each.join(", "))
}

fn text(answer: &Value) -> String {
    let items = answer["items"].as_array().into_iter().flatten();
    let row = |item: &Value| {
        ["id", "name", "role", "peer", "lag"]
            .map(|field| cell(&item[field]))
            .into_iter()
            .chain([state(item)])
            .collect()
    };
    let rows = items.map(row).collect();
    let heading = ["ID", "NAME", "ROLE", "PEER", "LAG", "STATE"];
    table(&heading, rows, "no voters")
}

fn state(item: &Value) -> String {
    match (item["failed"].as_str(), &item["reachable"]) {
        (Some(reason), _) => reason.to_owned(),
        (None, Value::Bool(true)) => match trouble(item) {
            Some(trouble) => trouble.to_owned(),
            None => "voting".to_owned(),
        },
        (None, _) => "unreachable".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_are_to_vote_are_shown_with_what_they_lack() {
        let nodes = json!({"items": [
            {"name": "a", "lag": 0},
            {"name": "d", "lag": 12_340},
            {"name": "e", "lag": 3},
        ]});
        let comers = ["e", "d"].map(str::to_owned);
        let line = behind(&nodes, &comers);
        let expected = "d is 12340 slots behind, e is 3 slots behind";
        assert_eq!(line.as_deref(), Some(expected));
        assert_eq!(behind(&nodes, &["f".to_owned()]), None);
    }
}
