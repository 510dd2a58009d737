//! `synod status`: can the cluster agree, and does every node serve what was agreed.

use serde_json::json;

use super::Failure;
use super::remote::Remote;
use crate::client::Call;

#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(remote: &Remote, _args: Args) -> Result<(), Failure> {
    let agreed = remote.call(Call::get("/v1/nodes?consistency=linearizable"));
    let (answer, why) = match agreed {
        // A leader with a majority may still find that most of it has no room for what it proposes.
        Ok(answer) => {
            let why = answer.body["no_writes"].clone();
            (answer, why)
        }
        // Only now: the list is of the time that the headline speaks of.
        Err(Failure::Failed(error) | Failure::TimedOut(error)) => {
            let local = remote.call(Call::get("/v1/nodes?consistency=local"))?;
            (local, format!("{error:#}").into())
        }
        Err(other) => return Err(other),
    };
    let report = json!({
        "writable": why.is_null(),
        "why": why,
        "revision": answer.revision,
        "nodes": answer.body["items"],
        "this": answer.body["this"],
    });
    remote.output.print(&report, |report| {
        let revision = &report["revision"];
        let headline = match report["why"].as_str() {
            None => format!("revision {revision}: writes work"),
            Some(why) => format!("revision {revision}: NO WRITES, traffic goes on\n{why}"),
        };
        format!(
            "{headline}\n\n{}",
            super::nodes::text(&json!({"items": report["nodes"]}))
        )
    })
}
