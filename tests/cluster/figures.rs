//! Counted figures: what does not depend on how fast the machine is.

use http::Method;
use serde_json::json;
use synod::client::{Call, Client};

use crate::harness::Cluster;

/// Syncs a commit. Unoptimised nodes are slower than the disk, so that fewer commits wait for each sync.
const BOUND: f64 = if cfg!(debug_assertions) { 0.5 } else { 0.15 };

#[test]
fn sixty_four_writers_share_their_syncs() {
    let cluster = Cluster::start(3);
    let leader = cluster.wait_for_leader();
    cluster.put(leader, "/v1/pools/web", json!({"name": "web"}));
    let before = (
        cluster.metric(leader, "synod_log_syncs_total"),
        cluster.metric(leader, "synod_commits_total"),
    );
    let url = format!("http://{}", cluster.nodes[leader].admin);
    let client = Client::new([url], std::time::Duration::from_secs(20)).unwrap();
    let writers: Vec<_> = (0..64)
        .map(|writer| {
            let client = client.clone();
            cluster.runtime().spawn(async move {
                for change in 0..30 {
                    let spec = json!({"name": format!("p{writer}"), "balance":
                        if change % 2 == 0 { "round_robin" } else { "least_connections" }});
                    let call = Call::new(Method::PUT, format!("/v1/pools/p{writer}")).json(spec);
                    client.call(call).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        cluster.block_on(writer).unwrap();
    }
    let syncs = cluster.metric(leader, "synod_log_syncs_total") - before.0;
    let commits = cluster.metric(leader, "synod_commits_total") - before.1;
    assert!(commits >= 64.0 * 30.0, "{commits} commits");
    eprintln!(
        "{syncs} syncs for {commits} commits: {:.3}",
        syncs / commits
    );
    assert!(
        syncs / commits <= BOUND,
        "{syncs} syncs for {commits} commits"
    );
}
