//! Faults, drawn from a seed: what is broken, for how long, and how it is mended.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http::Method;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rustix::process::Signal;
use serde_json::{Value, json};
use synod::client::Call;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::network::{Network, Rule, is_there, relay};
use super::nodes::{NAMES, Nodes, VOTERS, client};
use super::relay::relay as start_relay;

/// Who writes while a disk is full, until the log needs room.
const BALLASTERS: usize = 3;
/// Pages of 16 KiB in one write: a segment of the log is full after some thirty.
const BALLAST: u64 = 16;
/// Time for that, and then nobody waits for it any more: the group may not take writes just then.
const FILLING: Duration = Duration::from_secs(20);

/// Something that breaks.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    Kill(Vec<Victim>),
    Pause(Victim),
    /// Its cable is pulled.
    Detach(Victim),
    /// Two do not see each other; both see the others.
    Cut(usize, usize),
    /// What the first sends does not reach the second.
    OneWay(usize, usize),
    /// It sends, and hears of nobody.
    Deaf(Victim),
    Loss(Victim, u32),
    Delay(usize, usize, Duration),
    FullDisk(Victim),
    FailingSync(Victim),
    Clock(Victim, i64),
    /// Not a fault: the leader is asked to hand over.
    Transfer,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Victim {
    Node(usize),
    Leader,
}

/// A fault and its time.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) fault: Fault,
    pub(super) lasts: Duration,
    /// The next begins while this lasts.
    pub(super) overlaps: bool,
    /// Until the next begins, where it does not overlap.
    pub(super) quiet: Duration,
}

/// What is broken now.
pub(super) enum Broken {
    Killed(Vec<usize>),
    Paused(usize),
    Detached(usize),
    Ruled(Vec<Rule>),
    Relayed(Vec<Rule>, CancellationToken),
    Full(usize, CancellationToken),
    Failing(usize, Child),
    Clock(usize),
    Nothing,
}

impl Step {
    pub(super) fn draw(rng: &mut StdRng, nodes: &Nodes) -> Self {
        Self {
            fault: Fault::draw(rng, nodes),
            lasts: Duration::from_millis(rng.random_range(500..6000)),
            overlaps: rng.random_bool(0.4),
            quiet: Duration::from_millis(rng.random_range(0..2000)),
        }
    }

    /// A fault while nothing else is broken.
    pub(super) fn alone(fault: Fault, lasts: Duration) -> Self {
        Self {
            fault,
            lasts,
            overlaps: false,
            quiet: Duration::ZERO,
        }
    }
}

impl Fault {
    fn draw(rng: &mut StdRng, nodes: &Nodes) -> Self {
        let victim = |rng: &mut StdRng| match rng.random_range(0..2) {
            0 => Victim::Leader,
            _ => Victim::Node(rng.random_range(0..NAMES.len())),
        };
        loop {
            let one = rng.random_range(0..NAMES.len());
            // Two, of which one has a vote.
            let other = (one + rng.random_range(1..NAMES.len())) % NAMES.len();
            return match rng.random_range(0..100) {
                0..12 => Self::Kill(vec![victim(rng)]),
                12..16 => Self::Kill((0..VOTERS).map(Victim::Node).collect()),
                16..30 => Self::Pause(victim(rng)),
                30..38 => Self::Detach(victim(rng)),
                38..50 => Self::Cut(rng.random_range(0..VOTERS), other),
                50..60 => Self::OneWay(one, other),
                60..64 => Self::Deaf(victim(rng)),
                64..72 => Self::Loss(victim(rng), rng.random_range(5..60)),
                72..80 => Self::Delay(one, other, Duration::from_millis(rng.random_range(5..700))),
                80..86 => Self::FullDisk(victim(rng)),
                86..91 if is_there("strace") => Self::FailingSync(victim(rng)),
                91..97 if nodes.have_clocks() => {
                    Self::Clock(victim(rng), rng.random_range(-40_000..40_000))
                }
                97..100 => Self::Transfer,
                _ => continue,
            };
        }
    }

