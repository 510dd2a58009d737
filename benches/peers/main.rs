//! Synod beside its peers: CPU time, latency and memory, with equal settings, in one run.
//!
//! `cargo bench --bench peers` runs every scenario against Synod, a byte relay of its own (the limit) and whichever
//! peers are on the PATH; `-- --list` names scenarios and peers, `-- small idle --rounds 3` picks. The proxy under
//! measurement has the first core alone; load, backend and this process share the second. Rounds are interleaved,
//! and what counts is the ratio within a round, since absolute figures drift with the machine. CPU time is the
//! kernel's own accounting of the proxy's whole process tree.
#![allow(clippy::print_stdout, reason = "a bench reports on standard output")]

mod backend;
mod grpc;
mod load;
mod process;
mod proxies;
mod relay;
mod report;
mod scenario;

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;

use load::{Figures, measure};
use process::Pinned;
use proxies::Proxy;
use report::Results;
use scenario::Scenario;

/// Synod beside its peers, with equal settings, in one run.
#[derive(Parser)]
struct Options {
    /// Scenarios to run; none: all.
    scenarios: Vec<String>,
    /// Rounds of each.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds a measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Proxies to measure beside Synod; none: all that are on the PATH.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Where `peers.json` and `peers.svg` are written.
    #[arg(long, default_value = "target/peers")]
    out: PathBuf,
    /// Measures no peers but those named, and ends with 1 if abuse costs more than it may.
    #[arg(long)]
    gate: bool,
    /// Names the scenarios and the proxies found, and ends.
    #[arg(long)]
    list: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("backend") => return backend::run(),
        Some("grpc-backend") => return grpc::run(),
        Some("relay") => return relay::run(),
        Some("abuser") => return load::abuse::run_child(),
        Some("open-loop") => return load::open_loop::run_child(),
        _ => {}
    }
    let options = Options::parse();
    let proxies = match options.gate && options.peers.is_empty() {
        true => vec![Proxy::Synod],
        false => Proxy::chosen(&options.peers).unwrap_or_else(|fault| stop(&fault)),
    };
    let scenarios = Scenario::chosen(&options.scenarios).unwrap_or_else(|fault| stop(&fault));
    if options.list {
        for scenario in &scenarios {
            println!("{:20} {}", scenario.name, scenario.title);
        }
        let names: Vec<&str> = proxies.iter().map(|proxy| proxy.name()).collect();
        println!("\nfound: {}", names.join(", "));
        return;
    }
    process::raise_file_limit();
    process::move_to_core(process::LOAD_CORE);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let backend = Pinned::spawn(process::LOAD_CORE, own("backend"));
    let grpc = Pinned::spawn(process::LOAD_CORE, own("grpc-backend"));
    process::wait_for_port(backend::ADDRESS);
    process::wait_for_port(grpc::ADDRESS);
    let mut results = Results::new(options.rounds, options.seconds);
    for scenario in &scenarios {
        results.push(run(scenario, &proxies, &options, folder.path()));
    }
    results.write(&options.out);
    println!(
        "\nwritten: {0}/peers.json, {0}/peers.svg",
        options.out.display()
    );
    // Not ended by an exit.
    drop((backend, grpc, folder));
    if options.gate {
        let faults: Vec<String> = scenarios
            .iter()
            .zip(results.outcomes())
            .flat_map(|(scenario, outcome)| outcome.faults(scenario))
            .collect();
        faults.iter().for_each(|fault| println!("{fault}"));
        std::process::exit(i32::from(!faults.is_empty()));
    }
}

/// Every round of every row of a scenario, interleaved.
fn run(
    scenario: &Scenario,
    proxies: &[Proxy],
    options: &Options,
    folder: &Path,
) -> report::Outcome {
    println!("\n{}: {}", scenario.name, scenario.title);
    let rows = scenario.rows(proxies);
    let mut rounds: Vec<Vec<Figures>> = vec![Vec::new(); rows.len()];
    let rate = scenario.rate(proxies, options.seconds, folder);
    for round in 0..scenario.rounds(options.rounds) {
        for (row, figures) in rows.iter().zip(&mut rounds) {
            let measured = measure(row, rate, options.seconds, folder);
            println!("  round {round}  {:34} {measured}", row.label);
            figures.push(measured);
        }
    }
    let outcome = report::Outcome::new(scenario, &rows, rounds);
    print!("\n{outcome}");
    outcome
}

/// This program, as the child that plays this part.
fn own(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.arg(part);
    command
}

#[allow(
    clippy::print_stderr,
    reason = "a bench reports faults of its command line"
)]
fn stop(fault: &str) -> ! {
    eprintln!("{fault}");
    std::process::exit(2)
}
