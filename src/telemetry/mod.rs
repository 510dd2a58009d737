//! What is seen from outside: the diagnostic log, metrics, access log, traces of requests.
//!
//! Nothing here waits: counters are relaxed adds to a thread's own shard, and an access line that its writer has no
//! room for is dropped and counted.

pub mod access_log;
pub mod metrics;
pub mod traces;

mod histogram;
mod padded;
mod render;
mod shards;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

pub(crate) use histogram::{Totals, quantile};
pub(crate) use padded::Padded;
pub use shards::{set_worker_index, worker_index};

/// What is logged if nobody says otherwise. Libraries warn of what clients do, a line a frame: a way to fill the disk.
const DEFAULT_FILTER: &str = "info,h2=error,hyper=error,rustls=error";

/// Starts the diagnostic log on standard error: `RUST_LOG` if set, else `info`, and `error` of libraries that speak to
/// clients. Plain text on a terminal, JSON lines elsewhere. Later calls do nothing, so that tests and the demo may call
/// it freely.
pub fn init_tracing() {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would say so on the standard error itself, and panic if that is what fails.
        .log_internal_errors(false)
        .with_ansi(terminal);
    // An error says that a subscriber is there already.
    let _ = if terminal {
        builder.try_init()
    } else {
        builder.json().try_init()
    };
}
