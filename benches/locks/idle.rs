//! What ten thousand sessions cost that do nothing but live.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::calls::Caller;
use crate::figures::Figure;
use crate::nodes::Nodes;

const CLIENTS: usize = 10;
const EACH: usize = 1_000;
const TIME: Duration = Duration::from_secs(36);

pub(crate) async fn sessions(nodes: &Nodes) -> Vec<Figure> {
    close_all().await;
    let before = nodes.standing().await;
    sleep(TIME / 3).await;
    let quiet = nodes.standing().await.percent_since(&before);
    let mut opening = Vec::new();
    for client in 0..CLIENTS {
        opening.push(tokio::task::spawn_local(open(client)));
    }
    let mut clients = Vec::new();
    for one in opening {
        clients.push(one.await.expect("a client"));
    }
    let keeping: Vec<_> = clients
        .into_iter()
        .map(|(caller, sessions)| tokio::task::spawn_local(keep(caller, sessions)))
        .collect();
    // What opening them has left to do is not theirs.
    sleep(TIME / 3).await;
    let before = nodes.standing().await;
    sleep(TIME).await;
    let after = nodes.standing().await;
    keeping.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(before.elections, after.elections, "an election");
    let used = after.percent_since(&before);
    let what = format!("{} idle sessions of {CLIENTS} clients", CLIENTS * EACH);
    vec![
        Figure::new(format!("{what}: the leader"), used[after.leader], "% core").at_most(3.0),
        Figure::new(format!("{what}: all nodes"), used.iter().sum(), "% core").at_most(3.0),
        Figure::new(
            "without sessions: the leader",
            quiet[after.leader],
            "% core",
        ),
        Figure::new("without sessions: all nodes", quiet.iter().sum(), "% core"),
        Figure::new(
            format!("{what}: growth of the log"),
            after.slot - before.slot,
            "entries",
        )
        .at_most(0.0),
    ]
}

/// There may be no more than these.
async fn close_all() {
    let mut caller = Caller::connect(0).await;
    let listed = caller.call("GET", "/v1/sessions", &json!(null)).await;
    for session in listed["items"].as_array().into_iter().flatten() {
        let path = format!("/v1/sessions/{}", session["session"]);
        caller.call("DELETE", &path, &json!({})).await;
    }
}

async fn open(client: usize) -> (Caller, Vec<u64>) {
    let mut caller = Caller::connect(client).await;
    let mut sessions = Vec::new();
    for _ in 0..EACH {
        sessions.push(caller.open("12s").await);
        // They must all live to the end of this.
        if sessions.len() % 100 == 0 {
            keep_once(&mut caller, &sessions).await;
        }
    }
    (caller, sessions)
}

async fn keep(mut caller: Caller, sessions: Vec<u64>) {
    loop {
        keep_once(&mut caller, &sessions).await;
        sleep(Duration::from_secs(4)).await;
    }
}

async fn keep_once(caller: &mut Caller, sessions: &[u64]) {
    let body = json!({ "sessions": sessions });
    let kept = caller.call("POST", "/v1/sessions/keep-alive", &body).await;
    let alive = |item: &serde_json::Value| item["lease_ms"].is_u64();
    let items = kept["items"].as_array().expect("a list");
    assert!(items.iter().all(alive), "a session was lost");
}
