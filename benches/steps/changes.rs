//! What one change of a large config costs, from "decided" to a stored snapshot, part by part.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use synod::backend::Registry;
use synod::config::{Config, Name, Operation, ResourcePath, Revision, Transaction};
use synod::routing::publish::Publisher;
use synod::routing::{SnapshotCell, check, compile};
use synod::state::{Body, Command, Key, LEVEL, Machine, Stamp};
use synod::telemetry::metrics::MetricsRegistry;

const ROUTES: usize = 10_000;
const POOLS: usize = 5_000;
const ROUNDS: usize = 41;

/// A change, by its number.
type Change = fn(usize) -> Operation;

/// Prints the median of each part for each kind of change.
pub(crate) fn run() {
    println!("one change of {ROUTES} routes and {POOLS} pools, us");
    for (name, change) in [
        ("weight", weight as Change),
        ("route put", route_put),
        ("route delete and put", route_again),
    ] {
        let mut scene = Scene::new();
        let mut parts: [Vec<Duration>; PARTS.len()] = Default::default();
        for round in 0..ROUNDS {
            let times = scene.change(change(round));
            parts
                .iter_mut()
                .zip(times)
                .for_each(|(part, time)| part.push(time));
        }
        println!("{name}");
        for (part, times) in PARTS.iter().zip(&mut parts) {
            times.sort_unstable();
            println!("  {part:32} {:9.1}", times[ROUNDS / 2].as_secs_f64() * 1e6);
        }
    }
}

const PARTS: [&str; 6] = [
    "try: apply",
    "try: compile against scratch",
    "apply the decided command",
    "compile",
    "activate",
    "drop the snapshot before",
];

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn pool(number: usize, weight: usize) -> Value {
    json!({"name": format!("p{number}"), "backends": [
        {"id": "a", "address": format!("127.0.0.1:{}", 1 + number), "weight": weight},
        {"id": "b", "address": format!("127.0.0.2:{}", 1 + number)},
    ]})
}

fn route(number: usize, pool: usize) -> Value {
    json!({
        "name": format!("r{number}"),
        "match": {"path": {"prefix": format!("/r{number}/")}},
        "to": [{"pool": format!("p{}", pool % POOLS)}],
    })
}

fn weight(round: usize) -> Operation {
    let path = ResourcePath::Backend(name("p77"), name("a"));
    Operation::patch(path, json!({"weight": 2 + round}))
}

fn route_put(round: usize) -> Operation {
    let path = ResourcePath::Route(name("r77"));
    Operation::put(path, route(77, 100 + round))
}

fn route_again(round: usize) -> Operation {
    let path = ResourcePath::Route(name("r77"));
    match round % 2 {
        0 => Operation::delete(path),
        _ => Operation::put(path, route(77, 100)),
    }
}

struct Scene {
    machine: Machine,
    publisher: Publisher,
}

impl Scene {
    fn new() -> Self {
        let publisher = Publisher {
            cell: Arc::new(SnapshotCell::new()),
            registry: Arc::new(Registry::new(MetricsRegistry::new(1))),
        };
        let mut scene = Self {
            machine: Machine::new(),
            publisher,
        };
        let config = json!({
            "pools": (0..POOLS).map(|number| pool(number, 1)).collect::<Vec<_>>(),
            "routes": (0..ROUTES).map(|number| route(number, number)).collect::<Vec<_>>(),
        });
        scene.change(Operation::put(ResourcePath::Config, config));
        scene
    }

    fn change(&mut self, operation: Operation) -> [Duration; PARTS.len()] {
        let Publisher { cell, registry } = &self.publisher;
        let slot = self.machine.applied() + 1;
        let transaction = Transaction::of(operation);
        let before = cell.load();
        let config: Arc<Config> = self.machine.config().clone();
        let (next, tried) = timed(|| {
            config
                .apply(Revision(slot), &transaction)
                .expect("valid")
                .config
        });
        let ((), checked) = timed(|| check(&next, registry, Some(&before)).expect("servable"));
        let command = Command {
            key: Key::fresh(Stamp(slot), [0; 10]),
            stamp: Stamp(slot),
            level: LEVEL,
            author: "bench".to_owned(),
            comment: String::new(),
            sticky_key: None,
            body: Body::Config(transaction),
        };
        let command = command.encode();
        let (_, applied) = timed(|| self.machine.apply(slot, &command));
        let config = self.machine.config();
        let (snapshot, compiled) =
            timed(|| compile(config, registry, Some(&before)).expect("servable"));
        let (_, activated) = timed(|| self.publisher.activate(snapshot));
        let ((), dropped) = timed(|| drop((next, before)));
        [tried, checked, applied, compiled, activated, dropped]
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let result = work();
    (result, began.elapsed())
}
