//! `synod status`: can the cluster agree, and does every node serve what was agreed.

use serde_json::{Value, json};

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
        "behind": answer.body["behind"],
        "nodes": answer.body["items"],
        "this": answer.body["this"],
    });
    remote.output.print(&report, text)
}

fn text(report: &Value) -> String {
    let revision = &report["revision"];
    let headline = match report["why"].as_str() {
        None => format!("revision {revision}: writes work"),
        Some(why) => format!("revision {revision}: NO WRITES, traffic goes on\n{why}"),
    };
    let behind = report["behind"].as_str().map_or_else(String::new, |why| {
        let name = report["this"]["name"].as_str().unwrap_or_default();
        format!("\nnode {name}, which says so: {why}")
    });
    let nodes = super::nodes::text(&json!({"items": report["nodes"]}));
    format!("{headline}{behind}\n\n{nodes}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_behind_says_that_of_itself_and_not_of_the_group() {
        let behind = "no linearizable read here: this node is behind the leader: disk full";
        let report = json!({"revision": 7, "why": null, "behind": behind, "this": {"name": "b"}, "nodes": []});
        let told = text(&report);
        assert!(
            told.starts_with(
                "revision 7: writes work\nnode b, which says so: no linearizable read here"
            ),
            "{told}"
        );
        let report = json!({"revision": 7, "why": "no leader", "behind": null, "nodes": []});
        assert!(text(&report).starts_with("revision 7: NO WRITES, traffic goes on\nno leader\n\n"));
    }
}
