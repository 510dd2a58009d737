//! `synod status`: can the cluster agree, and does every node serve what was agreed.

use serde_json::{Value, json};

use super::Failure;
use super::remote::Remote;
use crate::client::Call;

#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(remote: &Remote, _args: Args) -> Result<(), Failure> {
    let local = remote.call(Call::get("/v1/nodes?consistency=local"))?;
    let agreed = remote.call(Call::get("/v1/nodes?consistency=linearizable"));
    let writable = match &agreed {
        Ok(_) => Value::Bool(true),
        Err(_) => Value::Bool(false),
    };
    let answer = agreed.unwrap_or(local);
    let report =
        json!({"writable": writable, "revision": answer.revision, "nodes": answer.body["items"]});
    remote.output.print(&report, |report| {
        let headline = match report["writable"] {
            Value::Bool(true) => format!("revision {}: writes work", report["revision"]),
            _ => format!(
                "revision {}: NO QUORUM, traffic goes on, writes do not",
                report["revision"]
            ),
        };
        format!(
            "{headline}\n\n{}",
            super::nodes::text(&json!({"items": report["nodes"]}))
        )
    })
}
