//! The command line as a user types it: what it prints, its exit codes, the sample files, the demo.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::backends::Backends;
use crate::harness::{Cluster, DEADLINE, free_addresses, synod, wait_until};
use crate::load::get;

/// Runs `synod` against the cluster's second node, if it has one, with a dead admin address before it.
fn run(cluster: &Cluster, args: &[&str]) -> Output {
    let dead = free_addresses(1)[0];
    let node = cluster.nodes.get(1).unwrap_or(&cluster.nodes[0]);
    synod()
        .args(args)
        .env(
            "SYNOD_ADMIN",
            format!("http://{dead},http://{}", node.admin),
        )
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn succeeds(cluster: &Cluster, args: &[&str]) -> String {
    let output = run(cluster, args);
    assert!(
        output.status.success(),
        "{args:?} ended with {}: {}",
        output.status,
        text(&output)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn fails(cluster: &Cluster, code: i32, args: &[&str]) -> String {
    let output = run(cluster, args);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{args:?}: {}",
        text(&output)
    );
    text(&output)
}

#[test]
fn without_a_quorum_a_node_tells_what_it_knows_itself() {
    let mut cluster = Cluster::start(3);
    let backends = Backends::start(cluster.runtime(), &["b1"]);
    cluster.serve_pool("web", &backends.addresses);
    cluster.kill(0);
    cluster.kill(2);
    for args in [
        &["get", "pools"][..],
        &["history"],
        &["explain", "GET", "http://x/"],
    ] {
        let refused = fails(&cluster, 1, args);
        assert!(refused.contains("--local"), "{args:?}: {refused}");
    }
    // Nobody is told of a flag that the command has not.
    for told in [
        succeeds(&cluster, &["status"]),
        fails(&cluster, 1, &["backup", "/nowhere"]),
        fails(&cluster, 1, &["rollback", "2"]),
    ] {
        assert!(told.contains("no leader could confirm"), "{told}");
        assert!(!told.contains("--local"), "{told}");
    }
    for (args, told) in [
        (&["get", "pool", "web", "--local"][..], "b1"),
        (&["get", "pools", "--limit", "1", "--local"], "1/1"),
        (&["history", "--local"], "anonymous@127.0.0.1"),
        (&["explain", "GET", "http://x/", "--local"], "goes to web"),
    ] {
        let answer = succeeds(&cluster, args);
        assert!(answer.contains(told), "{args:?}: {answer}");
    }
}

#[test]
fn an_operators_day_on_the_command_line() {
    let cluster = Cluster::start(3);
    let backends = Backends::start(cluster.runtime(), &["b1", "b2"]);
    let file = cluster.data.path().join("web.yaml");
    let config = format!(
        "pools:\n  - name: web\n    backends:\n      - {{id: b1, address: '{}'}}\n      - {{id: b2, address: '{}'}}\n\
         routes:\n  - name: all\n    to: [{{pool: web}}]\n",
        backends.addresses["b1"], backends.addresses["b2"]
    );
    std::fs::write(&file, config).unwrap();
    let file = file.to_str().unwrap();

    assert!(fails(&cluster, 3, &["diff", "-f", file]).contains("+ /pools/web"));
    succeeds(
        &cluster,
        &["apply", "-f", file, "--until", "applied", "-m", "first"],
    );
    assert!(succeeds(&cluster, &["diff", "-f", file]).contains("no difference"));
    for node in &cluster.nodes {
        assert!(
            cluster
                .block_on(get(node.traffic))
                .unwrap()
                .contains("I am b")
        );
    }

    succeeds(&cluster, &["weight", "web/b1", "7", "-m", "more memory"]);
    let pool: Value =
        serde_json::from_str(&succeeds(&cluster, &["-o", "json", "get", "pool", "web"])).unwrap();
    assert_eq!(pool["spec"]["backends"][0]["weight"], 7);
    let history = succeeds(&cluster, &["history"]);
    assert!(
        history.contains("more memory") && history.contains("first"),
        "{history}"
    );

    succeeds(&cluster, &["drain", "web/b2", "--wait"]);
    let explained = succeeds(&cluster, &["explain", "GET", "http://shop.example/cart"]);
    for part in ["all", "web", "b1", "b2", "drain"] {
        assert!(explained.contains(part), "no {part} in:\n{explained}");
    }
    succeeds(&cluster, &["ready", "web/b2", "--wait"]);
    let status = succeeds(&cluster, &["status"]);
    assert!(
        status.contains("writes work") && status.contains("n3"),
        "{status}"
    );
    assert!(succeeds(&cluster, &["nodes"]).contains("leader"));
    assert!(succeeds(&cluster, &["get", "routes"]).contains("all"));
    let newest = succeeds(&cluster, &["get", "revisions", "--limit", "1"]);
    assert!(newest.contains("and more"), "{newest}");

    let none = "nobody holds a lock or waits for one";
    assert!(succeeds(&cluster, &["get", "locks"]).contains(none));
    let within = "\"$0\" get locks; \"$0\" get lock deploy; \"$0\" get sessions --limit 1";
    let binary = env!("CARGO_BIN_EXE_synod");
    let lock = ["lock", "deploy", "--content", "by test", "--"];
    let held = succeeds(
        &cluster,
        &[&lock[..], &["sh", "-c", within, binary]].concat(),
    );
    for part in [
        "by test",
        "exclusive",
        "holds",
        "anonymous@127.0.0.1",
        "12 s",
    ] {
        assert!(held.contains(part), "no {part} in:\n{held}");
    }

    assert!(
        fails(&cluster, 1, &["delete", "pool", "web"]).contains("all"),
        "who refers is named"
    );
    succeeds(&cluster, &["delete", "route", "all"]);
    assert!(fails(&cluster, 1, &["weight", "web/b9", "1"]).contains("b9"));
    assert!(fails(&cluster, 2, &["weight", "web", "1"]).contains("POOL/BACKEND"));
    assert!(fails(&cluster, 2, &["weight", "web/b1", "-1"]).contains("0..=65535"));
    fails(&cluster, 2, &["frobnicate"]);

    let revisions: Value =
        serde_json::from_str(&succeeds(&cluster, &["history", "-o", "json"])).unwrap();
    let first = revisions["items"].as_array().unwrap().last().unwrap()["revision"].to_string();
    assert!(
        fails(&cluster, 1, &["rollback", "1"]).contains("revision 1"),
        "1 never was a revision"
    );
    let changed = succeeds(&cluster, &["history", &first]);
    assert!(changed.contains("+ /pools/web"), "{changed}");
    let newest = || succeeds(&cluster, &["history", "--limit", "1"]);
    let before = newest();
    let planned = succeeds(&cluster, &["rollback", &first, "--dry-run"]);
    assert!(planned.contains("+ /routes/all"), "{planned}");
    let only = ["rollback", &first, "--only", "route/all", "--dry-run"];
    assert_eq!(succeeds(&cluster, &only).matches("+ /").count(), 1);
    assert!(fails(&cluster, 2, &["rollback", &first, "--only", "all"]).contains("routes/NAME"));
    assert_eq!(newest(), before, "a dry run changes nothing");
    succeeds(&cluster, &["rollback", &first]);
    assert!(succeeds(&cluster, &["diff", "-f", file, "--replace"]).contains("no difference"));
}

#[test]
fn a_write_whose_outcome_is_unknown_is_repeated_under_its_key() {
    let node = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("--admin=http://{}", node.local_addr().unwrap());
    let (sender, keys) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in node.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let key = request.split("idempotency-key: ").nth(1).unwrap();
            let key = key.lines().next().unwrap().to_owned();
            let body = json!({"title": "No quorum", "outcome": "unknown", "key": key}).to_string();
            let head = "HTTP/1.1 503 Service Unavailable\r\nsynod-node: n1\r\nsynod-revision: 2";
            let length = body.len();
            write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
            sender.send(key).unwrap();
        }
    });
    let unknown = |more: &[&str]| {
        let weight = ["weight", "web/b1", "3"];
        let output = synod()
            .arg(&admin)
            .args(weight)
            .args(more)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        let key = keys.recv_timeout(DEADLINE).unwrap();
        let advice = format!("repeat the command with --idempotency-key {key}:");
        assert!(text(&output).contains(&advice), "{}", text(&output));
        key
    };
    let drawn = unknown(&[]);
    assert_ne!(drawn, unknown(&[]));
    assert_eq!(unknown(&["--idempotency-key", "mine"]), "mine");
}

