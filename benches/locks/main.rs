//! What the lock service costs and how fast it is, beside what is expected of it: three voters on loopback.
//!
//! `cargo bench --bench locks` prints a table and writes `target/locks/locks.json`. Every figure has a target; those of
//! time stand beside one sync of the same disk, measured in the same run.
#![allow(clippy::print_stdout, reason = "a bench reports on standard output")]

mod calls;
#[path = "../disk/mod.rs"]
mod disk;
mod idle;
mod nodes;
mod waits;

use std::path::Path;
use std::time::Duration;

use nodes::Nodes;
use serde_json::json;

/// One figure, and what is expected of it.
struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    /// The most it may be, if anything is expected.
    most: Option<f64>,
}

impl Figure {
    fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        let (what, most) = (what.into(), None);
        Self {
            what,
            value,
            unit,
            most,
        }
    }

    fn at_most(self, most: f64) -> Self {
        let most = Some(most);
        Self { most, ..self }
    }

    fn line(&self) -> String {
        let expected = match self.most {
            Some(most) if self.value <= most => format!("at most {most:.2}: met"),
            Some(most) => format!("at most {most:.2}: MISSED"),
            None => String::new(),
        };
        let (what, value, unit) = (&self.what, self.value, self.unit);
        format!("{what:<64} {value:>8.2} {unit:<7} {expected}")
    }
}

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
    let figures = local.block_on(&runtime, measure(&nodes, sync));
    drop(nodes);
    write(&figures);
}

async fn measure(nodes: &Nodes, sync: Duration) -> Vec<Figure> {
    nodes.wait_for_leader().await;
    let mut figures = Vec::new();
    let mut tell = |more: Vec<Figure>| {
        more.iter().for_each(|figure| println!("{}", figure.line()));
        figures.extend(more);
    };
    tell(vec![Figure::new(
        "one sync of 512 bytes, p50",
        ms(sync),
        "ms",
    )]);
    tell(waits::uncontended(nodes, sync).await);
    tell(waits::handover(nodes).await);
    tell(waits::dead_holders(nodes).await);
    tell(idle::sessions(nodes).await);
    figures
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The value that this share of all is below.
fn percentile(mut times: Vec<Duration>, share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share).round() as usize]
}

fn write(figures: &[Figure]) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("locks");
    let item =
        |it: &Figure| json!({"what": it.what, "value": it.value, "unit": it.unit, "most": it.most});
    let items: Vec<_> = figures.iter().map(item).collect();
    let text =
        serde_json::to_string_pretty(&json!({ "figures": items })).expect("numbers and names");
    let file = folder.join("locks.json");
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&file, text))
        .expect("the folder of the build is writable");
    println!("\nwritten to {}", file.display());
}
