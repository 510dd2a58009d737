//! What is seen from outside: tracing set-up, metrics, access log.
//!
//! Nothing here waits: counters are relaxed adds to a thread's own shard, and an access line that its writer has no
//! room for is dropped and counted.

pub mod metrics;

mod histogram;
mod render;
mod shards;

pub use shards::{set_worker_index, worker_index};
