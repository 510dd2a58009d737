//! Ten thousand clients that keep their connections and say nothing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::backends::Backends;
use crate::harness::{Cluster, DEADLINE};
use crate::load::{Load, OnLoss};

const CROWD: usize = 10_000;

/// Bytes of the node's memory that one of them may cost: a few more than it does (the README tells how many), for the
/// node is built without optimizations.
const MOST_EACH: usize = 2_048;

/// Files beside those of the crowd, in this process and in the node's.
const OTHERS: usize = 1_000;

/// Has this process, and so the node that it starts, hold them all.
fn make_room() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let (most, needed) = (limit.maximum.unwrap_or(u64::MAX), CROWD + OTHERS);
    assert!(
        most >= needed as u64,
        "raise the hard limit of open files from {most} to at least {needed}: ulimit -Hn {needed}"
    );
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Asks once, and reads to the end of the answer, which is that of the backend.
fn ask(stream: &mut TcpStream) {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"I am b1\n") {
        let mut piece = [0; 1_024];
        let read = stream.read(&mut piece).unwrap();
        let so_far = String::from_utf8_lossy(&answer);
        assert!(read > 0, "it broke off: {so_far}");
        answer.extend_from_slice(&piece[..read]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_go_on_when_they_are_used() {
    make_room();
    let cluster = Cluster::start(1);
    let backends = Backends::start(cluster.runtime(), &["b1"]);
    cluster.serve_pool("web", &backends.addresses);
    let traffic = cluster.nodes[0].traffic;
    // What the first requests make is not counted.
    let mut early: Vec<TcpStream> = (0..100).map(|_| connect(traffic)).collect();
    early.iter_mut().for_each(ask);
    let before = cluster.resident_bytes(0);

    let load = Load::start(cluster.runtime(), &[traffic], 4, OnLoss::Fail);
    // Each asks at once: one that says nothing has only the time for a head.
    let used = |_| {
        let mut stream = connect(traffic);
        ask(&mut stream);
        stream
    };
    let mut idle: Vec<TcpStream> = (0..CROWD).map(used).collect();
    load.pass(100);
    let each = cluster.resident_bytes(0).saturating_sub(before) / CROWD;
    assert!(each <= MOST_EACH, "{each} bytes for each of {CROWD}");

    idle.iter_mut().step_by(7).for_each(ask);
    load.pass(100);
    load.stop_without_failure(cluster.runtime());
}
