//! How long a change takes to a thousand followers of one voter, on loopback, and what that costs the voter.
//!
//! `cargo bench --bench followers [FOLLOWERS [CHANGES]]`. The followers are connections that read and nothing more, in
//! this process, on one thread; so what is measured is the voter: from the write being sent to its admin API to its
//! entry having been read by the last of them, and by each.
#![allow(clippy::print_stdout, reason = "a bench reports on standard output")]

mod stream;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use synod::client::{Call, Client};
use tokio::sync::mpsc;

const PEER: &str = "127.0.0.1:19201";
const ADMIN: &str = "127.0.0.1:19202";
const LISTEN: &str = "127.0.0.1:19203";

struct Voter(Child);

impl Drop for Voter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let followers: usize = numbers.next().unwrap_or(1000);
    let changes: usize = numbers.next().unwrap_or(100);
    let folder = tempfile::Builder::new()
        .prefix("followers")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("a directory on the disk of the build");
    let voter = Command::new(env!("CARGO_BIN_EXE_synod"))
        .args(["serve", "--threads=1", "--node=v"])
        .arg(format!("--data={}", folder.path().join("v").display()))
        .args([format!("--peer={PEER}"), format!("--admin={ADMIN}")])
        .arg(format!("--listen={LISTEN}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let voter = Voter(voter);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(run(&voter, followers, changes));
}

async fn run(voter: &Voter, followers: usize, changes: usize) {
    let client = Client::new([ADMIN], Duration::from_secs(5)).expect("an address");
    let deadline = Instant::now() + Duration::from_secs(30);
    while client.call(Call::get("/v1/config")).await.is_err() {
        assert!(Instant::now() < deadline, "the voter does not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (seen, mut sightings) = mpsc::unbounded_channel();
    for number in 0..followers {
        let stream = stream::Stream::open(PEER, number).await;
        tokio::spawn(stream.watch(seen.clone()));
    }
    let (mut each, mut last) = (Vec::new(), Vec::new());
    let before = cpu(voter);
    for turn in 0..changes {
        let name = format!("{}{turn:08}", stream::MARK);
        let spec = serde_json::json!({"name": name});
        let began = Instant::now();
        let call = Call::new(http::Method::PUT, format!("/v1/pools/{name}")).json(spec);
        let written = client.call(call);
        let all = async {
            for _ in 0..followers {
                let (number, at): (u64, Instant) = sightings.recv().await.expect("streams");
                assert_eq!(number, turn as u64, "changes come in order");
                each.push(at - began);
            }
        };
        let (written, ()) = tokio::join!(written, all);
        written.expect("the change is made");
        last.push(began.elapsed());
    }
    let used = cpu(voter) - before;
    for (what, times) in [("each", &mut each), ("the last", &mut last)] {
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
        println!(
            "{followers} followers, write sent to read by {what:8}: p50 {:6.2} ms  p99 {:6.2} ms",
            at(50),
            at(99)
        );
    }
    println!(
        "the voter's CPU: {:.2} ms a change",
        used * 1e3 / changes as f64
    );
}

/// Seconds of CPU that the process has used.
fn cpu(voter: &Voter) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", voter.0.id()));
    let stat = stat.expect("it runs");
    let fields = stat.rsplit(')').next().expect("a line");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}
