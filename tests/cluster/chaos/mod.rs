//! Real nodes in network namespaces under faults, and a history that is judged.
//!
//! Three voters and a follower run as processes, each in a network namespace and on a small disk of its own. Faults are
//! drawn from a seed, while clients change the config and claim locks, and traffic goes through every node. What the
//! clients saw is then judged against the log (`checks`). `SYNOD_CHAOS_SECONDS` says for how long, `SYNOD_CHAOS_SEED`
//! what is drawn; where a machine does not allow namespaces nothing is run, and that is said.

mod network;
mod nodes;
mod relay;

mod faults;

mod history;

mod clients;
mod lockers;
mod traffic;

mod witness;

mod checks;

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Method;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use synod::client::Call;
use tokio::task::JoinHandle;

use self::clients::{Client, REGISTERS, Shared};
use self::faults::{Broken, Fault, Step};
use self::history::{Act, Operation, Recorder, Violations, Written};
use self::lockers::{Belief, Locker};
use self::network::{Place, is_there};
use self::nodes::{NAMES, Nodes, SOON, VOTERS};
use self::traffic::{BACKENDS, Requests};
use self::witness::Watcher;
use crate::harness::{alone, wait_until};

const CLIENTS: u64 = 32;
const LOCKERS: u64 = 4;
const REQUESTERS: usize = 2;
/// As long as a test may take that runs with all others.
const DEFAULT_SECONDS: u64 = 20;
/// Violations that are told: one brings others.
const MOST_TOLD: usize = 10;

#[test]
fn what_clients_see_under_faults_is_what_the_log_says() {
    let _alone = alone();
    let told = std::env::var("SYNOD_CHAOS_SECONDS").ok();
    let seconds = told
        .as_ref()
        .map_or(DEFAULT_SECONDS, |it| it.parse().unwrap());
    let seed = std::env::var("SYNOD_CHAOS_SEED");
    let seed = seed.map_or_else(|_| rand::random::<u32>().into(), |it| it.parse().unwrap());
    let mut rng = StdRng::seed_from_u64(seed);
    let nodes = match Nodes::new(rng.random_bool(0.5)) {
        Ok(nodes) => nodes,
        // Whoever asks for it by name wants to know.
        Err(why) if told.is_some() => panic!("chaos cannot run here: {why}"),
        Err(why) => return say(&format!("chaos did not run: {why}")),
    };
    say(&format!(
        "chaos: SYNOD_CHAOS_SEED={seed} SYNOD_CHAOS_SECONDS={seconds}{}{}",
        missing(is_there("strace"), "no strace, so no failing syncs"),
        missing(
            nodes.have_clocks(),
            "no libfaketime, so no clocks that jump"
        ),
    ));
    let mut run = Run::start(seed, nodes, rng);
    run.break_things(Duration::from_secs(seconds));
    run.break_links();
    run.judge();
}

/// Past the capture of the test runner: also who passes is to be told what was run.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn missing(there: bool, what: &str) -> String {
    if there {
        String::new()
    } else {
        format!("; {what}")
    }
}

/// One run: nodes, those who use them, and what has happened.
struct Run {
    seed: u64,
    rng: StdRng,
    nodes: Nodes,
    shared: Shared,
    beliefs: Arc<Mutex<Vec<Belief>>>,
    clients: Vec<JoinHandle<()>>,
    requests: Vec<(JoinHandle<()>, Arc<AtomicU64>)>,
    traffic_stops: Arc<AtomicBool>,
    watchers: Vec<Watcher>,
    broken: Vec<(Instant, String, Broken)>,
    timeline: Vec<String>,
    faults: usize,
}

