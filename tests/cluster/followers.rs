//! Nodes without a vote, as processes: they join under traffic, are waited for, and serve on when all else is dead.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use synod::client::Call;

use crate::backends::Backends;
use crate::harness::{Cluster, DEADLINE, synod, wait_until};
use crate::load::{Load, OnLoss, get};

fn weigh(weight: u64, options: &str) -> Call {
    let path = format!("/v1/pools/web/backends/b1?{options}");
    Call::new(Method::PATCH, path).json(json!({"weight": weight}))
}

fn names(list: &Value) -> Vec<&str> {
    let items = list.as_array().expect("a list");
    items.iter().filter_map(Value::as_str).collect()
}

/// The voter that feeds the follower.
fn fed_by(cluster: &Cluster, follower: usize) -> Option<usize> {
    let call = Call::get("/v1/nodes?consistency=local");
    let body = cluster.try_call(follower, call).ok()?.body;
    let voter = body["this"]["follows"].as_str()?;
    cluster.nodes.iter().position(|node| node.name == voter)
}

#[test]
fn a_follower_joins_under_traffic_and_no_change_or_death_fails_a_request() {
    let mut cluster = Cluster::start(3);
    let backends = Backends::start(cluster.runtime(), &["b1", "b2"]);
    let revision = cluster.serve_pool("web", &backends.addresses);
    let voters: Vec<_> = cluster.nodes.iter().map(|node| node.traffic).collect();
    let before = Load::start(cluster.runtime(), &voters, 2, OnLoss::Reconnect);
    let p1 = cluster.join("p1", &[0]);
    cluster.wait_for_revision(p1, revision);
    let load = Load::start(
        cluster.runtime(),
        &[cluster.nodes[p1].traffic],
        4,
        OnLoss::Fail,
    );
    wait_until("traffic", DEADLINE, || (load.done() > 200).then_some(()));

    // Any node takes a change and waits for all, the follower among them.
    for (turn, node) in [p1, 0, 1, 2, p1].into_iter().enumerate() {
        let answer = cluster.call(node, weigh(turn as u64 + 2, "wait=applied&timeout=20s"));
        let waited = names(&answer.body["waited_for"]["applied"]).join(" ");
        assert_eq!(waited, "n1 n2 n3 p1");
        let read = cluster.call(p1, Call::get("/v1/pools/web"));
        assert_eq!(read.body["spec"]["backends"][0]["weight"], turn + 2);
    }

    let voter = wait_until("a voter", DEADLINE, || fed_by(&cluster, p1));
    cluster.kill(voter);
    let killed = Instant::now();
    wait_until("another voter", DEADLINE, || {
        fed_by(&cluster, p1).filter(|now| *now != voter)
    });
    eprintln!("voter killed to fed by another: {:?}", killed.elapsed());
    let changed = wait_until("a change through the follower", DEADLINE, || {
        cluster.try_call(p1, weigh(9, "wait=committed")).ok()
    });
    cluster.wait_for_revision(p1, changed.revision);
    load.stop_without_failure(cluster.runtime());
    before.stop_without_failure(cluster.runtime());
}

#[test]
fn killed_and_started_with_no_voter_alive_it_serves_its_last_revision() {
    let mut cluster = Cluster::start(3);
    let backends = Backends::start(cluster.runtime(), &["b1"]);
    cluster.serve_pool("web", &backends.addresses);
    let p1 = cluster.join("p1", &[1]);
    cluster.wait_for_revision(p1, 1);
    let changed = cluster.call(0, weigh(5, "wait=applied&timeout=20s"));
    let revision = changed.revision;
    cluster.kill(p1);
    (0..3).for_each(|voter| cluster.kill(voter));

    cluster.spawn(p1);
    wait_until("the follower to serve alone", DEADLINE, || {
        let answer = cluster.block_on(get(cluster.nodes[p1].traffic)).ok()?;
        answer.contains("I am b1").then_some(())
    });
    // The first thread may serve what the node as a whole does not yet.
    wait_until("the follower to be ready", DEADLINE, || {
        cluster.try_call(p1, Call::get("/readyz")).ok()
    });
    let local = cluster.call(p1, Call::get("/v1/config?consistency=local"));
    assert_eq!(local.revision, revision);
    assert_eq!(cluster.metric(p1, "synod_served_revision"), revision as f64);
    assert_eq!(cluster.metric(p1, "synod_follower_connected"), 0.0);
    let asked = Instant::now();
    let refused = cluster.refused(p1, weigh(6, "wait=committed"));
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "{:?}",
        asked.elapsed()
    );

    (0..3).for_each(|voter| cluster.spawn(voter));
    cluster.wait_for_leader();
    let after = cluster.put(0, "/v1/pools/more", json!({"name": "more"}));
    cluster.wait_for_revision(p1, after);
    assert_eq!(cluster.metric(p1, "synod_follower_connected"), 1.0);
}

#[test]
fn a_silent_follower_is_waited_for_and_named_and_one_that_stopped_is_not() {
    let mut cluster = Cluster::start(3);
    let backends = Backends::start(cluster.runtime(), &["b1"]);
    let revision = cluster.serve_pool("web", &backends.addresses);
    let p1 = cluster.join("p1", &[2]);
    cluster.wait_for_revision(p1, revision);
    cluster.call(0, weigh(2, "wait=applied&timeout=20s"));

    cluster.signal(p1, Signal::STOP);
    let leader = cluster.wait_for_leader();
    let late = cluster.refused(leader, weigh(3, "wait=applied&timeout=5s"));
    assert_eq!(late.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(late.body["outcome"], "committed");
    let laggard = &late.body["laggards"][0];
    assert_eq!(
        (&laggard["name"], &laggard["why"]),
        (&json!("p1"), &json!("unreachable"))
    );

    cluster.signal(p1, Signal::CONT);
    let answer = cluster.call(leader, weigh(4, "wait=applied&timeout=20s"));
    assert!(names(&answer.body["waited_for"]["applied"]).contains(&"p1"));

    let shown = synod()
        .arg("nodes")
        .env("SYNOD_ADMIN", format!("http://{}", cluster.nodes[p1].admin))
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("follower") && shown.contains("n3"),
        "{shown}"
    );

    cluster.terminate(p1);
    for voter in 0..3 {
        wait_until("the leave", DEADLINE, || {
            let list = cluster.call(voter, Call::get("/v1/nodes?consistency=local"));
            let items = list.body["items"].as_array()?.clone();
            items.iter().all(|item| item["name"] != "p1").then_some(())
        });
    }
    let answer = cluster.call(0, weigh(5, "wait=applied&timeout=20s"));
    assert_eq!(
        names(&answer.body["waited_for"]["applied"]),
        ["n1", "n2", "n3"]
    );
}
