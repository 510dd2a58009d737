//! The log as every node tells it: its watch, followed through kills and cuts by a client beside the node.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use synod::client::{Call, Client, Error, Event, Interest};
use tokio::time::sleep;

use super::history::Violations;
use super::network::Place;
use super::nodes::{NAMES, Nodes, SOON, client};
use crate::harness::wait_until;

/// What one slot did, to the registers or to the locks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) slot: u64,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    Config {
        comment: String,
        /// The weight of each backend that changed, by path; none where it is gone.
        weights: Vec<(String, Option<u64>)>,
    },
    Locks(Vec<LockEvent>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum LockEvent {
    Granted {
        lock: String,
        session: u64,
        token: u64,
    },
    Released {
        lock: String,
        session: u64,
        token: u64,
    },
}

/// A watcher of one node.
pub(super) struct Watcher {
    node: usize,
    told: Arc<Mutex<Vec<Event>>>,
    /// It was away for longer than the node keeps what happened.
    missed: Arc<Mutex<bool>>,
}

impl Watcher {
    pub(super) fn start(node: usize, place: &Place, violations: Violations) -> Self {
        let watcher = Self {
            node,
            told: Arc::default(),
            missed: Arc::default(),
        };
        let (told, missed) = (watcher.told.clone(), watcher.missed.clone());
        place.spawn(async move {
            if let Err(error) = watch(client(), &told, node, &violations).await {
                if matches!(&error, Error::Refused(problem) if problem.status.as_u16() == 410) {
                    *missed.lock().unwrap() = true;
                } else {
                    violations.add(format!("the watch of {} ended: {error}", NAMES[node]));
                }
            }
        });
        watcher
    }

    fn last(&self) -> u64 {
        self.told.lock().unwrap().last().map_or(0, |event| event.id)
    }
}

/// Notes all that a node tells. Each slot is told once, and slots rise, whatever happens to the node.
async fn watch(
    client: Client,
    told: &Mutex<Vec<Event>>,
    node: usize,
    violations: &Violations,
) -> Result<(), Error> {
    let mut watch = client.watch(Interest {
        since: Some(0),
        ..Interest::default()
    });
    loop {
        match watch.next().await {
            Ok(event) => {
                let mut told = told.lock().unwrap();
                if let Some(last) = told.last().filter(|last| last.id >= event.id) {
                    let (name, last) = (NAMES[node], last.id);
                    let text = format!("{name} told of slot {} after {last}", event.id);
                    violations.add(text);
                }
                told.push(event);
            }
            Err(Error::Unreachable { .. }) => sleep(Duration::from_millis(100)).await,
            Err(other) => return Err(other),
        }
    }
}

/// The log that all nodes tell alike, once each has told all up to `revision`.
pub(super) fn agreed(
    nodes: &Nodes,
    watchers: &[Watcher],
    revision: u64,
    violations: &Violations,
) -> Vec<Entry> {
    let mut merged: BTreeMap<u64, (&str, Event)> = BTreeMap::new();
    for watcher in watchers {
        let name = NAMES[watcher.node];
        if *watcher.missed.lock().unwrap() {
            eprintln!("{name} was away for too long to tell all");
            continue;
        }
        wait_until(&format!("the watch of {name}"), SOON, || {
            (watcher.last() >= revision || !violations.all().is_empty()).then_some(())
        });
        let told = watcher.told.lock().unwrap().clone();
        let told: BTreeMap<u64, Event> = told.into_iter().map(|it| (it.id, it)).collect();
        for (slot, event) in told.range(..=revision) {
            match merged.get(slot) {
                Some((other, before)) if before != event => violations.add(format!(
                    "slot {slot} is {event:?} at {name} and {before:?} at {other}"
                )),
                Some(_) => {}
                None => drop(merged.insert(*slot, (name, event.clone()))),
            }
        }
        for (slot, (other, event)) in &merged {
            if !told.contains_key(slot) {
                let text = format!("{name} did not tell of slot {slot}, {event:?}, as {other} did");
                violations.add(text);
            }
        }
    }
    let log: Vec<Entry> = merged
        .into_values()
        .map(|(_, event)| entry(event))
        .collect();
    check_history(nodes, &log, revision, violations);
    log
}

/// The history of revisions, which is kept apart from the watch, tells the same.
fn check_history(nodes: &Nodes, log: &[Entry], newest: u64, violations: &Violations) {
    let mut kept: BTreeMap<u64, String> = BTreeMap::new();
    let mut page = String::new();
    loop {
        let path = format!("/v1/revisions?limit=1000{page}");
        let answer = wait_until("the history", SOON, || nodes.call(0, Call::get(&path)).ok());
        for item in answer.body["items"].as_array().into_iter().flatten() {
            let comment = item["comment"].as_str().unwrap_or_default().to_owned();
            kept.insert(item["revision"].as_u64().unwrap_or_default(), comment);
        }
        match answer.body["next"].as_str() {
            Some(next) => page = format!("&after={next}"),
            None => break,
        }
    }
    let Some(oldest) = kept.keys().next().copied() else {
        return violations.add("there is no history".to_owned());
    };
    let told = log.iter().filter_map(|entry| match &entry.what {
        What::Config { comment, .. } if entry.slot >= oldest => Some((entry.slot, comment.clone())),
        _ => None,
    });
    let told: BTreeMap<u64, String> = told.collect();
    kept.retain(|revision, _| *revision <= newest);
    if told != kept {
        let differs = |(a, b): &(_, _)| a != b;
        let first = told.iter().zip(&kept).find(differs);
        violations.add(format!("the history is not what was watched: {first:?}"));
    }
}

fn entry(event: Event) -> Entry {
    let what = if event.kind == "config" {
        let changes = event.data["changes"].as_array().into_iter().flatten();
        What::Config {
            comment: event.data["comment"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            weights: changes.flat_map(weights).collect(),
        }
    } else {
        let events = event.data["events"].as_array().into_iter().flatten();
        What::Locks(events.filter_map(lock_event).collect())
    };
    Entry {
        slot: event.id,
        what,
    }
}

/// Of a backend, or of all backends of a pool that came or went.
fn weights(change: &Value) -> Vec<(String, Option<u64>)> {
    let path = change["path"].as_str().unwrap_or_default();
    let after = &change["after"];
    match path.split('/').collect::<Vec<_>>()[..] {
        ["", "pools", _] => {
            let backends = after["backends"].as_array().into_iter().flatten();
            let named = backends.filter_map(|it| Some((it["id"].as_str()?, it)));
            named
                .map(|(id, it)| {
                    (
                        format!("{path}/backends/{id}"),
                        Some(super::clients::value(it)),
                    )
                })
                .collect()
        }
        ["", "pools", _, "backends", _] => {
            let weight = (!after.is_null()).then(|| super::clients::value(after));
            vec![(path.to_owned(), weight)]
        }
        _ => Vec::new(),
    }
}

fn lock_event(event: &Value) -> Option<LockEvent> {
    let lock = event["lock"].as_str()?.to_owned();
    let (session, token) = (event["session"].as_u64()?, event["token"].as_u64()?);
    match event["event"].as_str()? {
        "granted" => Some(LockEvent::Granted {
            lock,
            session,
            token,
        }),
        "released" => Some(LockEvent::Released {
            lock,
            session,
            token,
        }),
        _ => None,
    }
}
