//! How long writes stand still when the leader changes, and what may make it change: three voters on loopback.
//!
//! `cargo bench --bench leaders` prints a table and writes `target/leaders/leaders.json`. Timers are the defaults.
#![allow(clippy::print_stdout, reason = "a bench reports on standard output")]

mod changes;
#[path = "../figures/mod.rs"]
mod figures;
#[path = "../nodes/mod.rs"]
mod nodes;
mod traffic;
mod writer;

use std::path::Path;
use std::time::Duration;

use figures::{Figure, Table};
use nodes::Nodes;

/// For so long nothing happens.
const IDLE: Duration = Duration::from_secs(20);

fn main() {
    let folder = tempfile::Builder::new()
        .prefix("leaders")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("a directory on the disk of the build");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut nodes = Nodes::start(folder.path());
    let local = tokio::task::LocalSet::new();
    let table = local.block_on(&runtime, measure(&mut nodes, folder.path()));
    drop(nodes);
    table.write("leaders");
}

async fn measure(nodes: &mut Nodes, folder: &Path) -> Table {
    nodes.wait_for_leader().await;
    let mut table = Table::default();
    table.tell(idle(nodes).await);
    table.tell(changes::transfers(nodes).await);
    table.tell(changes::kills(nodes, folder).await);
    table.tell(traffic::saturation(nodes).await);
    table
}

/// What a group costs that nobody asks for anything.
async fn idle(nodes: &Nodes) -> Vec<Figure> {
    let before = nodes.standing().await;
    tokio::time::sleep(IDLE).await;
    let after = nodes.standing().await;
    let used = after.percent_since(&before);
    vec![
        Figure::new("idle: the leader", used[after.leader], "% core").at_most(1.0),
        Figure::new("idle: all nodes", used.iter().sum(), "% core"),
    ]
}
