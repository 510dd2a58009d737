//! Backups, and what is left of a group whose majority is lost.

use std::path::Path;

use http::Method;
use serde_json::{Value, json};
use synod::client::Call;

use crate::harness::{Cluster, DEADLINE, synod, wait_until};

fn ran(args: &[&str], succeeds: bool) -> String {
    let output = synod().args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(output.status.success(), succeeds, "{args:?}: {text}");
    text
}

fn shown(directory: &Path) -> Value {
    let directory = directory.display().to_string();
    let output = synod()
        .args(["log", "inspect", &directory, "-o", "json"])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The names of all pools, as a node that leads tells them.
fn pools(cluster: &Cluster) -> Vec<String> {
    let leader = cluster.wait_for_leader();
    let body = cluster.call(leader, Call::get("/v1/pools")).body;
    let items = body["items"].as_array().unwrap().iter();
    items
        .map(|item| item["spec"]["name"].as_str().unwrap().to_owned())
        .collect()
}

/// A lone node on the directory that `restored` makes.
fn restarted(restored: impl Fn(&str)) -> Cluster {
    Cluster::start_with(1, |data, name| {
        restored(&data.join(name).display().to_string());
        Vec::new()
    })
}

#[test]
fn a_group_whose_majority_is_lost_goes_on_from_the_one_that_is_left() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.wait_for_leader();
    let names: Vec<String> = (0..20).map(|n| format!("p{n:02}")).collect();
    for name in &names {
        cluster.put(leader, &format!("/v1/pools/{name}"), json!({"name": name}));
    }
    for index in 0..3 {
        cluster.kill(index);
    }
    let directories: Vec<_> = (0..3)
        .map(|index| cluster.data.path().join(&cluster.nodes[index].name))
        .collect();
    let last = |directory: &&std::path::PathBuf| shown(directory)["log"]["last"].as_u64();
    let left = directories.iter().max_by_key(last).unwrap();
    let left = left.display().to_string();
    let before = shown(Path::new(&left));
    let data = cluster.data.path().join("new").display().to_string();
    let said = ran(&["restore", &left, "--data", &data], true);
    assert!(said.contains("synod serve"), "{said}");
    // What is there is not overwritten.
    let said = ran(&["restore", &left, "--data", &data], false);
    assert!(said.contains("not empty"), "{said}");
    assert_eq!(before, shown(Path::new(&left)), "the source has changed");
    assert_ne!(before["cluster"], shown(Path::new(&data))["cluster"]);
    let keep = tempfile::TempDir::new().unwrap();
    std::fs::rename(&data, keep.path().join("new")).unwrap();
    drop(cluster);

    let mut again = restarted(|directory| {
        std::fs::rename(keep.path().join("new"), directory).unwrap();
    });
    assert_eq!(pools(&again), names, "acknowledged writes are lost");
    let revision = again.put(0, "/v1/pools/more", json!({"name": "more"}));
    assert!(revision > 1_000_000_000, "{revision}");

    // Others get the state by a checkpoint of the lone voter, and then a vote.
    for name in ["p1", "p2"] {
        let node = again.join(name, &[0]);
        again.wait_for_revision(node, revision);
    }
    let admin = format!("http://{}", again.nodes[0].admin);
    ran(&["--admin", &admin, "members", "add", "p1", "p2"], true);
    again.kill(0);
    wait_until("a write by those who joined", DEADLINE, || {
        let call = Call::new(Method::PUT, "/v1/pools/after").json(json!({"name": "after"}));
        again.try_call(1, call).ok()
    });
}

#[test]
fn a_backup_is_restored_with_its_history_and_goes_on_above_it() {
    let cluster = Cluster::start(1);
    cluster.put(0, "/v1/pools/web", json!({"name": "web"}));
    let revision = cluster.put(0, "/v1/pools/api", json!({"name": "api"}));
    let home = tempfile::TempDir::new().unwrap();
    let file = home.path().join("backup").display().to_string();
    let admin = format!("http://{}", cluster.nodes[0].admin);
    let said = ran(&["--admin", &admin, "backup", &file], true);
    assert!(said.contains(&format!("revision {revision}")), "{said}");
    let said = ran(&["--admin", &admin, "backup", &file], false);
    assert!(said.contains("exists"), "a backup is not replaced: {said}");
    let call = Call::new(Method::DELETE, "/v1/pools/api");
    cluster.call(0, call);
    drop(cluster);

    let again = restarted(|directory| {
        ran(&["restore", &file, "--data", directory], true);
    });
    assert_eq!(pools(&again), ["api", "web"]);
    let history = again.call(0, Call::get("/v1/revisions")).body;
    assert_eq!(history["items"].as_array().unwrap().len(), 2);
    let revision = again.put(0, "/v1/pools/more", json!({"name": "more"}));
    assert!(revision > 1_000_000_000, "{revision}");
}

#[test]
fn a_damaged_log_fails_its_inspection_and_says_what_to_do() {
    let mut cluster = Cluster::start(1);
    for index in 0..20 {
        let name = format!("p{index:02}");
        cluster.put(0, &format!("/v1/pools/{name}"), json!({"name": name}));
    }
    cluster.terminate(0);
    let directory = cluster.data.path().join("n1");
    let shown_as = directory.display().to_string();
    ran(&["log", "inspect", &shown_as], true);
    let segments = walk(&directory);
    let (segment, at) = segments
        .iter()
        .find_map(|path| {
            let content = std::fs::read(path).unwrap();
            let at = content.windows(3).position(|window| window == b"p07")?;
            let last = content.windows(3).any(|window| window == b"p19");
            last.then_some((path, at))
        })
        .expect("a segment with all pools");
    let mut content = std::fs::read(segment).unwrap();
    content[at] ^= 1;
    std::fs::write(segment, content).unwrap();
    let said = ran(&["log", "inspect", &shown_as], false);
    assert!(
        said.contains("DAMAGED") && said.contains("(synod restore)"),
        "{said}"
    );
    assert!(
        !said.contains("of the data directory"),
        "a copy of it may promise twice: {said}"
    );
}

/// Every file below a directory.
fn walk(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let below = entries.map(|path| match path.is_dir() {
        true => walk(&path),
        false => vec![path],
    });
    below.flatten().collect()
}

#[test]
fn what_is_no_source_is_refused_and_leaves_nothing() {
    let home = tempfile::TempDir::new().unwrap();
    let (file, data) = (home.path().join("f"), home.path().join("new"));
    std::fs::write(&file, "hello").unwrap();
    let (data, file) = (data.display().to_string(), file.display().to_string());
    let said = ran(&["restore", &file, "--data", &data], false);
    assert!(said.contains("no backup"), "{said}");
    let home = home.path().display().to_string();
    let said = ran(&["restore", &home, "--data", &data], false);
    assert!(said.contains("no data directory"), "{said}");
    let said = ran(&["log", "inspect", &home], false);
    assert!(said.contains("no data directory"), "{said}");
    assert!(!Path::new(&data).exists());
}