#[test]
fn under_one_key_a_command_is_done_once() {
    let cluster = Cluster::start(1);
    let backends = Backends::start(cluster.runtime(), &["b1"]);
    cluster.serve_pool("web", &backends.addresses);
    fn keyed<'a>(command: &[&'a str]) -> Vec<&'a str> {
        [command, &["--idempotency-key", "mine"]].concat()
    }
    let first = succeeds(&cluster, &keyed(&["weight", "web/b1", "3"]));
    succeeds(&cluster, &["weight", "web/b1", "4"]);
    assert_eq!(
        succeeds(&cluster, &keyed(&["weight", "web/b1", "3"])),
        first
    );
    assert!(succeeds(&cluster, &["get", "pool", "web"]).contains("4 "));
    let reused = fails(&cluster, 1, &keyed(&["weight", "web/b1", "5"]));
    assert!(reused.contains("was used"), "{reused}");
}

#[test]
fn an_order_that_no_waiting_makes_possible_is_refused_at_once() {
    let cluster = Cluster::start(3);
    for (order, why) in [
        (&["replace", "n1", "n2"][..], "`n2` has a vote already"),
        (&["replace", "nobody", "d"], "`nobody` is no voter"),
        (&["add", "n3"], "`n3` has a vote already"),
    ] {
        // Longer than this test has.
        let timeout = format!("{}s", 20 * DEADLINE.as_secs());
        let members = [&["members", "--timeout", &timeout], order].concat();
        let node = format!("http://{}", cluster.nodes[0].admin);
        let mut command = synod();
        command
            .args(members)
            .env("SYNOD_ADMIN", node)
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let ended = wait_until("a refusal", DEADLINE, || child.try_wait().unwrap());
        assert_eq!(ended.code(), Some(1));
        let output = child.wait_with_output().unwrap();
        assert!(text(&output).contains(why), "{}", text(&output));
    }
    let waits = fails(&cluster, 1, &["members", "add", "ghost", "--timeout", "3s"]);
    assert!(waits.contains("waiting for ghost to catch up"), "{waits}");
    assert!(waits.contains("3s at most (--timeout)"), "{waits}");
}

