//! Active checks of a running node: who is down gets nothing, and everybody who asks is told why.

use http::Method;
use serde_json::{Value, json};
use synod::client::Call;

use crate::backends::Backends;
use crate::harness::{Cluster, DEADLINE, free_addresses, synod, wait_until};
use crate::load::get;

/// What the node tells of a backend of `web`.
fn health(cluster: &Cluster, id: &str) -> Value {
    let path = format!("/v1/pools/web/backends/{id}?consistency=local");
    cluster.call(0, Call::get(path)).body["status"]["health"].clone()
}

fn wait_for_health(cluster: &Cluster, id: &str, expected: &str) {
    wait_until(expected, DEADLINE, || {
        (health(cluster, id) == expected).then_some(())
    });
}

#[test]
fn what_is_down_gets_nothing_until_it_is_up() {
    let cluster = Cluster::start(1);
    let mut backends = Backends::start(cluster.runtime(), &["b1"]);
    let later = free_addresses(1)[0];
    let mut addresses = backends.addresses.clone();
    addresses.insert("b2".into(), later);
    cluster.serve_pool("web", &addresses);
    assert_eq!(health(&cluster, "b2"), "unchecked");

    let checks = json!({"health": {"http": {"path": "/healthz"}, "interval": "100ms"}});
    let patch = Call::new(Method::PATCH, "/v1/pools/web?wait=applied").json(checks);
    cluster.call(0, patch);
    wait_for_health(&cluster, "b1", "up");
    wait_for_health(&cluster, "b2", "down");
    let errors = cluster.metric(0, "synod_backend_errors_total");
    for _ in 0..50 {
        cluster.block_on(get(cluster.nodes[0].traffic)).unwrap();
    }
    let after = cluster.metric(0, "synod_backend_errors_total");
    assert_eq!(after, errors, "b2 was tried although it is down");
    assert_eq!(cluster.metric(0, "synod_backend_up"), 1.0);
    assert_eq!(cluster.metric(0, "synod_pool_panic"), 0.0);
    assert!(cluster.metric(0, "synod_health_checks_total") >= 4.0);

    let question = json!({"host": "any.example", "path": "/"});
    let explained = cluster.call(0, Call::new(Method::POST, "/v1/explain").json(question));
    let why = &explained.body["pools"][0]["backends"][1]["why"];
    let why = why.as_str().unwrap();
    assert!(why.starts_with("ready, but down: cannot connect"), "{why}");
    let admin = format!("--admin=http://{}", cluster.nodes[0].admin);
    let table = synod()
        .args([&admin, "get", "pool", "web"])
        .output()
        .unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains("HEALTH") && table.contains("down: cannot connect"),
        "{table}"
    );

    backends.add(cluster.runtime(), "b2", later);
    wait_for_health(&cluster, "b2", "up");
    let shares = || {
        let answers = (0..10).map(|_| cluster.block_on(get(cluster.nodes[0].traffic)).unwrap());
        answers.filter(|answer| answer.contains("I am b2")).count()
    };
    assert_eq!(shares(), 5);
}

#[test]
fn a_restarted_node_accepts_when_it_has_backends_to_use() {
    let mut cluster = Cluster::start(1);
    let backends = Backends::start(cluster.runtime(), &["b1"]);
    let revision = cluster.serve_pool("web", &backends.addresses);
    let checks = json!({"health": {"tcp": {}, "interval": "10s"}});
    cluster.call(
        0,
        Call::new(Method::PATCH, "/v1/pools/web?wait=applied").json(checks),
    );
    for _ in 0..5 {
        cluster.terminate(0);
        cluster.spawn(0);
        let first = wait_until("the node to accept", DEADLINE, || {
            cluster.block_on(get(cluster.nodes[0].traffic)).ok()
        });
        assert!(first.contains("I am b1"), "{first}");
        cluster.wait_for_revision(0, revision);
    }
}