    /// Breaks it. `None` where there is nobody whom it could befall, such as a leader when there is none.
    pub(super) fn begin(&self, nodes: &mut Nodes, broken: &[&Broken]) -> Option<(String, Broken)> {
        let away: Vec<usize> = broken.iter().filter_map(|it| it.silent()).collect();
        let one = |victim: &Victim| match victim {
            Victim::Node(index) => Some(*index),
            Victim::Leader => nodes.leader(&away),
        };
        // Whoever is killed or stands still is left alone.
        let alive = |victim: &Victim| {
            one(victim).filter(|index| nodes.runs(*index) && !away.contains(index))
        };
        let named = |index: usize| NAMES[index];
        let (what, done) = match self {
            Self::Kill(victims) => {
                let dying: Vec<usize> = victims.iter().filter_map(alive).collect();
                dying.first()?;
                dying.iter().for_each(|index| nodes.kill(*index));
                let names: Vec<&str> = dying.iter().map(|index| named(*index)).collect();
                (format!("kill {}", names.join(", ")), Broken::Killed(dying))
            }
            Self::Pause(victim) => {
                let index = alive(victim)?;
                nodes.signal(index, Signal::STOP);
                (format!("stop {}", named(index)), Broken::Paused(index))
            }
            Self::Detach(victim) => {
                let index = one(victim)?;
                if broken
                    .iter()
                    .any(|it| matches!(it, Broken::Detached(other) if *other == index))
                {
                    return None;
                }
                nodes.network.cable(named(index), false).unwrap();
                (format!("detach {}", named(index)), Broken::Detached(index))
            }
            Self::Cut(a, b) if a == b => return None,
            Self::Cut(a, b) => {
                let rules = vec![Rule::cut(*a, *b), Rule::cut(*b, *a)];
                let what = format!("cut between {} and {}", named(*a), named(*b));
                (what, Broken::Ruled(rules))
            }
            Self::OneWay(from, to) => {
                let what = format!("cut from {} to {}", named(*from), named(*to));
                (what, Broken::Ruled(vec![Rule::cut(*from, *to)]))
            }
            Self::Deaf(victim) => {
                let index = one(victim)?;
                let others = (0..NAMES.len()).filter(|other| *other != index);
                let rules = others.map(|other| Rule::cut(other, index)).collect();
                (
                    format!("{} hears nobody", named(index)),
                    Broken::Ruled(rules),
                )
            }
            Self::Loss(victim, percent) => {
                let index = one(victim)?;
                let what = format!("{} loses {percent} % of what it is sent", named(index));
                (what, Broken::Ruled(vec![Rule::lossy(index, *percent)]))
            }
            Self::Delay(a, b, delay) => {
                if broken.iter().any(|it| matches!(it, Broken::Relayed(..))) {
                    return None;
                }
                let what = format!("{delay:?} between {} and {}", named(*a), named(*b));
                (what, by_hub(nodes, *a, *b, *delay))
            }
            Self::FullDisk(victim) => {
                let index = alive(victim).filter(|index| !nodes.is_full(*index))?;
                let what = format!("disk of {} full", named(index));
                (what, full_disk(nodes, index))
            }
            Self::FailingSync(victim) => {
                let index = alive(victim)?;
                if broken.iter().any(|it| matches!(it, Broken::Failing(..))) {
                    return None;
                }
                let what = format!("syncs of {} fail", named(index));
                (what, failing_sync(nodes, index))
            }
            Self::Clock(victim, seconds) => {
                let index = one(victim)?;
                nodes.set_clock(index, *seconds);
                let what = format!("clock of {} {seconds:+} s", named(index));
                (what, Broken::Clock(index))
            }
            Self::Transfer => {
                let asked = alive(&Victim::Leader)?;
                let call = Call::new(Method::POST, "/v1/members/transfer").json(json!({}));
                let came = nodes.call(asked, call).is_ok();
                (format!("leadership handed over: {came}"), Broken::Nothing)
            }
        };
        if let Broken::Ruled(rules) | Broken::Relayed(rules, _) = &done {
            rules
                .iter()
                .for_each(|rule| nodes.network.lay(rule).unwrap());
        }
        Some((what, done))
    }
}

impl Broken {
    /// A node that does not answer.
    fn silent(&self) -> Option<usize> {
        match self {
            Self::Paused(index) | Self::Failing(index, _) => Some(*index),
            _ => None,
        }
    }