#[test]
fn programs_are_told_as_they_asked() {
    let cluster = Cluster::start(1);
    let output = run(&cluster, &["get", "pool", "nope", "-o", "json"]);
    let told: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(told["problem"]["status"], 404, "{told}");
    assert!(told["error"].as_str().unwrap().contains("nope"), "{told}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/routes.yaml");
    let file = file.to_str().unwrap();
    let value = |args: &[&str]| -> Value {
        serde_json::from_str(&succeeds(&cluster, args)).expect("an answer in JSON")
    };
    assert_eq!(value(&["check", file, "-o", "json"])["kind"], "config");
    let token = value(&["token", "ann", "--role", "viewer", "-o", "json"]);
    assert_eq!(token["sha256"].as_str().map(str::len), Some(64), "{token}");
}

fn top(cluster: &Cluster, args: &[&str]) -> String {
    let output = synod()
        .args(["top", "--interval=500ms"])
        .args(args)
        .env("SYNOD_ADMIN", cluster.nodes[0].admin.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

#[test]
fn top_counts_what_clients_got_where_no_backend_was_asked() {
    let cluster = Cluster::start(1);
    let traffic = cluster.nodes[0].traffic;
    cluster.put(0, "/v1/pools/empty", json!({"name": "empty"}));
    let load = cluster.runtime().spawn(async move {
        loop {
            get(traffic).await.unwrap();
        }
    });
    let rate = json!({"requests": 1, "per": "1h"});
    for (answer, spec) in [
        ("404", json!({"match": {"hosts": ["elsewhere.example"]}})),
        ("503", json!({})),
        ("429", json!({"rate_limit": rate})),
    ] {
        let mut route = json!({"name": "all", "to": [{"pool": "empty"}]});
        route
            .as_object_mut()
            .unwrap()
            .extend(spec.as_object().unwrap().clone());
        cluster.put(0, "/v1/routes/all?wait=applied", route);
        let (field, other) = match answer {
            "503" => ("errors_per_second", "client_errors_per_second"),
            _ => ("client_errors_per_second", "errors_per_second"),
        };
        wait_until(answer, DEADLINE, || {
            let report: Value = serde_json::from_str(&top(&cluster, &["-o", "json"])).unwrap();
            let rate = |field: &str| report[field].as_f64();
            let of_all = rate(field)? > 0.0 && rate(other)? == 0.0;
            (of_all && rate("requests_per_second") == rate(field)).then_some(())
        });
    }
    load.abort();
}

#[test]
fn top_shows_one_interval_where_there_is_no_terminal() {
    let cluster = Cluster::start(1);
    let backends = Backends::start(cluster.runtime(), &["b1", "b2"]);
    cluster.serve_pool("web", &backends.addresses);
    let traffic = cluster.nodes[0].traffic;
    let load = cluster.runtime().spawn(async move {
        loop {
            get(traffic).await.unwrap();
        }
    });
    let top = |args: &[&str]| top(&cluster, args);
    // A machine that stands still for an interval shows none.
    wait_until("a rate", DEADLINE, || {
        let report: Value = serde_json::from_str(&top(&["-o", "json"])).unwrap();
        (report["pools"][0]["requests_per_second"].as_f64() > Some(0.0)).then_some(())
    });
    let frame = top(&[]);
    assert!(
        frame.contains("web/b2") && frame.contains("2 of 2"),
        "{frame}"
    );
    load.abort();
}

#[test]
fn a_reader_that_leaves_early_fails_no_command() {
    let cluster = Cluster::start(1);
    let mut child = synod()
        .args(["get", "config", "--admin"])
        .arg(format!("http://{}", cluster.nodes[0].admin))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output)),
        (Some(0), String::new())
    );
}

