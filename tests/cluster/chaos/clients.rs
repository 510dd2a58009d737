//! Clients of the admin API, who note what they did and what came of it.
//!
//! Registers are weights of backends, so that every write is one of the config that the data plane serves. They come in
//! groups of two that are used for a while, read and written singly and together; whoever writes has mostly read
//! before, and demands that nothing has changed. A write whose fate is unknown is repeated under its key, elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use synod::client::{Answer, Call, Error, Problem};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::history::{
    Act, At, Expects, Found, Operation, Part, Recorder, Register, Violations, Written,
};
use super::nodes::{NAMES, View, client};

/// Groups in use at a time, each by clients of its own.
const LANES: u64 = 4;
/// Operations, of all clients, after which they go on to the next groups: an independent judge looks at each group as a
/// whole.
const GROUP: u64 = 60 * LANES;
/// The pool of the registers that come in groups; nothing is sent there.
pub(super) const REGISTERS: &str = "registers";
/// The greatest weight.
const MOST: u64 = u16::MAX as u64;

/// What clients share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) places: Vec<Handle>,
    pub(super) views: Vec<Arc<View>>,
    pub(super) recorder: Recorder,
    pub(super) violations: Violations,
    pub(super) stop: Arc<AtomicBool>,
}

/// How an operation ended.
pub(super) enum Tried {
    Done(Answer),
    /// Judged, and not done.
    Refused(Problem),
    /// Surely not done: no node or no quorum.
    Nothing,
    Unknown,
}

impl Shared {
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// One call at one node.
    async fn call(&self, node: usize, call: Call) -> Tried {
        let calling = self.places[node].spawn(async move { client().call(call).await });
        match calling.await.expect("the place outlives the clients") {
            Ok(answer) => Tried::Done(answer),
            Err(Error::Unknown { .. }) => Tried::Unknown,
            Err(Error::Refused(problem)) if problem.status == StatusCode::SERVICE_UNAVAILABLE => {
                if problem.body["outcome"] == "unknown" {
                    Tried::Unknown
                } else {
                    Tried::Nothing
                }
            }
            Err(Error::Refused(problem)) => Tried::Refused(*problem),
            Err(_) => Tried::Nothing,
        }
    }

    /// Makes a call until its fate is known or there were so many tries, each at a node of its own choice.
    pub(super) async fn insist(&self, rng: &mut StdRng, tries: usize, call: &Call) -> Tried {
        let mut nothing = true;
        for left in (0..tries).rev() {
            match self
                .call(rng.random_range(0..NAMES.len()), call.clone())
                .await
            {
                Tried::Nothing => {}
                Tried::Unknown => nothing = false,
                known => return known,
            }
            if left > 0 {
                sleep(Duration::from_millis(rng.random_range(20..400))).await;
            }
        }
        if nothing {
            Tried::Nothing
        } else {
            Tried::Unknown
        }
    }
}

/// One client.
pub(super) struct Client {
    name: String,
    lane: u64,
    shared: Shared,
    rng: StdRng,
    /// What it last saw.
    known: BTreeMap<Register, Option<At>>,
}

impl Client {
    pub(super) fn new(number: u64, shared: Shared, seed: u64) -> Self {
        Self {
            name: format!("client-{number}"),
            lane: number % LANES,
            shared,
            rng: StdRng::seed_from_u64(seed),
            known: BTreeMap::new(),
        }
    }

    /// Does one thing after the other until it is told to stop.
    pub(super) async fn run(mut self) {
        while !self.shared.stopped() {
            let id = self.shared.recorder.number();
            let group = LANES * (id / GROUP) + self.lane;
            let registers = ["a", "b"].map(|name| Register {
                pool: REGISTERS,
                id: format!("r{group}-{name}"),
            });
            let one = registers[self.rng.random_range(0..2)].clone();
            let weight = Register {
                pool: "web",
                id: format!("b{}", self.rng.random_range(1..=2)),
            };
            match self.rng.random_range(0..100) {
                0..25 => self.read(id, one).await,
                25..35 => self.read_both(id, registers).await,
                35..75 => self.write(id, vec![one], false).await,
                75..82 => self.write(id, registers.to_vec(), false).await,
                82..87 => self.write(id, vec![one], true).await,
                87..92 => self.write(id, vec![weight], false).await,
                92..95 => self.read(id, weight).await,
                _ => self.look().await,
            }
            sleep(Duration::from_millis(self.rng.random_range(50..300))).await;
        }
    }

