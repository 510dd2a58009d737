//! The command line: one file a command, each an `Args` and a `run`.
//!
//! `serve` and `demo` run nodes; `check` needs none; all others are clients of the admin API.
#![allow(clippy::print_stdout, reason = "a command answers on standard output")]

mod apply;
mod backend;
mod changes;
mod check;
mod delete;
mod demo;
mod diff;
mod explain;
mod file;
mod get;
mod history;
mod nodes;
mod output;
mod remote;
mod rollback;
mod serve;
mod status;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use remote::Remote;

/// A Layer-7 load balancer whose configuration is voted.
#[derive(Parser)]
#[command(name = "synod", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Three voters, three small backends and a route in one process on loopback, and what to try
    Demo(demo::Args),
    /// Run a node
    Serve(serve::Args),
    /// Validate a settings or config file without a node
    Check(check::Args),
    /// Put what a file names, in one transaction
    Apply(apply::Args),
    /// Show what applying a file would change; exit code 3 if anything
    Diff(diff::Args),
    /// Show pools, routes, nodes or the whole config
    Get(get::Args),
    /// Delete a pool, a route or a backend
    Delete(delete::Args),
    /// Set a backend's weight
    Weight(backend::Weight),
    /// Let a backend finish its requests and give it no new ones
    Drain(backend::State),
    /// Give a backend requests again
    Ready(backend::State),
    /// Take a backend out for maintenance
    Maint(backend::State),
    /// Show who changed what, when and why
    History(history::Args),
    /// Make an old revision's content the newest revision
    Rollback(rollback::Args),
    /// Show which route and backends a request would get, and why
    Explain(explain::Args),
    /// Show whether the cluster can agree and what each node serves
    Status(status::Args),
    /// List the nodes
    Nodes(nodes::Args),
}

/// Why a command did not succeed; each has its exit code.
#[derive(Debug)]
enum Failure {
    /// What was typed makes no sense, where clap could not know: exit code 2, as its own.
    Usage(anyhow::Error),
    /// What was wrong, where, and the next thing to try: exit code 1.
    Failed(anyhow::Error),
    /// `diff` found a difference, which is printed: exit code 3.
    Differs,
    /// Not done within the time given: exit code 4.
    TimedOut(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs the command that the process arguments name.
pub fn run() -> ExitCode {
    let Cli { remote, command } = Cli::parse();
    let result = match command {
        Command::Demo(args) => demo::run(args),
        Command::Serve(args) => serve::run(&remote, args),
        Command::Check(args) => check::run(args),
        Command::Apply(args) => apply::run(&remote, args),
        Command::Diff(args) => diff::run(&remote, args),
        Command::Get(args) => get::run(&remote, args),
        Command::Delete(args) => delete::run(&remote, args),
        Command::Weight(args) => backend::weight(&remote, args),
        Command::Drain(args) => backend::state(&remote, "drain", args),
        Command::Ready(args) => backend::state(&remote, "ready", args),
        Command::Maint(args) => backend::state(&remote, "maint", args),
        Command::History(args) => history::run(&remote, args),
        Command::Rollback(args) => rollback::run(&remote, args),
        Command::Explain(args) => explain::run(&remote, args),
        Command::Status(args) => status::run(&remote, args),
        Command::Nodes(args) => nodes::run(&remote, args),
    };
    let (code, error) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Differs) => return ExitCode::from(3),
        Err(Failure::Usage(error)) => (2, error),
        Err(Failure::Failed(error)) => (1, error),
        Err(Failure::TimedOut(error)) => (4, error),
    };
    // Nowhere to say it is no reason to end with another code.
    let _ = writeln!(io::stderr(), "{error:#}");
    ExitCode::from(code)
}