#[test]
fn no_node_at_the_address_is_said_with_what_to_try() {
    let dead = free_addresses(1)[0];
    let output = synod()
        .args(["nodes", "--admin", &format!("http://{dead}")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("--admin"), "{}", text(&output));
}

#[test]
fn nobody_but_a_node_is_believed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let backends = Backends::start(&runtime, &["b1"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.json");
    std::fs::write(&file, "{\"pools\": [{\"name\": \"web\"}]}").unwrap();
    let file = file.to_str().unwrap();
    let backup = folder.path().join("backup");
    for arguments in [
        &["status"][..],
        &["nodes"],
        &["members"],
        &["get", "pools"],
        &["get", "config"],
        &["history"],
        &["weight", "web/b1", "3"],
        &["drain", "web/b1", "--wait"],
        &["apply", "-f", file, "--until", "applied"],
        &["diff", "-f", file],
        &["delete", "pool", "web"],
        &["rollback", "2"],
        &["members", "remove", "a"],
        &["members", "transfer", "b"],
        &["explain", "GET", "http://x/"],
        &["backup", backup.to_str().unwrap()],
        &["top", "--once"],
        &["lock", "x", "--", "true"],
        &["edit", "pool", "web"],
        &["watch"],
    ] {
        let output = synod()
            .arg(format!("--admin=http://{}", backends.addresses["b1"]))
            .args(arguments)
            .env("EDITOR", "true")
            .output()
            .unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(
            text.contains("is that the admin address of a node?"),
            "{arguments:?}: {text}"
        );
    }
}

#[test]
fn a_node_that_stands_still_holds_up_no_command() {
    let cluster = Cluster::start(3);
    let backends = Backends::start(cluster.runtime(), &["b1"]);
    cluster.serve_pool("web", &backends.addresses);
    let follower = (0..3).find(|node| Some(*node) != cluster.leader()).unwrap();
    let other = (0..3).find(|node| *node != follower).unwrap();
    cluster.signal(follower, Signal::STOP);
    let both = [follower, other].map(|node| format!("http://{}", cluster.nodes[node].admin));
    for arguments in [
        &["get", "pools"][..],
        &["weight", "web/b1", "3"],
        &["explain", "GET", "http://x/"],
    ] {
        let mut command = synod();
        // So long that a wait for its end fails the test.
        command
            .args(arguments)
            .args(["--timeout", "5m"])
            .env("SYNOD_ADMIN", both.join(","));
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until("an answer", DEADLINE, || child.try_wait().unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(
            !text(&output).contains("no answer"),
            "{arguments:?}: {}",
            text(&output)
        );
    }
    cluster.signal(follower, Signal::CONT);
}

#[test]
fn what_is_no_name_or_no_comment_is_refused_before_anything_is_asked() {
    let dead = format!("http://{}", free_addresses(1)[0]);
    for arguments in [
        &["delete", "pool", "web#canary"][..],
        &["delete", "route", "a/../b"],
        &["delete", "backend", "web/b1?dry_run=true"],
        &["weight", "web/b1?dry_run=true#", "9"],
        &["weight", "web", "9"],
        &["drain", "web/b1/ready#"],
        &["get", "pool", "a b"],
        &["lock", "a b", "--", "true"],
        &["weight", "web/b1", "9", "-m", "subject\n\nbody"],
    ] {
        let output = synod().args(["--admin", &dead]).args(arguments).output();
        let output = output.unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            text(&output)
        );
    }
}

#[test]
fn every_shell_gets_a_script_that_knows_all_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = synod().args(["completions", shell]).output().unwrap();
        assert!(output.status.success(), "{shell}: {}", text(&output));
        let script = text(&output);
        for word in ["explain", "completions", "admin", "replace", "pools"] {
            assert!(script.contains(word), "{shell} knows no {word}");
        }
    }
    let completed = "source <(\"$SYNOD\" completions bash)
        COMP_WORDS=(synod get po) COMP_CWORD=2; _synod synod po get; echo \"${COMPREPLY[@]}\"";
    let output = std::process::Command::new("bash")
        .args(["-c", completed])
        .env("SYNOD", env!("CARGO_BIN_EXE_synod"))
        .output()
        .unwrap();
    assert_eq!(text(&output).trim(), "pools policies");
}

