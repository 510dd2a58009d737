//! Clients of the lock service, who note what they were granted and for how long they could believe in it.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use synod::client::{Call, Problem};
use tokio::time::sleep;

use super::clients::{Shared, Tried};
use super::history::{Act, Operation, Step};

const LOCKS: [&str; 2] = ["deploy", "migrate"];
const LEASE: Duration = Duration::from_secs(3);
/// Enough for any election, while nothing else is wrong.
const TRIES: usize = 5;

/// The time in which a client may act on a lock: nobody else may hold it then.
#[derive(Clone, Debug)]
pub(super) struct Belief {
    pub(super) client: String,
    pub(super) lock: String,
    pub(super) token: u64,
    pub(super) from: Duration,
    pub(super) until: Duration,
}

impl fmt::Display for Belief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (client, lock, token) = (&self.client, &self.lock, self.token);
        let (from, until) = (self.from, self.until);
        write!(
            f,
            "{client}, {lock} by token {token}, {from:.3?} to {until:.3?}"
        )
    }
}

/// One client of the lock service.
pub(super) struct Locker {
    name: String,
    shared: Shared,
    rng: StdRng,
    beliefs: Arc<Mutex<Vec<Belief>>>,
    calls: u64,
}

/// A session, and until when it lives at least.
struct Lease {
    session: u64,
    until: Duration,
}

/// The session is of no use any more.
struct Lost;

impl Locker {
    pub(super) fn new(
        name: String,
        shared: Shared,
        seed: u64,
        beliefs: Arc<Mutex<Vec<Belief>>>,
    ) -> Self {
        Self {
            name,
            shared,
            rng: StdRng::seed_from_u64(seed),
            beliefs,
            calls: 0,
        }
    }

