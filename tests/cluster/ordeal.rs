//! A counter under one lock while holders, waiters and leaders are killed, and stand still for longer than a lease.
//!
//! `SYNOD_LOCK_SECONDS=600` makes it long, `SYNOD_LOCK_SEED` repeats the faults of a run, in their order.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::Child;
use std::time::{Duration, Instant};

use http::Method;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::json;
use synod::client::Call;

use crate::counter::{Counter, at_backend, at_store};
use crate::harness::{Cluster, DEADLINE, wait_until};
use crate::locks::lock;

const WORKERS: usize = 8;
/// Between reading the counter and writing it.
const PAUSE: &str = "sleep 0.$((RANDOM % 3))";
/// Of the sessions, in seconds.
const LEASE: f64 = 2.0;

/// One `synod lock` with its command, in a process group of their own.
struct Worker {
    id: u64,
    child: Child,
    /// When it goes on, if it stands still.
    still: Option<Instant>,
}

/// What a node goes through.
#[derive(Clone, Copy)]
enum Trouble {
    None,
    Dead { node: usize, until: Instant },
    Still { node: usize, until: Instant },
}

struct Ordeal {
    cluster: Cluster,
    counter: Counter,
    script: String,
    rng: StdRng,
    workers: Vec<Worker>,
    trouble: Trouble,
    next_id: u64,
    /// Who ended with success: its increment was acknowledged.
    done: Vec<u64>,
    /// Faults to come in this turn.
    deck: Vec<Fault>,
    struck: BTreeMap<&'static str, u32>,
}

/// What happens to a process.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// To who has read the counter and not written it yet.
    ToHolder(Signal, Reach),
    /// A worker is killed that holds the lock, waits for it, or is about to end.
    ToAnybody,
    LeaderDies,
    NodeStandsStill,
}

#[derive(Clone, Copy, PartialEq)]
enum Reach {
    /// Only `synod lock`: its command goes on.
    Alone,
    WithCommand,
}

/// All happen before any happens again.
const FAULTS: [Fault; 8] = [
    Fault::ToHolder(Signal::KILL, Reach::Alone),
    Fault::ToHolder(Signal::KILL, Reach::WithCommand),
    Fault::ToHolder(Signal::STOP, Reach::Alone),
    Fault::ToHolder(Signal::STOP, Reach::WithCommand),
    Fault::ToHolder(Signal::STOP, Reach::WithCommand),
    Fault::ToAnybody,
    Fault::LeaderDies,
    Fault::NodeStandsStill,
];

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::ToHolder(Signal::KILL, Reach::Alone) => "holder killed, not its command",
            Self::ToHolder(Signal::KILL, Reach::WithCommand) => "holder killed",
            Self::ToHolder(_, Reach::Alone) => "holder stopped, not its command",
            Self::ToHolder(_, Reach::WithCommand) => "holder stopped",
            Self::ToAnybody => "anybody killed",
            Self::LeaderDies => "leader killed",
            Self::NodeStandsStill => "node stopped",
        }
    }
}

