//! `synod diff`: what applying a file would change. Exit code 0 for nothing, 3 for a difference.

use super::apply::Candidate;
use super::remote::Remote;
use super::{Failure, changes};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    candidate: Candidate,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let source = args.candidate.read()?;
    let planned = args.candidate.dry_run(remote, &source)?;
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