#[test]
fn the_sample_files_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let name = path.file_name().and_then(|name| name.to_str());
        let others = matches!(name, Some("alerts.yaml" | "compose.yaml" | "grafana.json"));
        if !others && matches!(extension, Some("toml" | "yaml" | "json")) {
            let output = synod().arg("check").arg(&path).output().unwrap();
            assert!(
                output.status.success(),
                "{}: {}",
                path.display(),
                text(&output)
            );
            checked += 1;
        }
    }
    assert!(checked >= 4, "{checked} samples");
}

#[test]
fn check_tells_every_fault_of_a_config() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.json");
    let config = json!({
        "pools": [{"name": "web", "backends": [{"id": "b1", "address": "10.0.0.1:80", "weight": 70000}]}],
        "routes": [{"name": "all", "to": [{"pool": "missing"}]}],
    });
    std::fs::write(&file, config.to_string()).unwrap();
    let output = synod().arg("check").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = text(&output);
    assert!(
        text.contains("/pools/0/backends/0/weight") && text.contains("65535"),
        "{text}"
    );
}

#[test]
fn apply_and_diff_hold_a_file_to_what_check_does() {
    let folder = tempfile::tempdir().unwrap();
    let dead = format!("--admin=http://{}", free_addresses(1)[0]);
    for (name, content, told) in [
        (
            "twice.json",
            "{\"pools\": [{\"name\": \"keep\"}], \"routes\": [],\n \"pools\": []}",
            &["`pools` stands twice in one object at line 2 column 8"][..],
        ),
        (
            "same.yaml",
            "pools:\n  - {name: p1}\n  - {name: p1}\n",
            &["/pools/1/name: must be unique"],
        ),
        (
            "faults.yaml",
            "pools:\n  - name: no\n  - {name: web, backends: [{id: b1, address: '127.0.0.1:1', weight: 70000}]}\n",
            &[
                "/pools/0/name: must be a name, not false, as YAML has `no`; put it in quotes\n    at ",
                "faults.yaml:2:11\n",
                "/pools/1/backends/0/weight: must be",
                "faults.yaml:3:69, in pools/web/backends/b1",
            ],
        ),
        (
            "odd.yaml",
            "pools:\n  - {name: web, backends: [{id: b1, address: '127.0.0.1:1', weight: 0777}]}\n\
             routes:\n  - {name: r, match: {hosts: [y]}, to: [{pool: web}]}\n",
            &[
                "/pools/0/backends/0/weight: must be an integer from 0 to 65535, not 777.0, as YAML has `0777`\n",
                "/routes/0/match/hosts/0: must be a host name, not true, as YAML has `y`; put it in quotes\n",
                "odd.yaml:4:31, in routes/r\n",
            ],
        ),
        (
            "lines.toml",
            "[[pools]]\nname = 'web'\n[[pools.backends]]\nid = 'b1'\naddress = '127.0.0.1:1'\nweight = 70000\n",
            &["lines.toml:6:10, in pools/web/backends/b1\n"],
        ),
        (
            "lines.json",
            "{\"pools\": [\n\t{\"name\": \"web\",\n\t \"balance\": 7}]}",
            &["lines.json:3:14, in pools/web\n"],
        ),
        (
            "key.yaml",
            "pools:\n  - name: web\n    name: two\n",
            &["line 3", "`name` is not allowed"],
        ),
        ("kinds.json", "{\"pool\": []}", &["/pool"]),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        let file = file.to_str().unwrap();
        let run = |arguments: &[&str]| {
            let output = synod()
                .arg(&dead)
                .args(arguments)
                .arg(file)
                .output()
                .unwrap();
            assert_eq!(
                output.status.code(),
                Some(1),
                "{arguments:?} {name}: {output:?}"
            );
            text(&output)
        };
        let checked = run(&["check"]);
        for told in told {
            assert!(checked.contains(told), "no {told} in {checked}");
        }
        assert!(!checked.contains("DuplicateKeyPolicy"), "{checked}");
        for arguments in [
            &["apply", "-f"][..],
            &["apply", "--replace", "-f"],
            &["apply", "--dry-run", "-f"],
            &["diff", "-f"],
        ] {
            assert_eq!(run(arguments), checked, "{arguments:?} {name}");
        }
    }
}