/// How long, and which faults.
fn wish(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

impl Ordeal {
    fn begin(cluster: Cluster, counter: Counter, script: String) -> Self {
        let seed = wish("SYNOD_LOCK_SEED").unwrap_or_else(|| rand::rng().random_range(0..1 << 32));
        eprintln!("SYNOD_LOCK_SEED={seed}");
        let mut ordeal = Self {
            cluster,
            counter,
            script,
            rng: StdRng::seed_from_u64(seed),
            workers: Vec::new(),
            trouble: Trouble::None,
            next_id: 1,
            done: Vec::new(),
            deck: Vec::new(),
            struck: BTreeMap::new(),
        };
        for _ in 0..WORKERS {
            let worker = ordeal.worker();
            ordeal.workers.push(worker);
        }
        ordeal
    }

    fn worker(&mut self) -> Worker {
        let id = self.next_id;
        self.next_id += 1;
        let mut port = || {
            let node = self.rng.random_range(0..self.cluster.nodes.len());
            self.cluster.nodes[node].traffic.port().to_string()
        };
        let (first, second) = (port(), port());
        let grace = ["--grace=0s", "--grace=5s"][self.rng.random_range(0..2)];
        let child = lock(&self.cluster, &[grace], &self.script)
            .envs([
                ("ID", &*id.to_string()),
                ("FIRST", &first),
                ("SECOND", &second),
            ])
            .process_group(0)
            .spawn()
            .unwrap();
        Worker {
            id,
            child,
            still: None,
        }
    }

    /// Puts another in the place of everyone that has ended; so many are left.
    fn reap(&mut self, replace: bool) -> usize {
        for at in (0..self.workers.len()).rev() {
            let Some(status) = self.workers[at].child.try_wait().unwrap() else {
                continue;
            };
            let ended = self.workers.swap_remove(at);
            if status.success() {
                self.done.push(ended.id);
            }
            if replace {
                let worker = self.worker();
                self.workers.push(worker);
            }
        }
        self.workers.len()
    }

    fn run(&mut self, time: Duration) {
        let until = Instant::now() + time;
        let mut next = Instant::now();
        while Instant::now() < until {
            self.reap(true);
            self.recover(Instant::now());
            if Instant::now() >= next {
                let pause = self.rng.random_range(100..2_000);
                if self.strike() {
                    next = Instant::now() + Duration::from_millis(pause);
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Without faults everybody gets the lock, one after the other.
        self.recover(until + 2 * DEADLINE);
        self.cluster.wait_for_leader();
        let taken = self.counter.taken();
        wait_until("further increments", 4 * DEADLINE, || {
            self.reap(true);
            (self.counter.taken() >= taken + WORKERS).then_some(())
        });
        wait_until("everybody to end", 4 * DEADLINE, || {
            (self.reap(false) == 0).then_some(())
        });
    }

    /// Whether the fault whose turn it is has struck, or is passed over.
    fn strike(&mut self) -> bool {
        if self.deck.is_empty() {
            self.deck.extend(FAULTS);
            self.deck.shuffle(&mut self.rng);
        }
        let fault = *self.deck.last().expect("it was just filled");
        let still = Duration::from_secs_f64(self.rng.random_range(0.5 * LEASE..2.5 * LEASE));
        let struck = match fault {
            Fault::ToHolder(signal, reach) => {
                let holder = self.counter.state().writing;
                let Some(at) = self.workers.iter().position(|it| Some(it.id) == holder) else {
                    return false;
                };
                self.strike_worker(at, signal, reach, still)
            }
            Fault::ToAnybody => {
                let at = self.rng.random_range(0..self.workers.len());
                self.strike_worker(at, Signal::KILL, Reach::WithCommand, still)
            }
            Fault::LeaderDies | Fault::NodeStandsStill => self.strike_node(fault, still),
        };
        self.deck.pop();
        if struck {
            *self.struck.entry(fault.name()).or_default() += 1;
        }
        true
    }

    fn strike_node(&mut self, fault: Fault, still: Duration) -> bool {
        let leader = self.cluster.leader();
        let (Trouble::None, Some(leader)) = (self.trouble, leader) else {
            return false;
        };
        self.trouble = if fault == Fault::LeaderDies {
            self.cluster.kill(leader);
            let until = Instant::now() + still / 2;
            Trouble::Dead {
                node: leader,
                until,
            }
        } else {
            let node = self.rng.random_range(0..self.cluster.nodes.len());
            self.cluster.signal(node, Signal::STOP);
            // Also for longer than a fence admits without being confirmed.
            let until = Instant::now() + 2 * still;
            Trouble::Still { node, until }
        };
        true
    }

    fn strike_worker(&mut self, at: usize, signal: Signal, reach: Reach, still: Duration) -> bool {
        let worker = &mut self.workers[at];
        if worker.still.is_some() {
            return false;
        }
        // It is not waited for yet, so nobody else has this number; but it may have ended.
        let pid = Pid::from_child(&worker.child);
        let sent = match reach {
            Reach::Alone => kill_process(pid, signal),
            Reach::WithCommand => kill_process_group(pid, signal),
        };
        if signal == Signal::STOP {
            worker.still = Some(Instant::now() + still);
        }
        sent.is_ok()
    }

    /// Those whose time is up go on.
    fn recover(&mut self, now: Instant) {
        for worker in &mut self.workers {
            if worker.still.is_some_and(|until| until <= now) {
                worker.still = None;
                let pid = Pid::from_child(&worker.child);
                let _ = kill_process_group(pid, Signal::CONT);
            }
        }
        match self.trouble {
            Trouble::Dead { node, until } if until <= now => self.cluster.spawn(node),
            Trouble::Still { node, until } if until <= now => {
                self.cluster.signal(node, Signal::CONT);
            }
            _ => return,
        }
        self.trouble = Trouble::None;
    }

    /// What was acknowledged was taken, and what was taken was taken once.
    fn judge(self) {
        let state = self.counter.state();
        eprintln!(
            "{} increments, {} acknowledged, {} with old tokens refused by the store; {:?}",
            state.taken.len(),
            self.done.len(),
            state.refused,
            self.struck
        );
        assert_eq!(state.wrong, Vec::<String>::new());
        assert_eq!(state.value, u64::try_from(state.taken.len()).unwrap());
        let lost = self.done.iter().find(|id| !state.taken.contains_key(id));
        assert_eq!(lost, None, "its increment was acknowledged");
    }
}

impl Drop for Ordeal {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            let _ = kill_process_group(Pid::from_child(&worker.child), Signal::KILL);
            let _ = worker.child.wait();
        }
    }
}

fn seconds() -> Duration {
    Duration::from_secs(wish("SYNOD_LOCK_SECONDS").unwrap_or(12))
}

#[test]
fn a_store_that_refuses_old_tokens_loses_no_increment() {
    let counter = Counter::default();
    let script = at_store(counter.store(), PAUSE);
    let mut ordeal = Ordeal::begin(Cluster::start(3), counter, script);
    ordeal.run(seconds());
    ordeal.judge();
}

#[test]
fn behind_a_fenced_route_a_token_never_goes_back_and_no_increment_is_lost() {
    let counter = Counter::default();
    let cluster = Cluster::start(3);
    let backend = ("b1".to_owned(), counter.backend());
    cluster.serve_pool("web", &[backend].into());
    let fence = json!({"fence": {"lock": "deploy"}});
    let patch = Call::new(Method::PATCH, "/v1/routes/all?wait=applied&timeout=10s");
    cluster.call(0, patch.json(fence));
    let mut ordeal = Ordeal::begin(cluster, counter, at_backend(PAUSE));
    ordeal.run(seconds());
    ordeal.judge();
}
