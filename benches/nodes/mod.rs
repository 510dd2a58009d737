//! Three voters as processes, and what they have used.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use synod::client::{Call, Client};

pub(crate) const COUNT: usize = 3;

/// All are killed when this is dropped.
pub(crate) struct Nodes(pub(crate) Vec<Child>);

/// Where the nodes stand.
#[derive(Clone)]
pub(crate) struct Standing {
    at: Instant,
    /// CPU time of each so far.
    used: Vec<Duration>,
    /// The last slot applied.
    pub(crate) slot: f64,
    pub(crate) leader: usize,
    /// Elections that any of them stood in.
    pub(crate) elections: f64,
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Of the node's admin API.
pub(crate) fn address(node: usize) -> String {
    format!("127.0.0.1:{}", 19302 + 10 * (node % COUNT))
}

impl Nodes {
    pub(crate) fn start(folder: &Path) -> Self {
        Self((0..COUNT).map(|node| spawn(folder, node)).collect())
    }

    pub(crate) async fn wait_for_leader(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        for node in 0..COUNT {
            while client(node).call(Call::get("/v1/config")).await.is_err() {
                assert!(Instant::now() < deadline, "no leader");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    pub(crate) async fn standing(&self) -> Standing {
        let mut standing = Standing {
            at: Instant::now(),
            used: self.0.iter().map(used).collect(),
            slot: 0.0,
            leader: 0,
            elections: 0.0,
        };
        for node in 0..COUNT {
            let answer = client(node).call(Call::get("/metrics")).await;
            let text = answer.expect("an answer").body;
            let text = text.as_str().expect("metrics are text");
            standing.elections += value(text, "synod_elections_total");
            if value(text, "synod_leader") == 1.0 {
                standing.leader = node;
                standing.slot = value(text, "synod_applied_slot");
            }
        }
        standing
    }
}

impl Standing {
    /// What each node has used since then, in percent of one core.
    pub(crate) fn percent_since(&self, then: &Self) -> Vec<f64> {
        let time = (self.at - then.at).as_secs_f64();
        let used = self.used.iter().zip(&then.used);
        used.map(|(now, then)| 100.0 * (*now - *then).as_secs_f64() / time)
            .collect()
    }
}

/// Starts one on what it has on disk.
pub(crate) fn spawn(folder: &Path, node: usize) -> Child {
    let voters = (0..COUNT).map(|node| format!("--voter=n{node}={}", peer(node)));
    Command::new(env!("CARGO_BIN_EXE_synod"))
        .args(["serve", "--threads=1", &format!("--node=n{node}")])
        .arg(format!(
            "--data={}",
            folder.join(format!("n{node}")).display()
        ))
        .arg(format!("--peer={}", peer(node)))
        .arg(format!("--admin={}", address(node)))
        .arg(format!("--listen={}", traffic(node)))
        .args(voters)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs")
}

fn peer(node: usize) -> String {
    format!("127.0.0.1:{}", 19301 + 10 * node)
}

/// Where the node takes requests.
pub(crate) fn traffic(node: usize) -> String {
    format!("127.0.0.1:{}", 19303 + 10 * node)
}

fn client(node: usize) -> Client {
    Client::new([address(node)], Duration::from_secs(5)).expect("an address")
}

fn value(metrics: &str, name: &str) -> f64 {
    let samples = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let mut values = samples.filter_map(|rest| rest.strip_prefix(' ')?.parse().ok());
    values.next().expect("the metric is there")
}

/// CPU time of a process, of the kernel's too.
fn used(child: &Child) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it runs");
    // Behind the name, which may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    // Linux counts hundredths of seconds here, whatever its timer does.
    Duration::from_millis(10 * ticks)
}