    /// A node that may say what it suffers from.
    pub(super) fn afflicted(&self) -> Option<usize> {
        match self {
            Self::Full(index, _) | Self::Failing(index, _) => Some(*index),
            _ => None,
        }
    }

    /// Mends it; where a node was started, it need not serve yet.
    pub(super) fn mend(self, nodes: &mut Nodes) -> Vec<usize> {
        match self {
            Self::Killed(dead) => {
                dead.iter().for_each(|index| nodes.spawn(*index));
                return dead;
            }
            Self::Paused(index) => nodes.signal(index, Signal::CONT),
            Self::Detached(index) => nodes.network.cable(NAMES[index], true).unwrap(),
            Self::Ruled(rules) => rules
                .iter()
                .for_each(|rule| nodes.network.lift(rule).unwrap()),
            Self::Relayed(rules, ended) => {
                rules
                    .iter()
                    .for_each(|rule| nodes.network.lift(rule).unwrap());
                ended.cancel();
            }
            Self::Full(index, ended) => {
                ended.cancel();
                nodes.fill(index, false);
            }
            Self::Failing(index, mut tracer) => {
                // It lets go of the node, which goes on.
                let pid = rustix::process::Pid::from_child(&tracer);
                let _ = rustix::process::kill_process(pid, Signal::INT);
                tracer.wait().unwrap();
                // Whether its replica has ended or not: what it could not sync is not to be trusted.
                nodes.kill(index);
                nodes.spawn(index);
                return vec![index];
            }
            Self::Clock(index) => nodes.set_clock(index, 0),
            Self::Nothing => {}
        }
        Vec::new()
    }
}

/// What two nodes say to each other goes by a relay, which holds it back.
fn by_hub(nodes: &Nodes, a: usize, b: usize, delay: Duration) -> Broken {
    let ended = CancellationToken::new();
    let mut rules = Vec::new();
    for (from, to) in [(a, b), (b, a)] {
        let started = start_relay(relay(from, to), Network::peer(to), delay, ended.clone());
        nodes.network.hub.run(started).unwrap();
        rules.extend(Rule::by_hub(from, to));
    }
    Broken::Relayed(rules, ended)
}

/// Takes all room on the disk, and writes until the log needs more.
fn full_disk(nodes: &mut Nodes, index: usize) -> Broken {
    nodes.fill(index, true);
    let ended = CancellationToken::new();
    ballast(nodes, &ended);
    let until = Instant::now() + FILLING;
    let says = || nodes.own(index)?["state"].as_str().map(str::to_owned);
    let noticed = || says().is_some_and(|state| state.starts_with("disk full"));
    while Instant::now() < until && !noticed() {
        std::thread::sleep(Duration::from_millis(100));
    }
    Broken::Full(index, ended)
}

/// Has the kernel fail every sync of the process, until the tracer is told to let go.
fn failing_sync(nodes: &Nodes, index: usize) -> Broken {
    let tracer = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null"])
        .args(["-e", "trace=fdatasync,fsync"])
        .args(["-e", "inject=fdatasync,fsync:error=EIO", "-p"])
        .arg(nodes.pid(index).as_raw_nonzero().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Broken::Failing(index, tracer.unwrap())
}

/// Fills the log: the same large route again and again, which is much in the log and nothing in history.
fn ballast(nodes: &Nodes, ended: &CancellationToken) {
    let page = "ballast ".repeat(2048);
    let pages: Vec<Value> = (0..BALLAST)
        .map(|number| json!({"status": [500 + number], "body": page}))
        .collect();
    let spec = json!({
        "name": "ballast",
        "match": {"hosts": ["ballast.example"]},
        "to": [{"pool": "web"}],
        "error_pages": pages,
    });
    for node in 0..BALLASTERS {
        let call = Call::new(Method::PUT, "/v1/routes/ballast").json(spec.clone());
        let writing = async move {
            loop {
                // Whether it is done is all the same, but for how often it is tried.
                if client().call(call.clone()).await.is_err() {
                    sleep(Duration::from_millis(100)).await;
                }
            }
        };
        let place = &nodes.network.places[node];
        place.spawn(ended.clone().run_until_cancelled_owned(writing));
    }
}
