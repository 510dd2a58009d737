//! `synod watch`: everything once and in order, whichever node ends.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};
use synod::client::Call;

use crate::harness::{Cluster, DEADLINE, free_addresses, synod, wait_until};

/// A running `synod watch`; killed when it is dropped.
struct Watcher {
    child: Child,
    lines: Receiver<String>,
}

impl Watcher {
    fn start(cluster: &Cluster, args: &[&str]) -> Self {
        let admins = cluster.nodes.iter().map(|node| node.admin.to_string());
        Self::at(&admins.collect::<Vec<_>>().join(","), args)
    }

    fn at(admins: &str, args: &[&str]) -> Self {
        let mut child = synod()
            .arg("watch")
            .args(args)
            .env("SYNOD_ADMIN", admins)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            out.map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("a line in time")
    }

    fn event(&self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watch_goes_on_at_another_node_when_one_is_killed() {
    let mut cluster = Cluster::start(3);
    let pool =
        |port: u16| json!({"backends": [{"id": "b1", "address": format!("127.0.0.1:{port}")}]});
    cluster.put(1, "/v1/pools/web", pool(1));
    let watcher = Watcher::start(&cluster, &["--since=0", "--kind=config", "-o", "json"]);
    let mut told = vec![watcher.event()];
    cluster.put(1, "/v1/pools/web", pool(2));
    told.push(watcher.event());
    cluster.kill(0);
    cluster.wait_for_leader();
    for port in 3..9 {
        cluster.put(2, "/v1/pools/web", pool(port));
        told.push(watcher.event());
    }
    let ids: Vec<_> = told.iter().map(|event| event["id"].clone()).collect();
    let history = cluster.call(2, Call::get("/v1/revisions")).body;
    let history = history["items"].as_array().unwrap().iter().rev();
    let revisions: Vec<_> = history.map(|item| item["revision"].clone()).collect();
    assert_eq!(ids, revisions);
}

/// All that a node tells up to this slot.
fn story(cluster: &Cluster, index: usize, until: u64) -> Vec<Value> {
    let admin = cluster.nodes[index].admin.to_string();
    let watcher = Watcher::at(&admin, &["--since=0", "-o", "json"]);
    let mut told = vec![watcher.event()];
    while told
        .last()
        .is_some_and(|last| last["id"].as_u64() < Some(until))
    {
        told.push(watcher.event());
    }
    told
}

#[test]
fn the_story_is_the_same_after_a_restart_and_at_a_follower_from_a_checkpoint() {
    let mut cluster = Cluster::start_with(1, |data, _| {
        let file = data.join("node.toml");
        std::fs::write(&file, "[consensus]\ncheckpoint_commands = 5\n").unwrap();
        vec![format!("--config={}", file.display())]
    });
    let post = |cluster: &Cluster, path: &str, body: Value| {
        cluster
            .call(0, Call::new(http::Method::POST, path).json(body))
            .body
    };
    for _ in 0..8 {
        let session = post(&cluster, "/v1/sessions", json!({}))["session"].clone();
        post(
            &cluster,
            "/v1/locks/deploy/acquire",
            json!({ "session": session }),
        );
        let close = Call::new(http::Method::DELETE, format!("/v1/sessions/{session}"));
        cluster.call(0, close);
    }
    let last = cluster.put(0, "/v1/pools/web", json!({"backends": []}));
    let before = story(&cluster, 0, last);
    assert_eq!(before.len(), 3 * 8 + 1);
    wait_until("a checkpoint", DEADLINE, || {
        (cluster.metric(0, "synod_checkpoint_slot") > 5.0).then_some(())
    });
    assert_eq!(cluster.metric(0, "synod_locks_granted_total"), 8.0);
    cluster.terminate(0);
    cluster.spawn(0);
    cluster.wait_for_leader();
    assert_eq!(story(&cluster, 0, last), before);
    assert_eq!(cluster.metric(0, "synod_locks_granted_total"), 8.0);
    let follower = cluster.join("f1", &[0]);
    cluster.wait_for_revision(follower, last);
    assert_eq!(story(&cluster, follower, last), before);
}

#[test]
fn people_read_lines_and_are_told_what_cannot_be_watched() {
    let cluster = Cluster::start(1);
    let watcher = Watcher::start(&cluster, &["--since=0"]);
    let call =
        Call::new(http::Method::PUT, "/v1/pools/web").header("synod-comment", "for the shop");
    cluster.call(0, call.json(json!({"backends": []})));
    let line = watcher.line();
    assert!(line.ends_with("changed the config: for the shop"), "{line}");
    assert_eq!(watcher.line(), "  + /pools/web");
    let open = Call::new(http::Method::POST, "/v1/sessions");
    cluster.call(0, open.json(json!({})));
    let line = std::iter::repeat_with(|| watcher.line()).find(|line| line.contains("session"));
    assert!(line.unwrap().contains("opened by anonymous@127.0.0.1"));

    let refused = |admin: String, args: &[&str]| {
        let mut command = synod();
        command.arg("watch").args(args).arg("--admin").arg(admin);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let here = cluster.nodes[0].admin.to_string();
    let future = refused(here, &["--since=999999"]);
    assert!(
        future.contains("?since: is 999999, and the newest slot is"),
        "{future}"
    );
    let nobody = refused(free_addresses(1)[0].to_string(), &[]);
    assert!(nobody.contains("no admin address answers"), "{nobody}");
}
