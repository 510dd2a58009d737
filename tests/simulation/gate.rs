//! The gate: with each bug of `synod::bugs` planted, one at a time, seeds run until an invariant breaks.
//!
//! So it is the simulation that is tested here: where a bug is not caught, faults, clients or invariants are too weak.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use synod::bugs::{Bug, plant};

use crate::{number, run};

/// Within so many seeds each must be caught. Most are within 50; but any change of the simulation draws all seeds
/// anew, and a bug that one seed in fifty shows is then missed by 200 of them now and then.
const SEEDS: u64 = 300;

/// Hunts all bugs, or the one that is named; says by which invariant each was caught, and after how many seeds.
pub(crate) fn hunt(name: &str) -> ExitCode {
    let started = Instant::now();
    let named = |(bug, _): &&(Bug, &str)| name == "1" || name == format!("{bug:?}");
    let bugs: Vec<_> = Bug::ALL.iter().filter(named).collect();
    let first = number("SYNOD_SIM_FROM").unwrap_or(0);
    let (next, missed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    println!(
        "{:<20} {:>5}  {:<75} caught by",
        "bug", "seeds", "what it breaks"
    );
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((bug, what)) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    plant(Some(*bug));
                    let name = format!("{bug:?}");
                    let caught = (1..=SEEDS).zip(first..).find_map(|(nth, seed)| {
                        let caught = run(seed, false, false).err()?;
                        Some((nth, invariant(&caught).to_owned()))
                    });
                    match caught {
                        Some((nth, by)) => println!("{name:<20} {nth:>5}  {what:<75} {by}"),
                        None => {
                            missed.fetch_add(1, Ordering::Relaxed);
                            println!("{name:<20} {:>5}  {what:<75} MISSED", "");
                        }
                    }
                }
            });
        }
    });
    let missed = missed.into_inner();
    println!("{:.1} s", started.elapsed().as_secs_f64());
    println!("{} bugs, {missed} missed", bugs.len());
    match missed > 0 || bugs.is_empty() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// What a panic says of the invariant that was broken, without where it stands in the code.
fn invariant(panic: &str) -> &str {
    let mut lines = panic.lines();
    let place = lines.next().unwrap_or_default();
    let broken = lines.next().unwrap_or(place);
    let broken = broken.trim_start_matches("assertion `left == right` failed: ");
    &broken[..broken.floor_char_boundary(90)]
}
