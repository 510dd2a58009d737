//! Logs that are cut behind checkpoints while a voter and a follower are away, and who comes back by a checkpoint.

use std::path::Path;

use http::Method;
use serde_json::{Value, json};
use synod::client::{Call, Client};

use crate::harness::{Cluster, DEADLINE, synod, wait_until};

/// Bytes of one segment of the log.
const SEGMENT: u64 = 8 << 20;
const WRITERS: usize = 8;

/// Settings with checkpoints far more often than usual.
fn often(data: &Path, name: &str) -> Vec<String> {
    let path = data.join(format!("{name}.toml"));
    std::fs::write(&path, "[consensus]\ncheckpoint_commands = 200\n").unwrap();
    vec![format!("--config={}", path.display())]
}

/// A pool that takes about 16 KiB in the log.
fn large(name: &str) -> Value {
    let backend = |at: usize| {
        let address = format!("192.0.2.{}:{}", at % 250 + 1, 1000 + at);
        json!({"id": format!("a-backend-with-a-long-name-{at}"), "address": address})
    };
    let backends: Vec<Value> = (0..200).map(backend).collect();
    json!({"name": name, "backends": backends})
}

/// So many writes by clients that write at a time. All but the first of each change nothing, so that the state, and
/// with it each checkpoint, stays small.
fn fill(cluster: &Cluster, nodes: &[usize], writes: usize) {
    let urls: Vec<String> = nodes
        .iter()
        .map(|node| format!("http://{}", cluster.nodes[*node].admin))
        .collect();
    let write = |writer: usize| {
        let client = Client::new(urls.clone(), DEADLINE).unwrap();
        cluster.runtime().spawn(async move {
            let name = format!("pool-{writer}");
            for _ in 0..writes / WRITERS {
                let call = Call::new(Method::PUT, format!("/v1/pools/{name}"));
                client.call(call.json(large(&name))).await.unwrap();
            }
        })
    };
    let writers: Vec<_> = (0..WRITERS).map(write).collect();
    for writer in writers {
        cluster.block_on(writer).unwrap();
    }
}

/// How many bytes of log a node's directory holds, and whether it still begins with its first segment.
fn log(cluster: &Cluster, node: usize) -> (u64, bool) {
    let directory = cluster.data.path().join(&cluster.nodes[node].name);
    let (mut bytes, mut whole) = (0, false);
    for file in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let name = file.file_name().into_string().unwrap();
        // One that is removed meanwhile is none.
        if name.starts_with("log-")
            && let Ok(metadata) = file.metadata()
        {
            bytes += metadata.len();
            whole |= name == "log-0000000000000001";
        }
    }
    (bytes, whole)
}

/// The node has come to the revision by a checkpoint of another, and serves it.
fn caught_up(cluster: &Cluster, node: usize, revision: u64) {
    cluster.wait_for_revision(node, revision);
    assert!(cluster.metric(node, "synod_checkpoints_installed_total") >= 1.0);
    let read = Call::get("/v1/config?consistency=local");
    assert!(cluster.call(node, read).revision >= revision);
}

#[test]
fn logs_are_cut_while_nodes_are_away_and_these_come_back_by_a_checkpoint() {
    let mut cluster = Cluster::start_with(3, often);
    let leader = cluster.wait_for_leader();
    let [away, other] = [(leader + 1) % 3, (leader + 2) % 3];
    let revision = cluster.put(leader, "/v1/pools/first", json!({"name": "first"}));
    let more = often(cluster.data.path(), "p1");
    let follower = cluster.join_with("p1", &[leader, other], more);
    for node in [away, follower] {
        cluster.wait_for_revision(node, revision);
        cluster.kill(node);
    }

    // Four segments and more, with the dead for ever dead as far as anybody knows.
    fill(&cluster, &[leader, other], 2400);
    let revision = cluster.put(other, "/v1/pools/last", json!({"name": "last"}));
    for node in [leader, other] {
        wait_until("the log to be cut", DEADLINE, || {
            let (bytes, whole) = log(&cluster, node);
            (!whole && bytes <= 3 * SEGMENT).then_some(())
        });
    }
    for node in [away, follower] {
        cluster.spawn(node);
        caught_up(&cluster, node, revision);
    }

    // One that lost its disk comes back under a new identity.
    cluster.kill(other);
    let name = cluster.nodes[other].name.clone();
    std::fs::remove_dir_all(cluster.data.path().join(&name)).unwrap();
    let more = often(cluster.data.path(), "n4");
    let n4 = cluster.join_with("n4", &[leader, away], more);
    caught_up(&cluster, n4, revision);
    let replaced = synod()
        .args(["members", "replace", &name, "n4"])
        .env(
            "SYNOD_ADMIN",
            format!("http://{}", cluster.nodes[leader].admin),
        )
        .output()
        .unwrap();
    assert!(replaced.status.success(), "{replaced:?}");

    // Their votes count: both are needed now.
    cluster.kill(leader);
    let after = wait_until("a write by those who came back", DEADLINE, || {
        let call = Call::new(Method::PUT, "/v1/pools/after").json(json!({"name": "after"}));
        cluster.try_call(n4, call).ok()
    });
    for node in [away, n4, follower] {
        cluster.wait_for_revision(node, after.revision);
    }
}
