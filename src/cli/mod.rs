//! The command line: one file a command, each an `Args` and a `run`.
//!
//! `serve` and `demo` run nodes; `cert`, `token`, `check` and `completions` need none; all others are clients of the
//! admin API.
#![allow(clippy::print_stdout, reason = "a command answers on standard output")]

mod apply;
mod backend;
mod backup;
mod cert;
mod changes;
mod check;
mod completions;
mod delete;
mod demo;
mod diff;
mod edit;
mod explain;
mod file;
mod get;
mod history;
mod lock;
mod log;
mod members;
mod nodes;
mod output;
mod places;
mod progress;
mod remote;
mod restore;
mod rollback;
mod serve;
mod status;
mod token;
mod top;
mod watch;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::{Value, json};

use output::Output;
use remote::Remote;

use crate::client::Error;

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
    ///
    /// SIGTERM ends it when what is under way has ended, a second one at once. SIGUSR2 hands it over to the program
    /// that is now at its path, in a process of its own; the first process of a container cannot be replaced so.
    /// SIGUSR1 has the access log's file opened anew, for whoever has renamed it; SIGHUP does too, and has changed
    /// certificates taken up at once.
    Serve(serve::Args),
    /// Make an authority for a cluster, and certificates for its nodes
    Cert(cert::Args),
    /// Make a token for the admin API
    Token(token::Args),
    /// Validate a settings or config file without a node
    Check(check::Args),
    /// Put what a file names, in one transaction
    Apply(apply::Args),
    /// Show what applying a file would change; exit code 3 if anything
    Diff(diff::Args),
    /// Show pools, routes, policies, nodes or the whole config
    Get(get::Args),
    /// Edit a pool, a route, a backend, a policy or the whole config in $VISUAL or $EDITOR
    Edit(edit::Args),
    /// Delete a pool, a route, a backend or a policy
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
    /// Tell what changes the config and who holds locks, as it happens
    Watch(watch::Args),
    /// Show which route and backends a request would get, and why
    Explain(explain::Args),
    /// Show whether the cluster can agree and what each node serves
    Status(status::Args),
    /// List the nodes
    Nodes(nodes::Args),
    /// Show what pools and backends do now, the busiest first
    Top(top::Args),
    /// Hold a lock of the cluster while a command runs
    Lock(lock::Args),
    /// List the voters, or hand leadership over
    Members(members::Args),
    /// Keep the whole replicated state in a file, for `restore`
    Backup(backup::Args),
    /// Make a new group of a backup, or of what is left of a group whose majority is lost
    Restore(restore::Args),
    /// Look into the data directory of a node that does not run
    #[command(subcommand)]
    Log(log::Command),
    /// Print the script that completes commands and flags in a shell
    Completions(completions::Args),
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
    /// The command that was run has ended so, and has said why itself.
    Command(u8),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs the command that the process arguments name.
pub fn run() -> ExitCode {
    let Cli { remote, command } = Cli::parse();
    let output = remote.output;
    let result = match command {
        Command::Demo(args) => demo::run(args),
        Command::Serve(args) => serve::run(&remote, args),
        Command::Cert(args) => cert::run(args),
        Command::Token(args) => token::run(&remote, args),
        Command::Check(args) => check::run(&remote, args),
        Command::Apply(args) => apply::run(&remote, args),
        Command::Diff(args) => diff::run(&remote, args),
        Command::Get(args) => get::run(&remote, args),
        Command::Edit(args) => edit::run(&remote, args),
        Command::Delete(args) => delete::run(&remote, args),
        Command::Weight(args) => backend::weight(&remote, args),
        Command::Drain(args) => backend::state(&remote, "drain", args),
        Command::Ready(args) => backend::state(&remote, "ready", args),
        Command::Maint(args) => backend::state(&remote, "maint", args),
        Command::History(args) => history::run(&remote, args),
        Command::Rollback(args) => rollback::run(&remote, args),
        Command::Watch(args) => watch::run(&remote, args),
        Command::Explain(args) => explain::run(&remote, args),
        Command::Status(args) => status::run(&remote, args),
        Command::Nodes(args) => nodes::run(&remote, args),
        Command::Top(args) => top::run(&remote, args),
        Command::Lock(args) => lock::run(&remote, args),
        Command::Members(args) => members::run(&remote, args),
        Command::Backup(args) => backup::run(&remote, args),
        Command::Restore(args) => restore::run(args),
        Command::Log(command) => log::run(&remote, command),
        Command::Completions(args) => completions::run(args),
    };
    let (code, error) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Differs) => return ExitCode::from(3),
        Err(Failure::Command(code)) => return ExitCode::from(code),
        Err(Failure::Usage(error)) => (2, error),
        Err(Failure::Failed(error)) => (1, error),
        Err(Failure::TimedOut(error)) => (4, error),
    };
    // Nowhere to say it is no reason to end with another code.
    let _ = writeln!(io::stderr(), "{}", told(&error, output));
    ExitCode::from(code)
}

/// An error as the answer would have been printed: for programs with the problem document, where a node refused.
fn told(error: &anyhow::Error, output: Output) -> String {
    let text = format!("{error:#}");
    let problem = match error.downcast_ref() {
        Some(Error::Refused(problem)) => &*problem.body,
        _ => &Value::Null,
    };
    let document = json!({"error": text, "problem": problem});
    match output {
        Output::Table => text,
        Output::Json => document.to_string(),
        Output::Yaml => serde_saphyr::to_string(&document).unwrap_or(text),
    }
}