    fn note(&self, id: u64, call: Duration, end: Option<Duration>, act: Act) {
        let client = self.name.clone();
        self.shared.recorder.add(Operation {
            id,
            client,
            call,
            end,
            act,
        });
    }

    async fn read(&mut self, id: u64, register: Register) {
        let call = self.shared.recorder.now();
        let asked = Call::get(format!("/v1{}", register.path()));
        let tried = self.shared.insist(&mut self.rng, 1, &asked).await;
        let end = Some(self.shared.recorder.now());
        let found = match tried {
            Tried::Done(answer) => match (
                answer.body["revision"].as_u64(),
                value(&answer.body["spec"]),
            ) {
                (Some(revision), value) => Some(At { revision, value }),
                (None, _) => return self.strange(&format!("a read answered {}", answer.body)),
            },
            Tried::Refused(problem) if problem.status == StatusCode::NOT_FOUND => None,
            Tried::Refused(problem) => return self.strange(&problem.to_string()),
            Tried::Nothing | Tried::Unknown => return,
        };
        self.known.insert(register.clone(), found);
        let found = found.map(|at| Found {
            value: at.value,
            revision: Some(at.revision),
        });
        self.note(id, call, end, Act::Read(vec![(register, found)]));
    }

    /// Both registers of a group, as of one moment.
    async fn read_both(&mut self, id: u64, registers: [Register; 2]) {
        let call = self.shared.recorder.now();
        let asked = Call::get(format!("/v1/pools/{REGISTERS}"));
        let Tried::Done(answer) = self.shared.insist(&mut self.rng, 1, &asked).await else {
            return;
        };
        let end = Some(self.shared.recorder.now());
        let all = answer.body["spec"]["backends"].as_array().cloned();
        let all = all.unwrap_or_default();
        let find = |register: Register| {
            let found = all.iter().find(|it| it["id"] == register.id);
            let found = found.map(|spec| Found {
                value: value(spec),
                revision: None,
            });
            (register, found)
        };
        self.note(id, call, end, Act::Read(registers.map(find).to_vec()));
    }

    async fn write(&mut self, id: u64, registers: Vec<Register>, whatever: bool) {
        if id > MOST {
            return;
        }
        let expects = |register: &Register| match self.known.get(register) {
            _ if whatever => Some(Expects::Anything),
            Some(Some(at)) => Some(Expects::Unchanged(*at)),
            Some(None) => Some(Expects::Absence),
            None => None,
        };
        let mut parts = Vec::new();
        for register in registers {
            let Some(expects) = expects(&register) else {
                // What it has not seen it cannot expect anything of.
                return self.read(id, register).await;
            };
            parts.push(Part {
                register,
                value: id,
                expects,
            });
        }
        let applied = self.rng.random_bool(0.1);
        let asked = asked(id, &parts, applied, &mut self.rng);
        let call = self.shared.recorder.now();
        let tries = self.rng.random_range(1..5);
        let tried = self.shared.insist(&mut self.rng, tries, &asked).await;
        let end = self.shared.recorder.now();
        let outcome = match tried {
            Tried::Done(answer) => {
                self.applied(&answer);
                match answer.body["revision"].as_u64() {
                    Some(revision) if answer.body["changed"] == true => Written::At(revision),
                    _ => return self.strange(&format!("op-{id} was answered {}", answer.body)),
                }
            }
            Tried::Refused(problem) if problem.status == StatusCode::PRECONDITION_FAILED => {
                Written::LostRace
            }
            Tried::Refused(problem) => match problem.body["revision"].as_u64() {
                Some(revision) if problem.body["outcome"] == "committed" => Written::At(revision),
                _ => return self.strange(&format!("op-{id} was refused: {problem}")),
            },
            Tried::Nothing => Written::Nothing,
            Tried::Unknown => Written::Unknown,
        };
        for part in &parts {
            match outcome {
                Written::At(revision) => {
                    let at = At {
                        revision,
                        value: id,
                    };
                    self.known.insert(part.register.clone(), Some(at));
                }
                _ => drop(self.known.remove(&part.register)),
            }
        }
        let end = (outcome != Written::Unknown).then_some(end);
        self.note(id, call, end, Act::Write { parts, outcome });
        if let Written::At(revision) = outcome
            && self.rng.random_bool(0.1)
        {
            self.repeat(id, revision, &asked).await;
        }
    }

