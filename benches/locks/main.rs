//! What the lock service costs and how fast it is, beside what is expected of it: three voters on loopback.
//!
//! `cargo bench --bench locks` prints a table and writes `target/locks/locks.json`. Every figure has a target; those of
//! time stand beside one sync of the same disk, measured in the same run.
#![allow(clippy::print_stdout, reason = "a bench reports on standard output")]

mod calls;
#[path = "../disk/mod.rs"]
mod disk;
#[path = "../figures/mod.rs"]
mod figures;
mod idle;
#[path = "../nodes/mod.rs"]
mod nodes;
mod waits;

use std::time::Duration;

use figures::{Figure, Table, ms};
use nodes::Nodes;

fn main() {
    let folder = tempfile::Builder::new()
        .prefix("locks")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("a directory on the disk of the build");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let sync = disk::sync_p50(folder.path());
    let nodes = Nodes::start(folder.path());
    let local = tokio::task::LocalSet::new();
    let table = local.block_on(&runtime, measure(&nodes, sync));
    drop(nodes);
    table.write("locks");
}

async fn measure(nodes: &Nodes, sync: Duration) -> Table {
    nodes.wait_for_leader().await;
    let mut table = Table::default();
    table.tell([Figure::new("one sync of 512 bytes, p50", ms(sync), "ms")]);
    table.tell(waits::uncontended(nodes, sync).await);
    table.tell(waits::handover(nodes).await);
    table.tell(waits::dead_holders(nodes).await);
    table.tell(idle::sessions(nodes).await);
    table
}
