//! Every history of three voters within small bounds: the real replica under a depth-first search.
//!
//! The network is a set of messages: whatever was sent may arrive at any later time, in any order, any number of times,
//! or never. Batches come to be durable one by one; a crash keeps any number of those on their way. Time passes for all
//! when one of them waits in vain, and who asks for support finds it: no safety may rest on either. States met before
//! are not searched again.
//!
//! What is chosen follows from what is durable where, before any voter knows it, and must never change; what voters say
//! is decided must be that; who comes to lead must hold all that was chosen below its ballot; and a read must show all
//! that any voter had said is decided when it was asked.

mod group;
mod search;
mod voter;

use std::process::ExitCode;
use std::time::Instant;

use group::Bounds;
use search::Search;

const NONE: Bounds = Bounds {
    timeouts: 0,
    commands: 0,
    reads: 0,
    crashes: 0,
    slow_disks: false,
    heartbeats: false,
};

/// A few seconds' worth.
pub(crate) const SMALL: [Bounds; 4] = [
    Bounds {
        timeouts: 1,
        slow_disks: true,
        ..NONE
    },
    Bounds {
        timeouts: 1,
        commands: 1,
        ..NONE
    },
    Bounds {
        timeouts: 2,
        ..NONE
    },
    Bounds {
        timeouts: 1,
        reads: 1,
        heartbeats: true,
        ..NONE
    },
];

/// Minutes, in a release build.
pub(crate) const LARGE: [Bounds; 4] = [
    Bounds {
        timeouts: 1,
        commands: 2,
        crashes: 1,
        ..NONE
    },
    Bounds {
        timeouts: 2,
        commands: 1,
        ..NONE
    },
    Bounds {
        timeouts: 2,
        crashes: 1,
        ..NONE
    },
    Bounds {
        timeouts: 1,
        commands: 1,
        slow_disks: true,
        ..NONE
    },
];

/// Searches within each of `scopes`, and prints how many states there are.
pub(crate) fn run(scopes: &[Bounds]) -> ExitCode {
    for bounds in scopes {
        let started = Instant::now();
        match Search::new(*bounds).run() {
            Ok(found) => println!(
                "{found}, 0 broken: {bounds}, {:.1} s",
                started.elapsed().as_secs_f64()
            ),
            Err(broken) => {
                println!("broken within {bounds}: {broken}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
