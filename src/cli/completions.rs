//! `synod completions SHELL`: the script that completes commands, flags and their values.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use super::output::say;
use super::{Cli, Failure};

#[derive(clap::Args)]
pub(super) struct Args {
    /// For which shell; source what is printed, or put it where the shell looks
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "synod", &mut script);
    say(String::from_utf8(script)?.trim_end())
}
