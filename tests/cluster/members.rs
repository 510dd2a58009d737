//! Who votes and who leads, changed under client load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;
use synod::client::{Call, Client};

use crate::harness::{Cluster, DEADLINE, synod, wait_until};

/// A client that writes without a pause, to whichever of its nodes answers.
struct Writer {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Written>,
}

/// What a writer saw.
#[derive(Debug, Default)]
struct Written {
    acknowledged: Vec<String>,
    /// The longest time between two acknowledgements.
    longest: Duration,
    /// Writes that were refused or not answered.
    failed: usize,
}

impl Writer {
    fn start(cluster: &Cluster, name: &str, nodes: &[usize]) -> Self {
        let urls = nodes
            .iter()
            .map(|node| format!("http://{}", cluster.nodes[*node].admin));
        let client = Client::new(urls, DEADLINE).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (name, stopped) = (name.to_owned(), stop.clone());
        let task = cluster.runtime().spawn(async move {
            let mut written = Written::default();
            let mut last = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                let pool = format!("{name}-{}", written.acknowledged.len());
                let call = Call::new(Method::PUT, format!("/v1/pools/{pool}"));
                match client.call(call.json(json!({"name": pool}))).await {
                    Ok(_) => {
                        written.longest = written.longest.max(last.elapsed());
                        last = Instant::now();
                        written.acknowledged.push(pool);
                    }
                    Err(_) => written.failed += 1,
                }
            }
            written
        });
        Self { stop, task }
    }

    /// Ends it; all that it was told is done must be there.
    fn stop(self, cluster: &Cluster, node: usize) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        let written = cluster.block_on(self.task).unwrap();
        let config = cluster.call(node, Call::get("/v1/config")).body;
        let pools: std::collections::BTreeSet<&str> = config["pools"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|pool| pool["name"].as_str())
            .collect();
        for pool in &written.acknowledged {
            assert!(pools.contains(pool.as_str()), "{pool} is lost");
        }
        written
    }
}

/// `synod members …` at one node; what it printed.
fn members(cluster: &Cluster, node: usize, args: &[&str]) -> Result<String, String> {
    let output = synod()
        .arg("members")
        .args(args)
        .env(
            "SYNOD_ADMIN",
            format!("http://{}", cluster.nodes[node].admin),
        )
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

#[test]
fn leadership_moves_where_an_operator_says_and_writes_go_on() {
    let cluster = Cluster::start(3);
    let leader = cluster.wait_for_leader();
    cluster.put(leader, "/v1/pools/first", json!({"name": "first"}));
    let writer = Writer::start(&cluster, "w", &[0, 1, 2]);
    for turn in 1..=4 {
        let next = (leader + turn) % 3;
        let name = cluster.nodes[next].name.clone();
        let began = Instant::now();
        let said = members(&cluster, leader, &["transfer", &name]).unwrap();
        eprintln!("handed over to {name} in {:?}", began.elapsed());
        assert_eq!(said, format!("{name} leads"));
        wait_until("all to know", DEADLINE, || {
            (cluster.leader() == Some(next)).then_some(())
        });
    }
    let listed = members(&cluster, 0, &[]).unwrap();
    assert_eq!(listed.lines().count(), 4, "{listed}");
    let refused = members(&cluster, 0, &["transfer", "nobody"]).unwrap_err();
    assert!(refused.contains("`nobody` is no voter"), "{refused}");
    let written = writer.stop(&cluster, 0);
    eprintln!(
        "{} writes, the longest pause {:?}",
        written.acknowledged.len(),
        written.longest
    );
    assert_eq!(written.failed, 0);
    assert!(written.acknowledged.len() > 10);
}

#[test]
fn a_leader_that_is_told_to_stop_hands_over_first() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.wait_for_leader();
    let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    let elected = |node: &usize| cluster.metric(*node, "synod_leaderships_total");
    let before: f64 = others.iter().map(elected).sum();
    let writer = Writer::start(&cluster, "w", &others);
    cluster.terminate(leader);
    let after: f64 = others
        .iter()
        .map(|node| cluster.metric(*node, "synod_leaderships_total"))
        .sum();
    assert_eq!(after, before + 1.0, "one took over before it was gone");
    let written = writer.stop(&cluster, others[0]);
    eprintln!("the longest pause of writes {:?}", written.longest);
    assert_eq!(written.failed, 0);
}

/// The names of the voters, in the order of their numbers.
fn voters(cluster: &Cluster, node: usize) -> Vec<String> {
    let body = cluster
        .call(node, Call::get("/v1/members?consistency=local"))
        .body;
    let items = body["items"].as_array().unwrap();
    let names = items.iter().filter_map(|item| item["name"].as_str());
    names.map(str::to_owned).collect()
}