    /// The same write again, under the same key: the same answer, and nothing written.
    async fn repeat(&mut self, id: u64, revision: u64, asked: &Call) {
        let again = match self.shared.insist(&mut self.rng, 1, asked).await {
            Tried::Done(answer) => answer.body["revision"].as_u64(),
            Tried::Refused(problem) if problem.body["outcome"] == "committed" => {
                problem.body["revision"].as_u64()
            }
            Tried::Refused(problem) => return self.strange(&format!("op-{id} again: {problem}")),
            Tried::Nothing | Tried::Unknown => return,
        };
        if again != Some(revision) {
            self.strange(&format!(
                "op-{id} was at {revision}, and again at {again:?}"
            ));
        }
    }

    /// Whoever is named serves the revision, from now on.
    fn applied(&self, answer: &Answer) {
        let names = answer.body["waited_for"]["applied"].as_array();
        for name in names.into_iter().flatten() {
            let node = NAMES.iter().position(|it| name == it);
            if let Some(node) = node {
                self.shared.views[node].report(answer.revision);
            }
        }
    }

    /// What a node says of itself alone never goes back, whatever happened to it.
    async fn look(&mut self) {
        let node = self.rng.random_range(0..NAMES.len());
        let (name, view) = (NAMES[node], &self.shared.views[node]);
        let (began, least) = (Instant::now(), view.reported());
        let asked = Call::get("/v1/nodes?consistency=local");
        let Tried::Done(answer) = self.shared.call(node, asked).await else {
            return;
        };
        let mut all = answer.body["items"].as_array().into_iter().flatten();
        let own = all.find(|it| it["name"] == name);
        let Some(applied) = own.and_then(|it| it["applied"].as_u64()) else {
            return;
        };
        // While it starts it serves nothing, and says so.
        if applied < least && !view.was_away(began, Instant::now()) {
            self.strange(&format!("{name} says it serves {applied} after {least}"));
        }
        view.report(applied);
    }

    fn strange(&self, what: &str) {
        self.shared.violations.add(format!("{}: {what}", self.name));
    }
}

/// The call that makes a write. All its tries are the same one, by its key.
fn asked(id: u64, parts: &[Part], applied: bool, rng: &mut StdRng) -> Call {
    let wait = if applied {
        "?wait=applied&timeout=2s"
    } else {
        ""
    };
    let spec = |part: &Part| {
        let address = if part.register.pool == REGISTERS {
            "127.0.0.1:9"
        } else {
            let of = super::traffic::BACKENDS.iter();
            let mut of = of.filter(|(id, _)| *id == part.register.id);
            of.next().expect("there is such a backend").1
        };
        json!({"id": part.register.id, "address": address, "weight": part.value})
    };
    let call = match parts {
        [part] => {
            let path = format!("/v1{}{wait}", part.register.path());
            let patches = matches!(part.expects, Expects::Unchanged(_)) && rng.random_bool(0.5);
            let call = if patches {
                Call::new(Method::PATCH, path).json(json!({"weight": part.value}))
            } else {
                Call::new(Method::PUT, path).json(spec(part))
            };
            match part.expects {
                Expects::Anything => call,
                Expects::Absence => call.header("if-none-match", "*"),
                Expects::Unchanged(at) => call.header("if-match", format!("\"{}\"", at.revision)),
            }
        }
        parts => {
            let operation = |part: &Part| {
                let path = part.register.path();
                let mut operation = json!({"op": "put", "path": path, "value": spec(part)});
                match part.expects {
                    Expects::Anything => {}
                    Expects::Absence => operation["exists"] = json!(false),
                    Expects::Unchanged(at) => operation["revision"] = json!(at.revision),
                }
                operation
            };
            let operations: Vec<Value> = parts.iter().map(operation).collect();
            Call::new(Method::POST, format!("/v1/transactions{wait}")).json(json!(operations))
        }
    };
    call.header("synod-comment", format!("op-{id}"))
        .header("idempotency-key", format!("chaos-op-{id}"))
}

/// The weight of a backend; what is the default may be left out.
pub(super) fn value(spec: &Value) -> u64 {
    spec["weight"].as_u64().unwrap_or(1)
}
