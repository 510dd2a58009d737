//! Killed nodes, lost quorums, rolling restarts: traffic goes on, acknowledged writes stay.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::json;
use synod::client::{Call, Error};

use crate::backends::Backends;
use crate::harness::{Cluster, DEADLINE, free_addresses, synod, wait_until};
use crate::load::{Load, OnLoss, get};

#[test]
fn killing_the_leader_fails_no_request_and_writes_resume() {
    let mut cluster = Cluster::start(3);
    let backends = Backends::start(cluster.runtime(), &["b1", "b2"]);
    cluster.serve_pool("web", &backends.addresses);
    let leader = cluster.wait_for_leader();
    let survivors: Vec<_> = (0..3).filter(|index| *index != leader).collect();
    let addresses: Vec<_> = survivors
        .iter()
        .map(|index| cluster.nodes[*index].traffic)
        .collect();
    let everywhere: Vec<_> = cluster.nodes.iter().map(|node| node.traffic).collect();
    let steady = Load::start(cluster.runtime(), &addresses, 4, OnLoss::Fail);
    let roaming = Load::start(cluster.runtime(), &everywhere, 3, OnLoss::Reconnect);
    wait_until("traffic", DEADLINE, || (steady.done() > 500).then_some(()));
    cluster.kill(leader);
    let killed = Instant::now();
    let call = || Call::new(Method::PATCH, "/v1/pools/web/backends/b1").json(json!({"weight": 7}));
    wait_until("a write after the leader's death", DEADLINE, || {
        cluster.try_call(survivors[0], call()).ok()
    });
    eprintln!(
        "leader killed to acknowledged write: {:?}",
        killed.elapsed()
    );
    steady.stop_without_failure(cluster.runtime());
    roaming.stop_without_failure(cluster.runtime());
}

#[test]
fn a_rolling_restart_fails_no_request() {
    let mut cluster = Cluster::start(3);
    let backends = Backends::start(cluster.runtime(), &["b1", "b2"]);
    let revision = cluster.serve_pool("web", &backends.addresses);
    let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.traffic).collect();
    let load = Load::start(cluster.runtime(), &addresses, 6, OnLoss::Reconnect);
    for index in 0..3 {
        let so_far = load.done();
        wait_until("traffic", DEADLINE, || {
            (load.done() > so_far + 500).then_some(())
        });
        cluster.terminate(index);
        cluster.spawn(index);
        cluster.wait_for_revision(index, revision);
        cluster.wait_for_leader();
    }
    load.stop_without_failure(cluster.runtime());
}

#[test]
fn without_a_quorum_traffic_goes_on_and_writes_say_so_in_time() {
    let mut cluster = Cluster::start(3);
    let backends = Backends::start(cluster.runtime(), &["b1"]);
    let revision = cluster.serve_pool("web", &backends.addresses);
    cluster.kill(0);
    cluster.kill(1);
    cluster.block_on(get(cluster.nodes[2].traffic)).unwrap();
    let asked = Instant::now();
    let problem = cluster.refused(
        2,
        Call::new(Method::PUT, "/v1/pools/x").json(json!({"name": "x"})),
    );
    assert_eq!(problem.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "answered after {:?}",
        asked.elapsed()
    );
    let outcome = problem.body["outcome"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        ["not_proposed", "unknown"].contains(&outcome.as_str()),
        "{:?}",
        problem.body
    );

    cluster.kill(2);
    cluster.spawn(2);
    wait_until("the last node to serve alone", DEADLINE, || {
        let answer = cluster.block_on(get(cluster.nodes[2].traffic)).ok()?;
        answer.contains("I am b1").then_some(())
    });
    cluster.wait_for_revision(2, revision);

    cluster.spawn(1);
    cluster.wait_for_leader();
    let after = cluster.put(2, "/v1/pools/y", json!({"name": "y"}));
    assert!(after > revision);
}

#[test]
fn every_acknowledged_revision_survives_killing_all() {
    let mut cluster = Cluster::start(3);
    for round in 0..3 {
        let mut acknowledged = Vec::new();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(2) || acknowledged.is_empty() {
            let name = format!("r{round}-{}", acknowledged.len());
            let call =
                Call::new(Method::PUT, format!("/v1/pools/{name}")).json(json!({"name": name}));
            if let Ok(answer) = cluster.try_call(acknowledged.len() % 3, call) {
                acknowledged.push((name, answer.revision));
            }
        }
        for index in 0..3 {
            cluster.kill(index);
        }
        for index in 0..3 {
            cluster.spawn(index);
        }
        cluster.wait_for_leader();
        let config = cluster.call(0, Call::get("/v1/config")).body;
        let pools = config["pools"].as_array().unwrap();
        for (name, revision) in &acknowledged {
            assert!(
                pools.iter().any(|pool| pool["name"] == **name),
                "{name} at {revision} is lost"
            );
            let answer = cluster.call(1, Call::get(format!("/v1/revisions/{revision}")));
            assert_eq!(answer.body["revision"], *revision, "{}", answer.body);
        }
    }
}

#[test]
fn a_lone_voter_keeps_its_config_over_kill_and_restart() {
    let mut cluster = Cluster::start(1);
    let backends = Backends::start(cluster.runtime(), &["b1"]);
    let revision = cluster.serve_pool("web", &backends.addresses);
    cluster.kill(0);
    cluster.spawn(0);
    cluster.wait_for_revision(0, revision);
    assert!(
        cluster
            .block_on(get(cluster.nodes[0].traffic))
            .unwrap()
            .contains("I am b1")
    );
    cluster.wait_for_leader();
    assert!(cluster.put(0, "/v1/pools/more", json!({"name": "more"})) > revision);
}

#[test]
fn a_second_process_on_one_data_directory_is_refused() {
    let cluster = Cluster::start(1);
    let [traffic, admin, peer] = free_addresses(3)[..] else {
        unreachable!()
    };
    let output = synod()
        .args([
            "serve",
            "--node=n1",
            &format!("--data={}", cluster.data.path().join("n1").display()),
        ])
        .args([
            format!("--listen={traffic}"),
            format!("--admin={admin}"),
            format!("--peer={peer}"),
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("another process"), "{text}");
}

#[test]
fn a_wiped_voter_takes_no_part() {
    let mut cluster = Cluster::start(3);
    let revision = cluster.put(0, "/v1/pools/kept", json!({"name": "kept"}));
    cluster.kill(2);
    std::fs::remove_dir_all(cluster.data.path().join("n3")).unwrap();
    cluster.spawn(2);
    // With one of the whole two gone, a wiped voter that took part would complete a majority that forgot.
    cluster.kill(1);
    let refused = cluster.try_call(
        0,
        Call::new(Method::PUT, "/v1/pools/lost").json(json!({"name": "lost"})),
    );
    match refused {
        Err(Error::Refused(problem)) => assert_eq!(problem.status, StatusCode::SERVICE_UNAVAILABLE),
        other => panic!("a wiped voter was counted: {other:?}"),
    }
    cluster.spawn(1);
    cluster.wait_for_leader();
    let answer = cluster.call(0, Call::get("/v1/pools/kept"));
    assert_eq!(answer.body["revision"], revision);
}
