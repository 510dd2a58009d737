//! What the parts of `routing` do together, over configs written as users write them.

mod compile;
mod conditions;
mod explain;
mod incremental;
mod live;
mod publish;
mod table;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Question, Snapshot, SnapshotCell, compile as compiled, publish::Publisher};
use crate::backend::Registry;
use crate::config::{Config, Name, Operation, ResourcePath, Revision, Transaction};

/// The config after putting each named pool and route, one revision for each.
fn config(resources: &[Value]) -> Arc<Config> {
    put(&Config::default(), resources)
}

/// One more revision for each.
fn put(config: &Config, resources: &[Value]) -> Arc<Config> {
    let next = resources.iter().fold(config.clone(), |config, spec| {
        let name = name(spec["name"].as_str().unwrap());
        let is_pool = spec.get("backends").is_some();
        let path = if is_pool {
            ResourcePath::Pool(name)
        } else {
            ResourcePath::Route(name)
        };
        apply(&config, Operation::put(path, spec.clone()))
    });
    Arc::new(next)
}

fn apply(config: &Config, operation: Operation) -> Config {
    let revision = Revision(config.revision.0 + 1);
    config
        .apply(revision, &Transaction::of(operation))
        .unwrap()
        .config
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A pool of backends `a`, `b`, ... with these weights and states.
fn pool(name: &str, members: &[(u16, &str)]) -> Value {
    let member = |(i, (weight, state)): (usize, &(u16, &str))| {
        let id = char::from(b'a' + i as u8).to_string();
        json!({"id": id, "address": format!("127.0.0.1:{}", 8001 + i), "weight": weight, "state": state})
    };
    json!({"name": name, "backends": members.iter().enumerate().map(member).collect::<Vec<_>>()})
}

fn route(name: &str, hosts: &[&str], path: Value) -> Value {
    json!({"name": name, "match": {"hosts": hosts, "path": path}, "to": [{"pool": "web"}]})
}

/// Of a GET without header fields.
fn question(host: &str, path: &str) -> Question {
    Question {
        host: host.to_owned(),
        path: path.to_owned(),
        ..Question::default()
    }
}

/// The name of the route that takes the request, or `-`.
fn taken_by(snapshot: &Snapshot, question: &Question) -> String {
    let route = snapshot.route(&question.asked());
    route.map_or_else(|| "-".to_owned(), |route| route.name.to_string())
}

fn found(snapshot: &Snapshot, host: &str, path: &str) -> String {
    taken_by(snapshot, &question(host, path))
}

fn prefix(path: &str) -> Value {
    json!({"prefix": path})
}

fn exact(path: &str) -> Value {
    json!({"exact": path})
}

fn snapshot(config: &Config) -> Snapshot {
    compiled(config, &Registry::scratch(), None).unwrap()
}

fn publisher() -> Publisher {
    Publisher {
        cell: Arc::new(SnapshotCell::new()),
        registry: Arc::new(Registry::scratch()),
    }
}
