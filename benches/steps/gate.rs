//! Holds steps and a proxied request to their bounds of instructions and allocations, counted by valgrind.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use crate::callgrind::{self, Counts};
use crate::proxied::Proxied;
use crate::subjects;

/// What this program is called with when valgrind runs it; behind it the number of requests, or none for the steps.
pub(crate) const COUNTED: &str = "--counted";

/// Runs of a step that are counted, and those before, until nothing is new to it.
const RUNS: u64 = 100;
const WARM: u64 = 1_000;

/// Requests of a shorter and a longer run: what lies between them is counted.
const FEWER: u64 = 300;
const MORE: u64 = 800;

/// Instructions that a small request may take on the data plane's thread, about a tenth above what it takes.
const MOST_OF_A_REQUEST: u64 = 17_000;
/// Its allocations there: the future of a request has its room only while there is one, so that an idle connection
/// needs little.
const MOST_ALLOCATIONS: u64 = 1;

/// Counts everything, prints it, and ends the process with 1 if anything is above its bound.
pub(crate) fn check() {
    println!("instructions, and what they may be");
    let mut good = true;
    // Each step stands between two marks, and each mark dumps what was done since the one before.
    let counts = under_valgrind(None, callgrind::dumps);
    let between = counts.iter().skip(1).step_by(2);
    for (step, counts) in subjects::all().iter().zip(between) {
        good &= line(step.name, counts.instructions / RUNS, step.most);
    }
    let of = |requests| {
        under_valgrind(Some(requests), |folder| {
            callgrind::thread(folder, "synod::proxy::")
        })
    };
    let (fewer, more): (Counts, Counts) = (of(FEWER), of(MORE));
    let each = |fewer, more| (more - fewer) / (MORE - FEWER);
    let name = "a small request, proxied";
    let instructions = each(fewer.instructions, more.instructions);
    good &= line(name, instructions, MOST_OF_A_REQUEST);
    println!("allocations");
    let allocations = each(fewer.allocations, more.allocations);
    good &= line(name, allocations, MOST_ALLOCATIONS);
    if !good {
        println!("above a bound: mend it, or raise the bound and say why");
        std::process::exit(1);
    }
}

fn line(name: &str, count: u64, most: u64) -> bool {
    let mark = if count > most { " <- too many" } else { "" };
    println!("  {name:32} {count:9} {most:9}{mark}");
    count <= most
}

/// Runs this program under valgrind, and reads what that wrote.
fn under_valgrind<T>(requests: Option<u64>, read: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let out = folder.path().join("out");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--separate-threads=yes", "--quiet"])
        // Else a thread that spins keeps the others from what it waits for.
        .arg("--fair-sched=yes")
        .arg("--dump-before=*steps::gate::mark*")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().expect("own path"))
        .arg(COUNTED)
        .args(requests.map(|requests| requests.to_string()))
        .status();
    let run = run.expect("valgrind is installed: apt-get install valgrind");
    assert!(run.success(), "{run}");
    read(folder.path())
}

/// What valgrind runs.
pub(crate) fn run_counted(requests: Option<u64>) {
    if let Some(requests) = requests {
        let mut proxied = Proxied::start();
        (0..requests).for_each(|_| proxied.request());
        // The threads of proxy and backend need not end well.
        std::process::exit(0);
    }
    for step in subjects::all() {
        let mut run = (step.make)();
        let mut times = |runs| {
            for _ in 0..runs {
                black_box(run());
            }
        };
        times(WARM);
        mark();
        times(RUNS);
        mark();
    }
}

/// Known to valgrind by its name.
#[inline(never)]
fn mark() {
    black_box(());
}
