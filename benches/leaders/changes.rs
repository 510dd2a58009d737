//! The leader hands over, or is killed, while a client writes.

use std::path::Path;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;
use synod::client::{Call, Client};

use crate::figures::{Figure, ms, percentile};
use crate::nodes::{self, Nodes, address};
use crate::writer::Writer;

const ROUNDS: usize = 20;
/// Writes before and after each change.
const WRITES: usize = 20;

pub(crate) async fn transfers(nodes: &Nodes) -> Vec<Figure> {
    let (mut pauses, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let leader = nodes.standing().await.leader;
        let writer = Writer::start(leader);
        writer.wait_for(WRITES, Instant::now()).await;
        let client = Client::new([address(leader)], Duration::from_secs(5)).expect("an address");
        let began = Instant::now();
        let call = Call::new(Method::POST, "/v1/members/transfer").json(json!({}));
        client.call(call).await.expect("another voter leads");
        calls.push(began.elapsed());
        writer.wait_for(WRITES, Instant::now()).await;
        pauses.push(writer.longest_pause(began));
    }
    let p50 = percentile(pauses.clone(), 0.5);
    let longest = percentile(pauses, 1.0);
    let call = percentile(calls, 0.5);
    vec![
        Figure::new("handing over: the call, p50", ms(call), "ms"),
        Figure::new("handing over: without a write, p50", ms(p50), "ms"),
        Figure::new(
            format!("handing over: without a write, longest of {ROUNDS}"),
            ms(longest),
            "ms",
        )
        .at_most(200.0),
    ]
}

pub(crate) async fn kills(nodes: &mut Nodes, folder: &Path) -> Vec<Figure> {
    let mut pauses = Vec::new();
    for _ in 0..ROUNDS {
        let leader = nodes.standing().await.leader;
        let writer = Writer::start(leader);
        writer.wait_for(WRITES, Instant::now()).await;
        let began = Instant::now();
        let process = &mut nodes.0[leader];
        process.kill().expect("it runs");
        // Not blocking: what is acknowledged until it is reaped must be seen then.
        while process.try_wait().expect("it is a child").is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        writer.wait_for(WRITES, Instant::now()).await;
        pauses.push(writer.longest_pause(began));
        drop(writer);
        nodes.0[leader] = nodes::spawn(folder, leader);
        nodes.wait_for_leader().await;
    }
    let p50 = percentile(pauses.clone(), 0.5);
    let longest = percentile(pauses, 1.0);
    vec![
        Figure::new("leader killed to the next write, p50", ms(p50), "ms").at_most(1_600.0),
        Figure::new(
            format!("leader killed to the next write, longest of {ROUNDS}"),
            ms(longest),
            "ms",
        )
        .at_most(2_500.0),
    ]
}