#[test]
fn one_voter_becomes_three_under_load_and_may_then_die() {
    let mut cluster = Cluster::start(1);
    cluster.put(0, "/v1/pools/first", json!({"name": "first"}));
    let refused = members(&cluster, 0, &["add", "n2", "--timeout", "1s"]).unwrap_err();
    assert!(refused.contains("does not follow"), "{refused}");
    let n2 = cluster.join("n2", &[0]);
    let n3 = cluster.join("n3", &[0]);
    cluster.wait_for_revision(n2, 1);
    let refused = members(&cluster, 0, &["add", "n2", "--timeout", "1s"]).unwrap_err();
    assert!(refused.contains("add two in one step"), "{refused}");

    let writer = Writer::start(&cluster, "w", &[0, n2, n3]);
    let began = Instant::now();
    let said = members(&cluster, n3, &["add", "n2", "n3"]).unwrap();
    eprintln!("one to three in {:?}: {said}", began.elapsed());
    for node in [0, n2, n3] {
        wait_until("all to know", DEADLINE, || {
            (voters(&cluster, node) == ["n1", "n2", "n3"]).then_some(())
        });
    }
    cluster.kill(0);
    let call = || Call::new(Method::PUT, "/v1/pools/after").json(json!({"name": "after"}));
    wait_until("a write without the founder", DEADLINE, || {
        cluster.try_call(n2, call()).ok()
    });
    let written = writer.stop(&cluster, n3);
    eprintln!(
        "{} writes, the longest pause {:?}",
        written.acknowledged.len(),
        written.longest
    );
    cluster.spawn(0);
    wait_until("the founder to be back", DEADLINE, || {
        cluster.try_call(0, Call::get("/v1/pools/after")).ok()
    });
}

#[test]
fn a_dead_voter_is_replaced_in_one_step_under_load() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.wait_for_leader();
    cluster.put(leader, "/v1/pools/first", json!({"name": "first"}));
    let dead = (leader + 1) % 3;
    let other = (leader + 2) % 3;
    let n4 = cluster.join("n4", &[leader, other]);
    cluster.wait_for_revision(n4, 1);
    cluster.kill(dead);
    let writer = Writer::start(&cluster, "w", &[leader, other]);
    let gone = cluster.nodes[dead].name.clone();
    let began = Instant::now();
    let said = members(&cluster, other, &["replace", &gone, "n4"]).unwrap();
    eprintln!("replaced in {:?}: {said}", began.elapsed());
    let written = writer.stop(&cluster, leader);
    eprintln!("the longest pause of writes {:?}", written.longest);
    // The newcomer has a vote: with it, another may die.
    cluster.kill(leader);
    let call = || Call::new(Method::PUT, "/v1/pools/after").json(json!({"name": "after"}));
    wait_until("a write by the two that are left", DEADLINE, || {
        cluster.try_call(n4, call()).ok()
    });
    // Who was replaced has no vote when it comes back, and cannot disturb.
    cluster.spawn(leader);
    cluster.spawn(dead);
    let after = wait_until("a write after both are back", DEADLINE, || {
        let call = Call::new(Method::PUT, "/v1/pools/last").json(json!({"name": "last"}));
        cluster.try_call(n4, call).ok()
    });
    cluster.wait_for_revision(leader, after.revision);
}

#[test]
fn the_leader_is_removed_and_a_wiped_voter_comes_back_as_a_new_one() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.wait_for_leader();
    let revision = cluster.put(leader, "/v1/pools/first", json!({"name": "first"}));
    let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    let writer = Writer::start(&cluster, "w", &others);
    let name = cluster.nodes[leader].name.clone();
    let said = members(&cluster, others[0], &["remove", &name]).unwrap();
    assert!(said.contains("votes no more"), "{said}");
    let written = writer.stop(&cluster, others[1]);
    eprintln!("the longest pause of writes {:?}", written.longest);
    assert_eq!(voters(&cluster, others[0]).len(), 2);
    // It follows from here on: what is changed now, its traffic is served by too.
    let later = cluster.put(others[0], "/v1/pools/later", json!({"name": "later"}));
    cluster.wait_for_revision(leader, later);
    // With a last word, so that its name is free at once.
    cluster.terminate(leader);

    std::fs::remove_dir_all(cluster.data.path().join(&name)).unwrap();
    let back = cluster.join(&name, &others);
    cluster.wait_for_revision(back, revision);
    members(&cluster, others[0], &["add", &name]).unwrap();
    let listed = cluster.call(back, Call::get("/v1/members")).body;
    let ids: Vec<u64> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|item| item["id"].as_u64())
        .collect();
    assert!(ids.len() == 3 && ids[2] == 4, "{listed}");
    cluster.kill(others[0]);
    let call = || Call::new(Method::PUT, "/v1/pools/after").json(json!({"name": "after"}));
    wait_until("a write by the two that are left", DEADLINE, || {
        cluster.try_call(back, call()).ok()
    });
}
