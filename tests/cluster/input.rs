//! Bad input: a clear error that tells all faults, and nothing changed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use synod::client::Call;

use crate::harness::{Cluster, free_addresses, synod};

fn pointers(problem: &synod::client::Problem) -> Vec<&str> {
    problem
        .faults
        .iter()
        .map(|fault| fault.pointer.as_str())
        .collect()
}

#[test]
fn bad_resources_are_refused_whole_and_change_nothing() {
    let cluster = Cluster::start(1);
    cluster.put(0, "/v1/pools/web", json!({"name": "web"}));
    let config = || cluster.call(0, Call::get("/v1/config"));
    let before = config();
    let cases: [(&str, Value, &[&str]); 4] = [
        (
            "/v1/pools/web",
            json!({"name": "web", "backend": [], "balance": "fastest", "backends": [{"id": "b1", "address": "nowhere", "weight": -1}]}),
            &[
                "/backend",
                "/backends/0/address",
                "/backends/0/weight",
                "/balance",
            ],
        ),
        ("/v1/pools/web", json!({"name": "other"}), &["/name"]),
        (
            "/v1/routes/shop",
            json!({"name": "shop", "to": [{"pool": "missing"}]}),
            &["/to/0/pool"],
        ),
        (
            "/v1/routes/shop",
            json!({"name": "shop", "match": {"path": {"prefix": "shop"}}, "to": []}),
            &["/match/path/prefix", "/to"],
        ),
    ];
    for (path, body, expected) in cases {
        let problem = cluster.refused(0, Call::new(Method::PUT, path).json(body.clone()));
        assert_eq!(
            problem.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{body}: {problem}"
        );
        let mut found = pointers(&problem);
        found.sort_unstable();
        assert_eq!(found, expected, "{body}");
        assert!(problem.faults.iter().all(|fault| !fault.detail.is_empty()));
    }
    let after = config();
    assert_eq!((after.revision, after.body), (before.revision, before.body));
}

#[test]
fn ten_megabytes_of_braces_are_refused_cheaply() {
    let cluster = Cluster::start(1);
    for (braces, expected) in [("{".repeat(10 << 20), "413"), ("[".repeat(3 << 20), "400")] {
        let mut stream = TcpStream::connect(cluster.nodes[0].admin).unwrap();
        let head = format!(
            "PUT /v1/config HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n",
            braces.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The node may answer and close before it has read all.
        let _ = stream.write_all(braces.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{answer}"
        );
    }
    cluster.call(0, Call::get("/v1/config"));
}

#[test]
fn of_two_clients_with_one_if_match_one_wins() {
    let cluster = Cluster::start(3);
    let revision = cluster.put(0, "/v1/pools/web", json!({"name": "web"}));
    let call = |balance: &str| {
        Call::new(Method::PUT, "/v1/pools/web")
            .header("if-match", format!("\"{revision}\""))
            .json(json!({"name": "web", "balance": balance}))
    };
    let first = cluster.call(1, call("least_connections"));
    assert!(first.revision > revision);
    let problem = cluster.refused(2, call("round_robin"));
    assert_eq!(problem.status, StatusCode::PRECONDITION_FAILED, "{problem}");
    let pool = cluster.call(0, Call::get("/v1/pools/web")).body;
    assert_eq!(pool["spec"]["balance"], "least_connections");
}

#[test]
fn a_wrong_settings_file_shows_every_fault_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("synod.toml");
    std::fs::write(&file, "node = \"a\"\nlistner = 1\nthreads = \"many\"\n").unwrap();
    for command in ["check", "serve"] {
        let mut process = synod();
        match command {
            "check" => process.arg("check").arg(&file),
            _ => process.arg("serve").arg("--config").arg(&file),
        };
        let output = process.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}");
        let text = String::from_utf8_lossy(&output.stderr);
        for part in [
            "synod.toml:2:1",
            "listner",
            "synod.toml:3:11",
            "whole number",
        ] {
            assert!(text.contains(part), "{command} lacks {part}:\n{text}");
        }
    }
}

#[test]
fn plaintext_beyond_loopback_needs_the_word() {
    let [peer, traffic] = free_addresses(2)[..] else {
        unreachable!()
    };
    let output = synod()
        .args([
            "serve",
            "--admin=0.0.0.0:0",
            &format!("--peer={peer}"),
            &format!("--listen={traffic}"),
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("admin.address") && text.contains("--allow-plaintext"),
        "{text}"
    );
}
