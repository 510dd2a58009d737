//! `synod restore SOURCE --data DIR`: a new group of one voter that goes on from a backup or from a dead node's data.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};

use super::Failure;
use super::output::say;
use crate::node::offline;
use crate::settings::{NAME, is_name};

/// The group is a new one, with a cluster id of its own: nodes of the old one refuse it, and it them. Its revisions go
/// on a thousand million above those of the old one, so that no revision and no fencing token comes twice. The source
/// stays as it is. Never start nodes of the old group again beside it: each group would serve its own config.
#[derive(clap::Args)]
pub(super) struct Args {
    /// A file that `synod backup` wrote; or, when the majority is lost for good, the data directory of a voter or
    /// follower that is left and does not run: take the one with the greatest last slot (`synod log inspect`)
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// The new node's data directory, empty or not there yet
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The new node's name
    #[arg(long, value_name = "NAME", default_value = "n1")]
    node: String,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    if !is_name(&args.node) {
        let why = anyhow!("`{}` cannot be a node; use {NAME}", args.node);
        return Err(Failure::Usage(why));
    }
    let source = args.source.display();
    let machine = if args.source.is_dir() {
        let directory = offline::idle(&args.source)?;
        let log = directory
            .log
            .map_err(|why| anyhow!("the log in {source} cannot be read: {why}"))?;
        if let Some(damage) = &log.damage {
            say(format!("warning: {damage}"))?;
        }
        let (machine, undecided) = log.state()?;
        if undecided > 0 {
            say(format!(
                "{undecided} entries at its end were not known to be decided here; they are taken, for they may have been acknowledged"
            ))?;
        }
        machine
    } else {
        let bytes = std::fs::read(&args.source)
            .with_context(|| format!("cannot read the backup {source}"))?;
        offline::read_backup(&bytes).with_context(|| format!("{source} is of no use"))?
    };
    let founded = offline::refound(&args.data, &args.node, machine)?;
    let (data, node) = (args.data.display(), &args.node);
    say(format!(
        "a new group, cluster {}, with the config of revision {}; its log goes on behind slot {}",
        founded.cluster, founded.revision, founded.slot
    ))?;
    say(format!(
        "start it with `synod serve --data {data} --node {node}`; others join it on empty data directories (`synod members add`)"
    ))
}
