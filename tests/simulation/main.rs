//! The seeded simulation: the real replica, the real log and the real state machine on a simulated network and disk.
//!
//! One seed is one history, single-threaded and repeatable: first a safety phase under faults that the seed draws, then
//! a liveness phase in which a random majority is left alone and must commit, then all must agree. The invariants of
//! `oracle` are asserted at every step. An own harness, so that its output shows:
//!
//! - `SYNOD_SIM_SEEDS=N` runs N seeds (default 25); `SYNOD_SIM_FROM=N` begins at another one than 0.
//! - `SYNOD_SIM_SEED=N` runs one seed; with `SYNOD_SIM_TRACE=1` it prints what happens.
//! - `SYNOD_SIM_STATES=1` searches all histories within the larger bounds of `exhaustive`, and runs no seeds.
//! - `SYNOD_SIM_BUGS=1`, built with the feature `bugs`, plants every bug of `synod::bugs`, one at a time, and says
//!   after how many seeds it was caught and by which invariant. Each must be, within 300: a rule whose breach no seed
//!   notices is not tested here. A name in place of the 1 plants that one alone.
//! - `SYNOD_SIM_TWICE=1` runs every seed twice and compares the hash of the trace (else every eighth).
#![allow(
    clippy::print_stdout,
    reason = "an own harness reports on standard output"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

mod mix;
mod summary;
mod trace;
mod world;

mod chaos;
mod phases;
mod stranding;

mod clients;
mod follower;
mod links;
mod members;
mod node;

mod asking;
mod checkpoints;
mod driving;
mod life;
mod locks;
mod noticing;
mod sessions;
mod writing;

mod oracle;
mod shadow;

mod exhaustive;
#[cfg(feature = "bugs")]
mod gate;

use summary::Summary;
use trace::Traced;
use world::World;

/// As in the program: a third of a seed's time would go into the usual one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How to see that every planted bug is caught.
#[cfg(not(feature = "bugs"))]
const HUNT: &str = "SYNOD_SIM_BUGS=1 cargo test --profile quick --features bugs --test simulation";

/// What went wrong, and how to see it again.
struct Failure {
    seed: u64,
    reason: String,
}

fn main() -> ExitCode {
    // Flags of cargo test (a filter, --nocapture) are taken and mean nothing here, but a listing must list nothing.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    std::panic::set_hook(Box::new(|panic| trace::remember(panic.to_string())));
    let printed = std::env::var_os("SYNOD_SIM_TRACE").is_some();
    if std::env::var_os("SYNOD_SIM_STATES").is_some() {
        return exhaustive::run(&exhaustive::LARGE);
    }
    if let Ok(name) = std::env::var("SYNOD_SIM_BUGS") {
        return hunt(&name);
    }
    let (first, count) = match number("SYNOD_SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (
            number("SYNOD_SIM_FROM").unwrap_or(0),
            number("SYNOD_SIM_SEEDS").unwrap_or(25),
        ),
    };
    if count > 1 && exhaustive::run(&exhaustive::SMALL) == ExitCode::FAILURE {
        return ExitCode::FAILURE;
    }
    let every = if std::env::var_os("SYNOD_SIM_TWICE").is_some() {
        1
    } else {
        8
    };

    let started = Instant::now();
    let next = AtomicU64::new(first);
    let results: Mutex<(Summary, Vec<Failure>)> = Mutex::default();
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(count.max(1) as usize);
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let result = run(seed, seed.is_multiple_of(every), printed);
                    let mut results = results.lock().expect("no holder of it panics");
                    match result {
                        Ok(summary) => results.0.add(&summary),
                        Err(reason) => {
                            println!("seed {seed} failed: {reason}");
                            println!(
                                "SYNOD_SIM_SEED={seed} cargo test --profile quick --test simulation"
                            );
                            results.1.push(Failure { seed, reason });
                        }
                    }
                }
            });
        }
    });
    let (summary, failures) = results.into_inner().expect("no holder of it panics");
    println!("{summary}");
    for failure in &failures {
        let first_line = failure.reason.lines().next().unwrap_or_default();
        println!("seed {}: {first_line}", failure.seed);
    }
    println!("{:.1} s", started.elapsed().as_secs_f64());
    println!("{count} seeds, {} failed", failures.len());
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs one seed, perhaps twice.
fn run(seed: u64, twice: bool, printed: bool) -> Result<Summary, String> {
    let once = |printed| {
        let traced = Traced {
            printed,
            hashed: twice,
        };
        catch_unwind(AssertUnwindSafe(|| World::new(seed, traced).run()))
            .map_err(|_| trace::remembered())
    };
    let summary = once(printed)?;
    if twice && once(false)?.hash != summary.hash {
        return Err("the same seed gave two traces".to_owned());
    }
    Ok(summary)
}

#[cfg(feature = "bugs")]
use gate::hunt;

#[cfg(not(feature = "bugs"))]
fn hunt(_: &str) -> ExitCode {
    println!("no bug can be planted in this build; say:");
    println!("{HUNT}");
    ExitCode::FAILURE
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} must be a number, not `{text}`")),
    )
}
