//! Acknowledged writes a second: three Synod voters beside three etcd members, on loopback, in one run.
//!
//! `cargo bench --bench commits` needs `etcd` on the PATH (Debian's `etcd-server`). Both are asked in JSON over
//! keep-alive HTTP by the very same client code, one and 64 clients spread over the three nodes, in interleaved rounds;
//! both keep their data on the same disk. The time of one sync of that disk is measured beside them, and the CPU time
//! of the three nodes and of the clients: on a small machine that is what bounds the writes a second. At last one
//! client waits until every node serves what it wrote. A number (`-- 64`) has only so many clients run.
#![allow(clippy::print_stdout, reason = "a bench reports on standard output")]

mod clusters;
#[path = "../disk/mod.rs"]
mod disk;
mod load;

use std::time::Duration;

use clusters::{Cluster, Wait, cpu_of};

const ROUNDS: usize = 3;
const SECONDS: Duration = Duration::from_secs(5);

fn main() {
    let folder = tempfile::Builder::new()
        .prefix("commits")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("a directory on the disk of the build");
    let only: Option<usize> = std::env::args().find_map(|argument| argument.parse().ok());
    let sync = || disk::sync_p50(folder.path()).as_secs_f64() * 1e3;
    println!("one sync of 512 bytes: p50 {:.3} ms\n", sync());
    let mut clusters = vec![Cluster::synod(folder.path())];
    clusters.extend(Cluster::etcd(folder.path()));
    for clients in [1, 64]
        .into_iter()
        .filter(|it| only.is_none_or(|only| only == *it))
    {
        let mut ratios = Vec::new();
        for round in 0..ROUNDS {
            let rates: Vec<f64> = clusters
                .iter()
                .map(|cluster| measure(cluster, clients, round, Wait::Committed))
                .collect();
            if let [own, peer] = rates[..] {
                ratios.push(own / peer);
            }
        }
        ratios.sort_by(f64::total_cmp);
        if let Some(ratio) = ratios.get(ratios.len() / 2) {
            println!(
                "{clients:3} clients: {ratio:.2} times etcd's writes a second, median of the rounds' ratios\n"
            );
        }
    }
    if only.is_none_or(|only| only == 1) {
        println!(
            "served by every node (`?wait=applied`); one sync of 512 bytes just now: p50 {:.3} ms",
            sync()
        );
        for round in 0..ROUNDS {
            measure(&clusters[0], 1, round, Wait::Applied);
        }
    }
}

/// Runs so many clients for a while, prints what came of it, and gives their writes a second.
fn measure(cluster: &Cluster, clients: usize, round: usize, wait: Wait) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let before = (cluster.syncs(), cluster.cpu(), cpu_of("self"));
    let mut latencies = runtime.block_on(load::run(cluster, clients, wait, SECONDS));
    let nodes = cluster.cpu() - before.1;
    let client = cpu_of("self") - before.2;
    latencies.sort_unstable();
    let count = latencies.len();
    let rate = count as f64 / SECONDS.as_secs_f64();
    let [p50, p99] = [count / 2, count * 99 / 100].map(|at| latencies[at].as_secs_f64() * 1e3);
    let [nodes, client] = [nodes, client].map(|time| time.as_secs_f64() * 1e6 / count as f64);
    print!(
        "{clients:3} clients  round {round}  {:6} {rate:7.0}/s  p50 {p50:6.2} ms  p99 {p99:6.2} ms  \
         CPU a write: nodes {nodes:4.0} us, clients {client:3.0} us",
        cluster.name(),
    );
    match cluster.syncs().zip(before.0) {
        Some((after, before)) => println!(
            "  {:.3} syncs a commit on the leader",
            (after - before) / count as f64
        ),
        None => println!(),
    }
    rate
}