impl Run {
    /// Starts the nodes, waits until all serve, and lets everybody loose.
    fn start(seed: u64, mut nodes: Nodes, rng: StdRng) -> Self {
        for index in 0..NAMES.len() {
            nodes.network.places[index].run(traffic::serve()).unwrap();
            nodes.spawn(index);
        }
        let backends = BACKENDS.map(|(id, address)| json!({"id": id, "address": address}));
        // A rotation over so many different weights would be long, and is beside the point.
        let setup = json!([
            {"op": "put", "path": "/pools/web", "value": {"name": "web", "backends": backends}},
            {"op": "put", "path": format!("/pools/{REGISTERS}"), "value": {"name": REGISTERS, "balance": "random"}},
            {"op": "put", "path": "/routes/all", "value": {"name": "all", "to": [{"pool": "web"}]}},
        ]);
        wait_until("the first config", SOON, || {
            let call = Call::new(Method::POST, "/v1/transactions").json(setup.clone());
            nodes.call(0, call).ok()
        });
        (0..NAMES.len()).for_each(|index| nodes.wait_until_served(index));
        let (violations, recorder) = (Violations::default(), Recorder::new());
        let shared = Shared {
            places: nodes.network.places.iter().map(Place::handle).collect(),
            views: nodes.views.clone(),
            recorder,
            violations: violations.clone(),
            stop: Arc::default(),
        };
        let mut run = Self {
            seed,
            rng,
            nodes,
            shared,
            beliefs: Arc::default(),
            clients: Vec::new(),
            requests: Vec::new(),
            traffic_stops: Arc::default(),
            watchers: Vec::new(),
            broken: Vec::new(),
            timeline: Vec::new(),
            faults: 0,
        };
        for (node, place) in run.nodes.network.places.iter().enumerate() {
            let watcher = Watcher::start(node, place, violations.clone());
            run.watchers.push(watcher);
            for _ in 0..REQUESTERS {
                let done = Arc::new(AtomicU64::new(0));
                let requests = Requests {
                    node,
                    view: run.nodes.views[node].clone(),
                    stop: run.traffic_stops.clone(),
                    done: done.clone(),
                    violations: violations.clone(),
                };
                run.requests.push((requests.start(place), done));
            }
        }
        let hub = &run.nodes.network.hub;
        for number in 0..CLIENTS {
            let client = Client::new(number, run.shared.clone(), run.rng.random());
            run.clients.push(hub.spawn(client.run()));
        }
        for number in 0..LOCKERS {
            let name = format!("locker-{number}");
            let beliefs = run.beliefs.clone();
            let locker = Locker::new(name, run.shared.clone(), run.rng.random(), beliefs);
            run.clients.push(hub.spawn(locker.run()));
        }
        run
    }

    /// Breaks one thing after the other, and mends all of them at the end.
    fn break_things(&mut self, lasts: Duration) {
        let until = Instant::now() + lasts;
        while Instant::now() < until && self.shared.violations.all().is_empty() {
            let step = Step::draw(&mut self.rng, &self.nodes);
            self.begin(&step);
            let next = Instant::now() + step.quiet;
            let ends = self.broken.last().map(|(ends, ..)| *ends);
            let ends = ends.filter(|_| !step.overlaps);
            self.wait(ends.map_or(next, |ends| ends + step.quiet));
        }
        self.wait(Instant::now());
        while let Some((_, what, broken)) = self.broken.pop() {
            self.mend(&what, broken);
        }
    }

    /// Between two voters nothing passes, then nothing one way: through the third, which both see, writes still go.
    fn break_links(&mut self) {
        for one_way in [false, true] {
            let third = self.rng.random_range(0..VOTERS);
            let (a, b) = ((third + 1) % VOTERS, (third + 2) % VOTERS);
            let fault = if one_way {
                Fault::OneWay(a, b)
            } else {
                Fault::Cut(a, b)
            };
            // For longer than a connection may be silent before it counts as none.
            let lasts = Duration::from_secs(6);
            self.begin(&Step::alone(fault, lasts));
            let until = Instant::now() + lasts;
            let write = format!("a write through {}, which both see", NAMES[third]);
            wait_until(&write, SOON, || {
                let done = self.put(third, "");
                done.filter(|_| Instant::now() > until)
            });
            self.wait(Instant::now());
        }
    }

    fn begin(&mut self, step: &Step) {
        let broken: Vec<&Broken> = self.broken.iter().map(|(_, _, broken)| broken).collect();
        let Some((what, broken)) = step.fault.begin(&mut self.nodes, &broken) else {
            return;
        };
        self.faults += 1;
        self.tell(&format!("{what}, for {:.1?}", step.lasts));
        self.broken
            .push((Instant::now() + step.lasts, what, broken));
    }

