//! `synod diff`: what applying a file would change. Exit code 0 for nothing, 3 for a difference.

use std::path::PathBuf;

use super::remote::Remote;
use super::{Failure, apply, changes, file};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Config file: JSON, YAML or TOML; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// As `apply --replace` would: what the file does not name goes
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let config = file::read(&args.file)?;
    let planned = apply::dry_run(remote, &config, args.replace)?;
    remote
        .output
        .print(&planned, |answer| changes::text(&answer["diff"]))?;
    if planned["diff"]
        .as_array()
        .is_some_and(|changes| !changes.is_empty())
    {
        return Err(Failure::Differs);
    }
    Ok(())
}
