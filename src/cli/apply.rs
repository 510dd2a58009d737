//! `synod apply`: puts what a file names in one transaction; with `--replace`, makes the whole config equal to it.

use std::path::PathBuf;

use http::Method;
use serde_json::{Value, json};

use super::file::Source;
use super::remote::{Remote, Write, with};
use super::{Failure, changes};
use crate::client::{Call, Error};
use crate::config::{policy, spec};

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
    file: PathBuf,
    /// The whole config is to be equal to the file: what it does not name goes
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let source = args.candidate.read()?;
    let planned = args.candidate.dry_run(remote, &source)?;
    if args.dry_run {
        return remote
            .output
            .print(&planned, |answer| changes::text(&answer["diff"]));
    }
    let answer = if args.candidate.replace {
        let config = Some(source.config.clone());
        remote.write(Method::PUT, "/v1/config", config, &args.write)
    } else {
        let operations = Some(operations(&source.config));
        remote.write(Method::POST, "/v1/transactions", operations, &args.write)
    };
    let answer = answer.map_err(|failure| args.candidate.in_file(failure, &source))?;
    remote.output.print(&answer.body, |_| {
        let diff = changes::text(&planned["diff"]);
        format!("{diff}\nrevision {}", answer.revision)
    })
}

impl Candidate {
    /// Reads the file and holds it to what `check` does, but for references to what it does not name: those the node
    /// looks for.
    pub(super) fn read(&self) -> Result<Source, Failure> {
        let source = Source::read(&self.file)?;
        // What an answer has in the place of a secret may be written back.
        let mut known = source.config.clone();
        policy::stand_in(&mut known);
        let checked = match self.replace {
            true => spec::parse_config(&known).map(drop),
            false => spec::check_lists(&known),
        };
        checked.map_err(|faults| source.invalid(&faults))?;
        Ok(source)
    }

    /// What applying would change, by the node's own reckoning: an answer with `diff`.
    pub(super) fn dry_run(&self, remote: &Remote, source: &Source) -> Result<Value, Failure> {
        let config = &source.config;
        let call = if self.replace {
            Call::new(Method::PUT, "/v1/config?dry_run=true").json(config.clone())
        } else {
            Call::new(Method::POST, "/v1/transactions?dry_run=true").json(operations(config))
        };
        let answer = remote.call(call.reading());
        let answer = answer.map_err(|failure| self.in_file(failure, source));
        with(answer?, &["diff"])
    }

    /// The failure of a write, which points to where the file has what is wrong.
    fn in_file(&self, failure: Failure, source: &Source) -> Failure {
        let Failure::Failed(error) = failure else {
            return failure;
        };
        let refused = error.downcast::<Error>().map(|error| match error {
            Error::Refused(mut problem) => {
                let places = source.places();
                for fault in &mut problem.faults {
                    let pointer = match self.replace {
                        true => Some(fault.pointer.clone()),
                        false => pointer_in_file(&fault.pointer, &source.config),
                    };
                    if let Some(pointer) = pointer {
                        fault.detail.push_str(&places.of(&pointer));
                        fault.pointer = pointer;
                    }
                }
                Error::Refused(problem)
            }
            other => other,
        });
        Failure::Failed(refused.map_or_else(|error| error, Into::into))
    }
}

/// A put of every resource that the file names.
fn operations(config: &Value) -> Value {
    let put = |(kind, _, item): (&str, usize, &Value)| {
        let path = format!("/{kind}/{}", item["name"].as_str().unwrap_or_default());
        json!({"op": "put", "path": path, "value": item})
    };
    resources(config).map(put).collect()
}

/// Every resource that the file names: its kind, its place in the list, and itself.
fn resources(config: &Value) -> impl Iterator<Item = (&str, usize, &Value)> {
    let lists = config.as_object().into_iter().flatten();
    lists.flat_map(|(kind, items)| {
        let items = items.as_array().into_iter().flatten().enumerate();
        items.map(move |(index, item)| (kind.as_str(), index, item))
    })
}

/// From `/3/value/weight`, which points into a list of puts.
fn pointer_in_file(pointer: &str, config: &Value) -> Option<String> {
    let (index, rest) = pointer.strip_prefix('/')?.split_once("/value")?;
    let (kind, place, _) = resources(config).nth(index.parse().ok()?)?;
    Some(format!("/{kind}/{place}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_faults_is_pointed_to_in_the_file() {
        let config = json!({
            "routes": [{"name": "r"}],
            "pools": [{"name": "a"}, {"name": "b"}],
        });
        let at = |pointer: &str| pointer_in_file(pointer, &config);
        assert_eq!(
            at("/0/value/to/0/pool").as_deref(),
            Some("/routes/0/to/0/pool")
        );
        assert_eq!(at("/2/value").as_deref(), Some("/pools/1"));
        for elsewhere in ["/3/value", "/0/path", "", "/x/value"] {
            assert_eq!(at(elsewhere), None, "{elsewhere}");
        }
    }
}
