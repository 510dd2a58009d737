//! Locks and sessions as tables.

use serde_json::Value;

use super::super::output::{cell, table};

/// One line a lock that is held or waited for; the others are counted.
pub(super) fn list(items: &[Value]) -> String {
    let (used, free): (Vec<&Value>, Vec<&Value>) = items.iter().partition(|lock| is_used(lock));
    let rows = used.into_iter().map(|lock| {
        let holders = claims(lock, "holders");
        let held = holders.iter().map(|holder| cell(&holder["session"]));
        let held: Vec<String> = held.collect();
        let first = holders.first().unwrap_or(&Value::Null);
        vec![
            cell(&lock["name"]),
            if held.is_empty() {
                "-".to_owned()
            } else {
                held.join(" ")
            },
            cell(&first["mode"]),
            cell(&lock["newest"]),
            cell(&first["since"]),
            claims(lock, "queue").len().to_string(),
            cell(&first["content"]),
        ]
    });
    let heading = [
        "LOCK", "HELD BY", "MODE", "TOKEN", "SINCE", "WAITING", "CONTENT",
    ];
    let mut text = table(
        &heading,
        rows.collect(),
        "nobody holds a lock or waits for one\n",
    );
    if !free.is_empty() {
        text.push_str(&format!("{} more are free\n", free.len()));
    }
    text
}

/// One lock: its holders, and then who waits in the order of the queue.
pub(super) fn one(lock: &Value) -> String {
    let row = |claim: &Value, state: &str| {
        vec![
            state.to_owned(),
            cell(&claim["session"]),
            cell(&claim["mode"]),
            cell(&claim["token"]),
            cell(&claim["since"]),
            cell(&claim["content"]),
        ]
    };
    let holders = claims(lock, "holders")
        .iter()
        .map(|claim| row(claim, "holds"));
    let queue = claims(lock, "queue")
        .iter()
        .map(|claim| row(claim, "waits"));
    let heading = ["STATE", "SESSION", "MODE", "TOKEN", "SINCE", "CONTENT"];
    let rows = table(
        &heading,
        holders.chain(queue).collect(),
        "nobody holds it or waits for it",
    );
    let delay = match lock["delay"]["lasts_ms"].as_u64() {
        Some(lasts) => format!(", kept back for {} ms after its holder failed", lasts),
        None => String::new(),
    };
    format!(
        "{}: newest token {}, good from {} on{delay}\n{rows}",
        cell(&lock["name"]),
        lock["newest"],
        lock["fence"]
    )
}

pub(super) fn sessions(items: &[Value]) -> String {
    let row = |session: &Value| {
        let locks: Vec<String> = claims(session, "locks").iter().map(cell).collect();
        let lease = session["lease_ms"].as_f64().unwrap_or_default() / 1000.0;
        vec![
            cell(&session["session"]),
            cell(&session["owner"]),
            cell(&session["opened"]),
            format!("{lease} s"),
            if locks.is_empty() {
                "-".to_owned()
            } else {
                locks.join(" ")
            },
        ]
    };
    let heading = ["SESSION", "OWNER", "OPENED", "LEASE", "LOCKS"];
    table(&heading, items.iter().map(row).collect(), "no sessions")
}

fn is_used(lock: &Value) -> bool {
    let claimed = ["holders", "queue"]
        .iter()
        .any(|list| !claims(lock, list).is_empty());
    claimed || !lock["delay"].is_null()
}

fn claims<'a>(of: &'a Value, list: &str) -> &'a [Value] {
    of[list].as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn locks_are_told_with_who_holds_them_and_who_waits() {
        let held = json!({"session": 5, "mode": "exclusive", "token": 9, "since": "T", "content": "deploy"});
        let waits = json!({"session": 6, "mode": "shared", "ticket": 10, "content": ""});
        let lock = json!({"name": "web", "newest": 9, "fence": 9, "holders": [held], "queue": [waits], "delay": null});
        let free = json!({"name": "old", "newest": 3, "fence": 3, "holders": [], "queue": [], "delay": null});
        assert_eq!(
            list(&[lock.clone(), free.clone()]),
            "LOCK  HELD BY  MODE       TOKEN  SINCE  WAITING  CONTENT\n\
             web   5        exclusive  9      T      1        deploy\n1 more are free\n"
        );
        assert_eq!(
            list(&[free]),
            "nobody holds a lock or waits for one\n1 more are free\n"
        );
        assert_eq!(
            one(&lock),
            "web: newest token 9, good from 9 on\n\
             STATE  SESSION  MODE       TOKEN  SINCE  CONTENT\n\
             holds  5        exclusive  9      T      deploy\n\
             waits  6        shared     -      -\n"
        );
        let session = json!({"session": 5, "owner": "ann", "opened": "T", "lease_ms": 1500, "locks": ["a", "b"]});
        assert_eq!(
            sessions(&[session]),
            "SESSION  OWNER  OPENED  LEASE  LOCKS\n5        ann    T       1.5 s  a b\n"
        );
    }
}