    /// Waits, and mends what is due meanwhile.
    fn wait(&mut self, until: Instant) {
        loop {
            for index in 0..NAMES.len() {
                if let Some(why) = self.nodes.ended(index) {
                    self.shared.violations.add(why);
                }
            }
            let due = |(ends, ..): &(Instant, String, Broken)| *ends <= Instant::now();
            while let Some(index) = self.broken.iter().position(due) {
                let (_, what, broken) = self.broken.remove(index);
                self.mend(&what, broken);
            }
            if Instant::now() >= until || !self.shared.violations.all().is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn mend(&mut self, what: &str, broken: Broken) {
        let says = broken.afflicted().and_then(|index| self.nodes.own(index));
        let says = says.map_or(String::new(), |own| format!(", says {}", own["state"]));
        let started = broken.mend(&mut self.nodes);
        self.tell(&format!("mended: {what}{says}"));
        for index in started {
            self.nodes.wait_until_served(index);
            self.tell(&format!("{} serves again", NAMES[index]));
        }
    }

    fn tell(&mut self, what: &str) {
        let now = self.shared.recorder.now();
        let line = format!("{now:>10.3?} {what}");
        eprintln!("{line}");
        self.timeline.push(line);
    }

    /// Everybody stops; all nodes must agree, and the history must be one.
    fn judge(&mut self) {
        let healed = Instant::now();
        let mut first = None;
        for (node, name) in NAMES.iter().enumerate() {
            let write = format!("a write through {name} after the faults");
            wait_until(&write, SOON, || self.put(node, ""));
            first = first.or(Some(healed.elapsed()));
            self.tell(&format!("{name} takes writes"));
        }
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in std::mem::take(&mut self.clients) {
            self.nodes.network.hub.run(client).unwrap();
        }
        self.tell("all clients have stopped");
        let revision = wait_until("a write that all nodes serve", SOON, || {
            self.put(0, "?wait=applied&timeout=10s")
        });
        self.tell("all nodes serve the last write");
        self.agree();
        self.tell("all nodes are at one slot");
        self.traffic_stops.store(true, Ordering::Relaxed);
        let mut answered = 0;
        for (requests, done) in std::mem::take(&mut self.requests) {
            self.nodes.network.hub.run(requests).unwrap();
            answered += done.load(Ordering::Relaxed);
        }
        let violations = self.shared.violations.clone();
        let log = witness::agreed(&self.nodes, &self.watchers, revision, &violations);
        let operations = self.shared.recorder.operations();
        let beliefs = self.beliefs.lock().unwrap().clone();
        let judging = Instant::now();
        for fault in checks::faults(&operations, &log, &beliefs) {
            violations.add(fault);
        }
        self.tell("judged");
        say(&format!(
            "chaos: {} faults; {}; {} entries in the log, {} beliefs in locks; {answered} requests; writes again {:.1?} \
             after the last fault; judged in {:.1?}; {} violations",
            self.faults,
            tally(&operations),
            log.len(),
            beliefs.len(),
            first.unwrap_or_default(),
            judging.elapsed(),
            violations.all().len(),
        ));
        assert!(violations.all().is_empty(), "the history is not good");
    }

    /// Writes a backend of its own; the revision.
    fn put(&self, node: usize, wait: &str) -> Option<u64> {
        let id = format!("last-{}", self.shared.recorder.number());
        let path = format!("/v1/pools/{REGISTERS}/backends/{id}{wait}");
        let spec = json!({"id": id, "address": "127.0.0.1:9"});
        let call = Call::new(Method::PUT, path).json(spec);
        Some(self.nodes.call(node, call).ok()?.revision)
    }

    /// Waits until all nodes run and have come to the same slot, where they must have the same state.
    fn agree(&self) {
        let digests = wait_until("all nodes at one slot", SOON, || {
            let all = (0..NAMES.len()).map(|index| self.nodes.own(index));
            let all: Vec<Value> = all.collect::<Option<_>>()?;
            let same = all.iter().all(|it| it["slot"] == all[0]["slot"]);
            let run = all.iter().all(|it| it["state"] == "running");
            (same && run).then(|| {
                all.iter()
                    .map(|it| it["digest"].clone())
                    .collect::<Vec<_>>()
            })
        });
        if digests.iter().any(|digest| *digest != digests[0]) {
            let text = format!("at one slot the digests are {digests:?}");
            self.shared.violations.add(text);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Before the nodes end, which is no fault of theirs.
        self.shared.stop.store(true, Ordering::Relaxed);
        self.traffic_stops.store(true, Ordering::Relaxed);
        if std::thread::panicking() {
            let violations = self.shared.violations.all();
            say(&format!(
                "chaos: SYNOD_CHAOS_SEED={}; what was done to the nodes:\n{}\nwhat they said last:\n{}\n{} violations:\n{}",
                self.seed,
                self.timeline.join("\n"),
                self.nodes.last_words(),
                violations.len(),
                violations[..violations.len().min(MOST_TOLD)].join("\n"),
            ));
        }
    }
}

/// How many operations ended in which way.
fn tally(operations: &[Operation]) -> String {
    let count = |wanted: &dyn Fn(&Act) -> bool| {
        let found = operations.iter().filter(|it| wanted(&it.act));
        found.count()
    };
    let written = |wanted: fn(&Written) -> bool| {
        count(&|act| matches!(act, Act::Write { outcome, .. } if wanted(outcome)))
    };
    format!(
        "{} writes acknowledged, {} lost their race, {} failed, {} unknown; {} reads; {} of locks",
        written(|it| matches!(it, Written::At(_))),
        written(|it| *it == Written::LostRace),
        written(|it| *it == Written::Nothing),
        written(|it| *it == Written::Unknown),
        count(&|act| matches!(act, Act::Read(_))),
        count(&|act| matches!(act, Act::Lock { .. })),
    )
}
