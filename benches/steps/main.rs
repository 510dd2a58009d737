//! The steps of a request and of a config change, each by itself: `cargo bench --bench steps`.
//!
//! Times drift with the machine. What does not are instructions and allocations: with `-- --gate` each step and a whole
//! proxied request are run under valgrind (`apt-get install valgrind`) and held to the bounds in `gate.rs`.
#![allow(clippy::print_stdout, reason = "a bench reports on standard output")]

mod callgrind;
mod changes;
mod gate;
mod proxied;
mod subjects;

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Runs of a step that are timed as one, and how often.
const RUNS: u32 = 1_000;
const ROUNDS: usize = 51;

fn main() {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("--gate") => gate::check(),
        Some(gate::COUNTED) => {
            gate::run_counted(arguments.next().and_then(|requests| requests.parse().ok()));
        }
        _ => {
            time();
            changes::run();
        }
    }
}

/// Prints the median time of each step.
fn time() {
    println!("one step, ns");
    for step in subjects::all() {
        let mut run = (step.make)();
        let mut times: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let began = Instant::now();
                for _ in 0..RUNS {
                    black_box(run());
                }
                began.elapsed()
            })
            .collect();
        times.sort_unstable();
        let nanos = times[ROUNDS / 2].as_secs_f64() * 1e9 / f64::from(RUNS);
        println!("  {:44} {nanos:9.1}", step.name);
    }
}