#[test]
fn a_fault_that_only_the_cluster_sees_is_pointed_to_in_the_file() {
    let cluster = Cluster::start(1);
    let file = cluster.data.path().join("route.yaml");
    let users = "users: [{name: ann, password_sha256: (redacted)}]";
    let write = |config: &str| std::fs::write(&file, config).unwrap();
    let file = file.to_str().unwrap();
    write("routes:\n  - {name: all, to: [{pool: web}]}\n");
    for arguments in [&["apply", "-f", file][..], &["diff", "-f", file]] {
        let refused = fails(&cluster, 1, arguments);
        assert_eq!(
            refused
                .matches("/routes/0/to/0/pool: there is no pool `web`")
                .count(),
            1,
            "{refused}"
        );
        assert!(
            refused.contains("route.yaml:2:29, in routes/all"),
            "{refused}"
        );
    }
    // What an answer showed in the place of a secret is left to the cluster, which knows it.
    let hash = "ab".repeat(32);
    let auth = json!({"users": [{"name": "ann", "password_sha256": hash}]});
    cluster.put(0, "/v1/pools/web", json!({}));
    cluster.put(
        0,
        "/v1/routes/all",
        json!({"to": [{"pool": "web"}], "basic_auth": auth}),
    );
    write(&format!(
        "pools:\n  - name: web\nroutes:\n  - {{name: all, to: [{{pool: web}}], basic_auth: {{{users}}}}}\n"
    ));
    assert!(succeeds(&cluster, &["diff", "-f", file]).contains("no difference"));
    assert!(succeeds(&cluster, &["diff", "-f", file, "--replace"]).contains("no difference"));
}

