//! Fenced routes: the load balancer refuses who lost the lock, on every node.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use http::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use synod::client::Call;

use crate::backends::Backends;
use crate::harness::{Cluster, DEADLINE, wait_until};

/// The status of a request that shows this token.
fn status(traffic: SocketAddr, token: Option<u64>) -> u16 {
    let lines = token.map(|token| format!("Synod-Lock-Token: {token}\r\n"));
    status_of(traffic, &lines.unwrap_or_default())
}

/// The status of a request with these header lines.
fn status_of(traffic: SocketAddr, lines: &str) -> u16 {
    let mut stream = TcpStream::connect(traffic).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn session(cluster: &Cluster) -> u64 {
    let call = Call::new(Method::POST, "/v1/sessions").json(json!({"lease": "1h"}));
    cluster.call(0, call).body["session"].as_u64().unwrap()
}

fn claim(cluster: &Cluster, node: usize, session: u64) -> u64 {
    let body = json!({"session": session, "wait": "30s"});
    let call = Call::new(Method::POST, "/v1/locks/deploy/acquire?timeout=15s").json(body);
    cluster.call(node, call).body["token"].as_u64().unwrap()
}

fn let_go(cluster: &Cluster, session: u64) {
    let call = Call::new(Method::POST, "/v1/locks/deploy/release");
    cluster.call(0, call.json(json!({ "session": session })));
}

#[test]
fn a_fenced_route_refuses_who_lost_the_lock_on_every_node_also_on_one_that_stood_still() {
    let cluster = Cluster::start(3);
    let backends = Backends::start(cluster.runtime(), &["b1"]);
    cluster.serve_pool("web", &backends.addresses);
    let fence: Value = json!({"fence": {"lock": "deploy"}});
    let patch = "/v1/routes/all?wait=applied&timeout=10s";
    cluster.call(0, Call::new(Method::PATCH, patch).json(fence));
    let all = |token| {
        cluster
            .nodes
            .iter()
            .map(move |node| status(node.traffic, token))
    };

    let [a, b, c] = std::array::from_fn(|_| session(&cluster));
    let first = claim(&cluster, 0, a);
    assert_eq!(all(None).collect::<Vec<_>>(), [428; 3]);
    for node in &cluster.nodes {
        // Its fence may not be confirmed yet.
        wait_until("the fence to open", DEADLINE, || {
            (status(node.traffic, Some(first)) == 200).then_some(())
        });
    }
    let_go(&cluster, a);
    let second = claim(&cluster, 1, b);
    assert_eq!(all(Some(first)).collect::<Vec<_>>(), [412; 3], "at once");
    assert_eq!(all(Some(second)).collect::<Vec<_>>(), [200; 3]);
    for never in [second + 1, u64::MAX] {
        assert_eq!(all(Some(never)).collect::<Vec<_>>(), [412; 3], "{never}");
    }
    let line = format!("Synod-Lock-Token: {second}\r\n");
    for lines in [
        format!("{line}Synod-Lock-Token: {first}\r\n"),
        format!("{line}Connection: synod-lock-token\r\n"),
    ] {
        let traffic = cluster.nodes[0].traffic;
        assert_eq!(status_of(traffic, &lines), 428, "{lines}");
    }

    let_go(&cluster, b);
    let still = (cluster.wait_for_leader() + 1) % 3;
    let other = (still + 1) % 3;
    cluster.signal(still, Signal::STOP);
    let third = claim(&cluster, other, c);
    cluster.signal(still, Signal::CONT);
    let refused = status(cluster.nodes[still].traffic, Some(second));
    assert!(matches!(refused, 412 | 503), "{refused}");
    assert_eq!(status(cluster.nodes[other].traffic, Some(second)), 412);
    wait_until("the fence to open", DEADLINE, || {
        (status(cluster.nodes[other].traffic, Some(third)) == 200).then_some(())
    });
    assert_eq!(backends.count("b1"), 3 + 3 + 1, "nobody else got through");
}