    /// Opens sessions and claims locks until it is told to stop.
    pub(super) async fn run(mut self) {
        while !self.shared.stopped() {
            let Some(mut lease) = self.open().await else {
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            for _ in 0..self.rng.random_range(3..20) {
                if self.shared.stopped() || self.round(&mut lease).await.is_err() {
                    break;
                }
                sleep(Duration::from_millis(self.rng.random_range(5..100))).await;
            }
        }
    }

    async fn open(&mut self) -> Option<Lease> {
        let sent = self.shared.recorder.now();
        let call = self.post("/v1/sessions");
        let call = call.json(json!({"lease": format!("{}s", LEASE.as_secs())}));
        match self.shared.insist(&mut self.rng, TRIES, &call).await {
            Tried::Done(answer) => Some(Lease {
                session: answer.body["session"].as_u64()?,
                until: sent + LEASE,
            }),
            _ => None,
        }
    }

    /// Claims a lock, holds it and lets go of it; or drops dead with it in hand.
    async fn round(&mut self, lease: &mut Lease) -> Result<(), Lost> {
        self.keep(lease).await?;
        let lock = LOCKS[self.rng.random_range(0..LOCKS.len())];
        let wait = self.rng.random_range(0..2) * 1500;
        let call = self.shared.recorder.now();
        let asked = self.post(&format!("/v1/locks/{lock}/acquire?timeout=4s"));
        let asked = asked.json(json!({
            "session": lease.session,
            "wait": format!("{wait}ms"),
            "lock_delay": "0s",
        }));
        let token = match self.shared.insist(&mut self.rng, TRIES, &asked).await {
            Tried::Done(answer) if answer.status == StatusCode::OK => {
                answer.body["token"].as_u64().ok_or(Lost)?
            }
            // It may wait still, and whoever waits may be granted it.
            Tried::Done(_) | Tried::Nothing | Tried::Unknown => return Err(Lost),
            Tried::Refused(problem) => match kind(&problem) {
                "lock-held" | "timed-out" => return Ok(()),
                "session-ended" => return Err(Lost),
                _ => return Err(self.strange(&problem)),
            },
        };
        let from = self.shared.recorder.now();
        self.note(call, Some(from), lock, lease.session, Step::Granted(token));
        let mut belief = Belief {
            client: self.name.clone(),
            lock: lock.to_owned(),
            token,
            from,
            until: lease.until,
        };
        let held = self.hold(lease, lock, token).await;
        belief.until = lease.until;
        // Now and then it dies with the lock in hand: that is its until the lease is over.
        let dies = held.is_err() || self.rng.random_bool(0.1);
        if !dies {
            belief.until = belief.until.min(self.shared.recorder.now());
        }
        self.beliefs.lock().unwrap().push(belief);
        if dies {
            return Err(Lost);
        }
        self.release(lease, lock, token).await
    }

    async fn hold(&mut self, lease: &mut Lease, lock: &str, token: u64) -> Result<(), Lost> {
        for _ in 0..self.rng.random_range(0..4) {
            sleep(Duration::from_millis(self.rng.random_range(1..150))).await;
            if self.rng.random_bool(0.5) {
                self.keep(lease).await?;
                continue;
            }
            let call = self.shared.recorder.now();
            let asked = Call::get(format!("/v1/locks/{lock}/check?token={token}"));
            if let Tried::Done(answer) = self.shared.insist(&mut self.rng, 1, &asked).await {
                let held = answer.body["held"] == true;
                let end = Some(self.shared.recorder.now());
                self.note(
                    call,
                    end,
                    lock,
                    lease.session,
                    Step::Checked { token, held },
                );
            }
        }
        Ok(())
    }

    async fn release(&mut self, lease: &Lease, lock: &str, token: u64) -> Result<(), Lost> {
        let call = self.shared.recorder.now();
        let asked = self.post(&format!("/v1/locks/{lock}/release"));
        let asked = asked.json(json!({"session": lease.session}));
        match self.shared.insist(&mut self.rng, TRIES, &asked).await {
            Tried::Done(_) => {
                let end = Some(self.shared.recorder.now());
                self.note(call, end, lock, lease.session, Step::Released { token });
                Ok(())
            }
            Tried::Refused(problem) if kind(&problem) == "session-ended" => Err(Lost),
            Tried::Refused(problem) => Err(self.strange(&problem)),
            Tried::Nothing | Tried::Unknown => Err(Lost),
        }
    }

    async fn keep(&mut self, lease: &mut Lease) -> Result<(), Lost> {
        let sent = self.shared.recorder.now();
        let asked = self.post("/v1/sessions/keep-alive");
        let asked = asked.json(json!({"sessions": [lease.session]}));
        match self.shared.insist(&mut self.rng, 2, &asked).await {
            Tried::Done(answer) => {
                let Some(lasts) = answer.body["items"][0]["lease_ms"].as_u64() else {
                    let (now, until) = (self.shared.recorder.now(), lease.until);
                    if now < until {
                        let session = lease.session;
                        let early = format!("session {session} ended by {now:?}, before {until:?}");
                        self.shared.violations.add(early);
                    }
                    return Err(Lost);
                };
                // Counted from its sending; where there were two tries that is early, and early is safe.
                lease.until = lease.until.max(sent + Duration::from_millis(lasts));
                Ok(())
            }
            _ => Err(Lost),
        }
    }

    fn post(&mut self, path: &str) -> Call {
        self.calls += 1;
        let key = format!("chaos-{}-{}", self.name, self.calls);
        Call::new(Method::POST, path).header("idempotency-key", key)
    }

    fn note(&self, call: Duration, end: Option<Duration>, lock: &str, session: u64, step: Step) {
        self.shared.recorder.add(Operation {
            id: self.shared.recorder.number(),
            client: self.name.clone(),
            call,
            end,
            act: Act::Lock {
                lock: lock.to_owned(),
                session,
                step,
            },
        });
    }

    fn strange(&self, problem: &Problem) -> Lost {
        let name = &self.name;
        self.shared.violations.add(format!("{name}: {problem}"));
        Lost
    }
}

/// The last word of a problem's type.
fn kind(problem: &Problem) -> &str {
    let kind = problem.body["type"].as_str().unwrap_or("");
    kind.rsplit(':').next().unwrap_or("")
}