#[test]
fn check_tells_every_file_of_settings_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("key.pem"), "no key").unwrap();
    std::fs::write(at("cert.pem"), "no certificate").unwrap();
    let (cert, key, missing) = (at("cert.pem"), at("key.pem"), at("missing.pem"));
    let settings = format!(
        "[admin]\ntls = {{ certificates = [{{ cert = '{missing}', key = '{key}' }}] }}\n\
         [peer]\ntls = {{ ca = '{cert}', cert = '{cert}', key = '{key}' }}\n"
    );
    std::fs::write(at("node.toml"), settings).unwrap();
    let output = synod().arg("check").arg(at("node.toml")).output().unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in ["missing.pem", "cert.pem", "admin", "peer"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[test]
fn the_demo_serves_and_ends_cleanly() {
    let mut child = synod()
        .arg("demo")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let traffic = lines
        .by_ref()
        .find_map(|line| {
            Some(
                line.split_once("traffic http://")?
                    .1
                    .split(' ')
                    .next()?
                    .to_owned(),
            )
        })
        .expect("the demo names its addresses");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer = runtime.block_on(get(traffic.parse().unwrap())).unwrap();
    assert!(answer.contains("hello from b"), "{answer}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = wait_until("the demo to end", DEADLINE, || child.try_wait().unwrap());
    assert!(status.success(), "{status}");
    drop(lines);
}

/// A demo whose data lie in `folder`, once it serves.
fn demo_in(folder: &Path) -> Child {
    let mut demo = synod();
    demo.arg("demo").env("TMPDIR", folder).stdin(Stdio::null());
    let mut child = demo.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let serves = lines.any(|line| line.unwrap().contains("traffic http://"));
    assert!(serves, "the demo names its addresses");
    // The reader is gone: what it says at its end goes nowhere, as where its terminal is closed.
    drop(child.stdout.take());
    child
}

#[test]
fn a_demo_ends_with_its_terminal_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let left = || std::fs::read_dir(folder.path()).unwrap().count();
    let mut killed = demo_in(folder.path());
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(left(), 1, "what a killed demo leaves");
    let mut first = demo_in(folder.path());
    assert_eq!(left(), 1, "only that of the demo that runs");
    let mut second = demo_in(folder.path());
    assert_eq!(left(), 2, "those of both demos that run");
    for demo in [&mut first, &mut second] {
        let pid = rustix::process::Pid::from_child(demo);
        rustix::process::kill_process(pid, Signal::HUP).unwrap();
        let status = wait_until("the demo to end", DEADLINE, || demo.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
    assert_eq!(left(), 0);
}

#[test]
fn a_node_nobody_listens_to_serves_and_ends_cleanly() {
    let data = tempfile::TempDir::new().unwrap();
    let addresses = free_addresses(3);
    let full = || {
        let file = std::fs::File::options().write(true).open("/dev/full");
        Stdio::from(file.unwrap())
    };
    let mut child = synod()
        .arg("serve")
        .arg(format!("--data={}", data.path().join("n").display()))
        .arg(format!("--listen={}", addresses[0]))
        .arg(format!("--admin={}", addresses[1]))
        .arg(format!("--peer={}", addresses[2]))
        .stdout(full())
        .stderr(full())
        .spawn()
        .unwrap();
    wait_until("the node to answer", DEADLINE, || {
        assert_eq!(child.try_wait().unwrap(), None, "the node ended");
        let status = synod()
            .arg("status")
            .env("SYNOD_ADMIN", format!("http://{}", addresses[1]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.unwrap().success().then_some(())
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = wait_until("the node to end", DEADLINE, || child.try_wait().unwrap());
    assert!(status.success(), "{status}");
}
