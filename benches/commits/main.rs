//! Acknowledged writes a second: three Synod voters beside three etcd members, on loopback, in one run.
//!
//! `cargo bench --bench commits` needs `etcd` on the PATH (Debian's `etcd-server`). Both are asked in JSON over
//! keep-alive HTTP by the very same client code, one and 64 clients spread over the three nodes, in interleaved
//! rounds; both keep their data on the same disk. The time of one sync of that disk is measured beside them.
#![allow(clippy::print_stdout, reason = "a bench reports on standard output")]

mod clusters;
#[path = "../disk/mod.rs"]
mod disk;
mod load;

use std::time::Duration;

use clusters::Cluster;

const ROUNDS: usize = 3;
const SECONDS: Duration = Duration::from_secs(5);

fn main() {
    let folder = tempfile::Builder::new()
        .prefix("commits")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("a directory on the disk of the build");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    println!(
        "one sync of 512 bytes: p50 {:.3} ms\n",
        disk::sync_p50(folder.path()).as_secs_f64() * 1e3
    );
    let mut clusters = vec![Cluster::synod(folder.path())];
    clusters.extend(Cluster::etcd(folder.path()));
    for clients in [1, 64] {
        let mut ratios = Vec::new();
        for round in 0..ROUNDS {
            let mut rates = Vec::new();
            for cluster in &clusters {
                let syncs = cluster.syncs();
                let mut latencies = runtime.block_on(load::run(cluster, clients, SECONDS));
                latencies.sort_unstable();
                let rate = latencies.len() as f64 / SECONDS.as_secs_f64();
                let p50 = latencies[latencies.len() / 2];
                let p99 = latencies[latencies.len() * 99 / 100];
                print!(
                    "{clients:3} clients  round {round}  {:6} {rate:7.0}/s  p50 {:6.2} ms  p99 {:6.2} ms",
                    cluster.name(),
                    p50.as_secs_f64() * 1e3,
                    p99.as_secs_f64() * 1e3
                );
                match cluster.syncs().zip(syncs) {
                    Some((after, before)) => println!(
                        "  {:.3} syncs a commit on the leader",
                        (after - before) / latencies.len() as f64
                    ),
                    None => println!(),
                }
                rates.push(rate);
            }
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
}
