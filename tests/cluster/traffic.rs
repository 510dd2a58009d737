//! Config changes under load: no request fails, and what was agreed is what is served.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;
use synod::client::Call;

use crate::backends::Backends;
use crate::harness::{Cluster, wait_until};
use crate::load::{Load, OnLoss, get};

fn traffic(cluster: &Cluster) -> Vec<SocketAddr> {
    cluster.nodes.iter().map(|node| node.traffic).collect()
}

#[test]
fn weight_changes_twice_a_second_fail_no_request() {
    let cluster = Cluster::start(3);
    let backends = Backends::start(cluster.runtime(), &["b1", "b2", "b3"]);
    cluster.serve_pool("web", &backends.addresses);
    let load = Load::start(cluster.runtime(), &traffic(&cluster), 6, OnLoss::Fail);
    let mut next = Instant::now();
    for change in 0..40 {
        let path = format!("/v1/pools/web/backends/b{}", change % 3 + 1);
        let call = Call::new(Method::PATCH, path).json(json!({"weight": change % 5}));
        cluster.call(change % 3, call);
        next += Duration::from_millis(500);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    load.stop_without_failure(cluster.runtime());
}

#[test]
fn a_node_that_stops_says_so_before_it_accepts_no_more() {
    let cluster = Cluster::start_with(1, |data, _| {
        let path = data.join("synod.toml");
        std::fs::write(&path, "[timeouts]\ngrace = \"1m\"\n").unwrap();
        vec![format!("--config={}", path.display())]
    });
    let backends = Backends::start(cluster.runtime(), &["b1"]);
    cluster.serve_pool("web", &backends.addresses);
    cluster.call(0, Call::get("/readyz"));
    cluster.signal(0, rustix::process::Signal::TERM);
    wait_until("readiness to fail", Duration::from_secs(30), || {
        cluster.try_call(0, Call::get("/readyz")).err()
    });
    for _ in 0..10 {
        let answer = cluster.block_on(get(cluster.nodes[0].traffic)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[test]
fn a_node_that_is_nearly_full_says_so_before_it_refuses() {
    let cluster = Cluster::start_with(1, |data, _| {
        let path = data.join("synod.toml");
        std::fs::write(&path, "[limits]\nrequests = 10\n").unwrap();
        vec![format!("--config={}", path.display())]
    });
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = BTreeMap::from([("b1".to_owned(), backend.local_addr().unwrap())]);
    cluster.serve_pool("web", &silent);
    let ask = || {
        let mut client = TcpStream::connect(cluster.nodes[0].traffic).unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        client
    };
    // Each is there once the backend has its connection.
    let held = |_| (ask(), backend.accept().unwrap());
    let mut clients: Vec<_> = (0..8).map(held).collect();
    cluster.call(0, Call::get("/readyz"));
    clients.extend((8..10).map(held));
    let detail = cluster.refused(0, Call::get("/readyz")).detail.unwrap();
    assert!(detail.contains("nearly all the requests"), "{detail}");
    let refused = until(&mut ask(), "\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    clients.truncate(5);
    wait_until("room", Duration::from_secs(30), || {
        cluster.try_call(0, Call::get("/readyz")).ok()
    });
}

#[test]
fn a_drain_that_waits_ends_with_the_last_byte_of_the_last_answer() {
    let cluster = Cluster::start(1);
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = BTreeMap::from([("b1".to_owned(), backend.local_addr().unwrap())]);
    cluster.serve_pool("web", &slow);
    let mut client = TcpStream::connect(cluster.nodes[0].traffic).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let (mut serving, _) = backend.accept().unwrap();
    until(&mut serving, "\r\n\r\n");
    serving
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbe")
        .unwrap();
    until(&mut client, "\r\n\r\nbe");
    let drain = |timeout: &str| {
        let path = "/v1/pools/web/backends/b1/drain?wait=empty";
        Call::new(Method::POST, format!("{path}&timeout={timeout}"))
    };
    let busy = cluster.refused(0, drain("300ms"));
    assert_eq!(
        (busy.status.as_u16(), &busy.body["in_flight"]),
        (504, &json!(1)),
        "{}",
        busy.body
    );
    std::thread::scope(|scope| {
        let drained = scope.spawn(|| cluster.call(0, drain("20s")).body);
        serving.write_all(b"e").unwrap();
        until(&mut client, "e");
        assert!(!drained.is_finished(), "a byte is missing");
        serving.write_all(b"n").unwrap();
        until(&mut client, "n");
        let waited = &drained.join().unwrap()["waited_for"];
        assert_eq!(waited["empty"], json!(["n1"]), "{waited}");
    });
    // Nothing else of it went there.
    backend.set_nonblocking(true).unwrap();
    assert!(backend.accept().is_err());
}

/// What comes, up to and with `end`, and no further.
fn until(stream: &mut TcpStream, end: &str) -> String {
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        read.push(byte[0]);
    }
    String::from_utf8(read).unwrap()
}

#[test]
fn a_pool_is_replaced_and_its_route_repointed_in_one_transaction() {
    let cluster = Cluster::start(3);
    let old = Backends::start(cluster.runtime(), &["a1", "a2"]);
    let new = Backends::start(cluster.runtime(), &["c1", "c2"]);
    cluster.serve_pool("old", &old.addresses);
    let load = Load::start(cluster.runtime(), &traffic(&cluster), 6, OnLoss::Fail);
    wait_until("traffic", Duration::from_secs(30), || {
        (load.done() > 1000).then_some(())
    });
    let members: Vec<_> = new
        .addresses
        .iter()
        .map(|(id, address)| json!({"id": id, "address": address.to_string()}))
        .collect();
    let operations = json!([
        {"op": "put", "path": "/pools/new", "value": {"name": "new", "backends": members}},
        {"op": "put", "path": "/routes/all", "value": {"name": "all", "to": [{"pool": "new"}]}},
        {"op": "delete", "path": "/pools/old"},
    ]);
    cluster.call(
        1,
        Call::new(Method::POST, "/v1/transactions?wait=applied&timeout=10s").json(operations),
    );
    load.pass(2);
    let (before_old, before_new) = (old.count("a1") + old.count("a2"), new.count("c1"));
    load.pass(100);
    load.stop_without_failure(cluster.runtime());
    assert_eq!(
        old.count("a1") + old.count("a2"),
        before_old,
        "the old pool still got requests"
    );
    assert!(new.count("c1") > before_new);
}

#[test]
fn after_wait_applied_a_removed_or_weightless_backend_gets_nothing_more() {
    let cluster = Cluster::start(3);
    let backends = Backends::start(cluster.runtime(), &["b1", "b2", "b3"]);
    cluster.serve_pool("web", &backends.addresses);
    let load = Load::start(cluster.runtime(), &traffic(&cluster), 8, OnLoss::Fail);
    for round in 0..20 {
        let path = "/v1/pools/web/backends/b1";
        let removed = if round % 2 == 0 {
            Call::new(Method::PATCH, format!("{path}?wait=applied")).json(json!({"weight": 0}))
        } else {
            Call::new(Method::DELETE, format!("{path}?wait=applied"))
        };
        cluster.call(round % 3, removed);
        let returned = backends.count("b1");
        // What was sent before may be counted late, at most once a client; after that nothing more comes.
        load.pass(2);
        let settled = backends.count("b1");
        assert!(
            settled - returned <= 8,
            "round {round}: {} came late",
            settled - returned
        );
        load.pass(25);
        assert_eq!(
            backends.count("b1"),
            settled,
            "round {round}: a request reached b1 after it was taken out"
        );
        let spec = json!({"id": "b1", "address": backends.addresses["b1"].to_string()});
        cluster.call(
            round % 3,
            Call::new(Method::PUT, format!("{path}?wait=applied")).json(spec),
        );
    }
    load.stop_without_failure(cluster.runtime());
}

#[test]
fn weights_five_one_one_are_exact_on_every_node() {
    let cluster = Cluster::start(3);
    let backends = Backends::start(cluster.runtime(), &["a", "b", "c"]);
    cluster.serve_pool("web", &backends.addresses);
    let path = "/v1/pools/web/backends/a?wait=applied";
    cluster.call(0, Call::new(Method::PATCH, path).json(json!({"weight": 5})));
    for node in &cluster.nodes {
        let before = ["a", "b", "c"].map(|id| backends.count(id));
        for _ in 0..70 {
            cluster.block_on(get(node.traffic)).unwrap();
        }
        let after = ["a", "b", "c"].map(|id| backends.count(id));
        let shares: Vec<u64> = after
            .iter()
            .zip(before)
            .map(|(after, before)| after - before)
            .collect();
        assert_eq!(shares, [50, 10, 10], "on {}", node.name);
    }
}

/// The cookie that the answer sets, and its body.
fn ask_with(cookie: &str, at: SocketAddr) -> std::io::Result<(Option<String>, String)> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(crate::harness::DEADLINE))?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let mut lines = head.lines();
    let set = lines.find_map(|line| line.strip_prefix("Set-Cookie: ")?.split(';').next());
    Ok((set.map(str::to_owned), body.to_owned()))
}

#[test]
fn a_client_comes_back_to_its_backend_on_every_node_and_after_a_restart_without_quorum() {
    let mut cluster = Cluster::start(3);
    let backends = Backends::start(cluster.runtime(), &["b1", "b2", "b3"]);
    cluster.serve_pool("web", &backends.addresses);
    let sticky = Call::new(Method::PATCH, "/v1/pools/web?wait=applied&timeout=10s");
    let sticky = cluster.call(1, sticky.json(json!({"sticky": {}})));
    let follower = cluster.join("p1", &[0]);
    cluster.wait_for_revision(follower, sticky.revision);

    let (cookie, body) = ask_with("", cluster.nodes[0].traffic).unwrap();
    let cookie = cookie.expect("a new client is told");
    let assert_stays = |at: SocketAddr| {
        for _ in 0..4 {
            assert_eq!(ask_with(&cookie, at).unwrap(), (None, body.clone()));
        }
    };
    traffic(&cluster).into_iter().for_each(assert_stays);
    (0..3).for_each(|voter| cluster.kill(voter));
    cluster.spawn(2);
    let restarted = cluster.nodes[2].traffic;
    wait_until("traffic", crate::harness::DEADLINE, || {
        let (_, told) = ask_with(&cookie, restarted).ok()?;
        (told == body).then_some(())
    });
    assert_stays(restarted);
}
