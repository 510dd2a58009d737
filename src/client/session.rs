//! Sessions and locks, held safely by a program that does something else meanwhile.
//!
//! A [`Session`] keeps itself alive on a task of its own, at any node that answers. Its [`Lease`] is told as it is, and
//! never better: it counts from when a keep-alive was sent, so it is never longer here than at the cluster. When it
//! runs out without an answer the session is in jeopardy: the cluster may have ended it, or may only be electing a
//! leader, who will give it a full lease again. Within the grace either is found out; after it the session counts as
//! expired, whatever the cluster thinks.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::{Call, Client, Error};

/// How long a session that is in jeopardy is given, unless said.
pub const GRACE: Duration = Duration::from_secs(45);
/// Between two calls that failed.
const AGAIN: Duration = Duration::from_millis(200);
/// One node is given so long before the next is asked.
const ONE_NODE: Duration = Duration::from_secs(5);
/// How long one call waits for a lock before it is made again.
const POLL: Duration = Duration::from_secs(10);

/// A session that is kept alive. Dropping it stops that, and it ends when its lease does; [`Session::close`] ends it at
/// once.
pub struct Session {
    id: u64,
    client: Client,
    lease: watch::Receiver<Lease>,
    _keeping: AbortOnDropHandle<()>,
}

/// What may be counted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// The session lives, and all that it holds is held.
    Safe,
    /// Nobody has answered in time: what it holds may be another's by now. A token tells.
    Jeopardy,
    /// The session has ended, for good.
    Expired,
}

/// How a lock is claimed.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// With others that share it.
    pub shared: bool,
    /// How long to wait; zero: not at all.
    pub wait: Duration,
    /// How long nobody else gets the lock if this session ends while it holds it.
    pub lock_delay: Duration,
    /// What others see of the holder.
    pub content: String,
}

/// A lock that is held, until it is released or its session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub lock: String,
    /// Greater than that of every grant before: whoever is shown it can refuse older ones.
    pub token: u64,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Others hold it, and the claim does not wait.
    #[error("{lock} is held by others")]
    Busy {
        /// Which.
        lock: String,
    },
    /// The claim has waited for as long as it may.
    #[error("{lock} was not free within {waited:?}")]
    TimedOut {
        /// Which.
        lock: String,
        /// How long.
        waited: Duration,
    },
    /// The session has ended.
    #[error("session {session} has ended: it was not kept alive in time, or was closed")]
    Expired {
        /// Which.
        session: u64,
    },
    /// The call failed.
    #[error(transparent)]
    Call(#[from] Error),
}

impl Session {
    /// Opens a session and begins to keep it alive, on the runtime that this is called on.
    pub async fn open(client: &Client, lease: Duration, grace: Duration) -> Result<Self, Error> {
        let sent = Instant::now();
        let body = json!({"lease": format!("{}ms", lease.as_millis())});
        // A node that stands still is passed over: under one key no second session is opened.
        let call = Call::new(Method::POST, "/v1/sessions").json(body);
        let answer = client.within(ONE_NODE).call(call).await?;
        let id = answer.number("session")?;
        let (sender, receiver) = watch::channel(Lease::Safe);
        let keeper = Keeper {
            id,
            client: client.within(ONE_NODE.min(lease / 3)),
            lease,
            grace,
            state: sender,
        };
        let keeping = tokio::spawn(keeper.run(sent + lease));
        Ok(Self {
            id,
            client: client.within(POLL + ONE_NODE),
            lease: receiver,
            _keeping: AbortOnDropHandle::new(keeping),
        })
    }

    /// Its number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What may be counted on now, and from now on.
    pub fn lease(&self) -> watch::Receiver<Lease> {
        self.lease.clone()
    }

    /// Returns once the session has ended.
    pub async fn expired(&self) {
        let mut lease = self.lease.clone();
        // An error means that nobody keeps it alive any more.
        let _ = lease.wait_for(|lease| *lease == Lease::Expired).await;
    }

    /// Claims a lock and waits for it, through elections and dead nodes.
    pub async fn acquire(&self, lock: &str, claim: &Claim) -> Result<Held, LockError> {
        // Dropped half-way the claim stays with the session, and ends with it.
        tokio::select! {
            held = self.claim(lock, claim) => held,
            () = self.expired() => Err(LockError::Expired { session: self.id }),
        }
    }

    async fn claim(&self, lock: &str, claim: &Claim) -> Result<Held, LockError> {
        let mut body = json!({
            "session": self.id,
            "mode": if claim.shared { "shared" } else { "exclusive" },
            "wait": format!("{}ms", claim.wait.as_millis()),
            "lock_delay": format!("{}ms", claim.lock_delay.as_millis()),
            "content": claim.content,
        });
        let path = format!("/v1/locks/{lock}/acquire?timeout={}s", POLL.as_secs());
        // The key of the whole claim: a call that was lost and arrives late claims nothing anew.
        let key = uuid::Uuid::new_v4().to_string();
        loop {
            let call = Call::new(Method::POST, &path)
                .header("idempotency-key", &key)
                .json(body.clone());
            let answer = match self.client.call(call.waiting()).await {
                Ok(answer) => answer,
                Err(error) if is_passing(&error) => {
                    sleep(AGAIN).await;
                    continue;
                }
                Err(error) => return Err(self.refused(lock, claim, error)),
            };
            if answer.status == StatusCode::ACCEPTED {
                body["ticket"] = answer.body["ticket"].clone();
                continue;
            }
            let lock = lock.to_owned();
            let token = answer.number("token")?;
            return Ok(Held { lock, token });
        }
    }

    fn refused(&self, lock: &str, claim: &Claim, error: Error) -> LockError {
        let kind = match &error {
            Error::Refused(problem) => problem.body["type"].as_str().unwrap_or(""),
            _ => "",
        };
        let lock = lock.to_owned();
        match kind {
            "urn:synod:problem:lock-held" => LockError::Busy { lock },
            "urn:synod:problem:timed-out" => LockError::TimedOut {
                lock,
                waited: claim.wait,
            },
            "urn:synod:problem:session-ended" => LockError::Expired { session: self.id },
            _ => LockError::Call(error),
        }
    }

    /// Lets go of one lock.
    pub async fn release(&self, held: &Held) -> Result<(), Error> {
        let path = format!("/v1/locks/{}/release", held.lock);
        let call = Call::new(Method::POST, path).json(json!({"session": self.id}));
        let client = self.client.within(ONE_NODE);
        client.call(call).await.map(drop)
    }

    /// Ends the session: what it holds is free at once.
    pub async fn close(self) -> Result<(), Error> {
        let call = Call::new(Method::DELETE, format!("/v1/sessions/{}", self.id));
        let client = self.client.within(ONE_NODE);
        client.call(call).await.map(drop)
    }
}

/// Whether the same call may well succeed soon: an election, a dead node.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } | Error::Unknown { .. } => true,
        Error::Refused(problem) => problem.status == StatusCode::SERVICE_UNAVAILABLE,
        Error::Address { .. }
        | Error::Credentials(_)
        | Error::Unfit { .. }
        | Error::Strange { .. } => false,
    }
}

/// What keeps a session alive.
struct Keeper {
    id: u64,
    client: Client,
    lease: Duration,
    grace: Duration,
    state: watch::Sender<Lease>,
}

/// What one keep-alive came to.
enum Kept {
    /// The session lives until then at least.
    Until(Instant),
    Ended,
    /// Nobody could say.
    Unknown,
}

impl Keeper {
    async fn run(self, mut until: Instant) {
        let mut pause = self.lease / 3;
        loop {
            let next = async {
                sleep(pause).await;
                self.keep().await
            };
            match self.watching(until, next).await {
                Kept::Until(renewed) => {
                    until = until.max(renewed);
                    pause = self.lease / 3;
                    self.tell(Lease::Safe);
                }
                Kept::Unknown => pause = AGAIN,
                Kept::Ended => return self.tell(Lease::Expired),
            }
        }
    }

    /// Waits for a keep-alive, and tells what becomes of the lease meanwhile.
    async fn watching(&self, until: Instant, next: impl Future<Output = Kept>) -> Kept {
        tokio::pin!(next);
        // Cancelling a keep-alive loses an answer that comes too late to be of use.
        tokio::select! {
            biased;
            kept = &mut next => return kept,
            () = sleep_until(until) => self.tell(Lease::Jeopardy),
        }
        tokio::select! {
            biased;
            kept = next => kept,
            () = sleep_until(until + self.grace) => Kept::Ended,
        }
    }

    async fn keep(&self) -> Kept {
        let sent = Instant::now();
        let call = Call::new(Method::POST, "/v1/sessions/keep-alive");
        let call = call.json(json!({"sessions": [self.id]}));
        let Ok(answer) = self.client.call(call).await else {
            return Kept::Unknown;
        };
        match &answer.body["items"][0]["lease_ms"] {
            Value::Null if answer.body["items"][0]["session"] == self.id => Kept::Ended,
            lease => match lease.as_u64() {
                Some(lease) => Kept::Until(sent + Duration::from_millis(lease)),
                None => Kept::Unknown,
            },
        }
    }

    fn tell(&self, lease: Lease) {
        self.state.send_if_modified(|state| {
            let news = *state != lease;
            *state = lease;
            news
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(300);

    /// Of a session whose cluster does not answer.
    fn keeper() -> (Keeper, watch::Receiver<Lease>) {
        let (state, receiver) = watch::channel(Lease::Safe);
        let client = Client::new(["127.0.0.1:1"], ONE_NODE).expect("an address");
        let keeper = Keeper {
            id: 1,
            client,
            lease: LEASE,
            grace: 2 * LEASE,
            state,
        };
        (keeper, receiver)
    }

    #[tokio::test]
    async fn without_answers_a_lease_is_in_jeopardy_and_then_expired() {
        let (keeper, mut lease) = keeper();
        let began = Instant::now();
        let running = tokio::spawn(keeper.run(began + LEASE));
        let mut told = Vec::new();
        // Ends with the keeper, at the latest after the lease and the grace.
        while lease.changed().await.is_ok() {
            told.push(*lease.borrow_and_update());
            let least = LEASE * if told.len() == 1 { 1 } else { 3 };
            assert!(began.elapsed() >= least, "{told:?} is told early");
        }
        assert_eq!(told.last(), Some(&Lease::Expired));
        running.await.expect("it has ended");
    }

    #[tokio::test]
    async fn an_answer_saves_it_also_out_of_jeopardy() {
        let (keeper, lease) = keeper();
        let now = Instant::now();
        let late = async {
            sleep(LEASE).await;
            Kept::Until(Instant::now() + LEASE)
        };
        // In jeopardy from the beginning, with a grace that does not end.
        let keeper = Keeper {
            grace: Duration::from_secs(600),
            ..keeper
        };
        let kept = keeper.watching(now, late).await;
        assert!(matches!(kept, Kept::Until(_)));
        assert_eq!(*lease.borrow(), Lease::Jeopardy);
        let keeper = Keeper {
            grace: Duration::ZERO,
            ..keeper
        };
        let ended = keeper.watching(now, std::future::pending()).await;
        assert!(matches!(ended, Kept::Ended), "the grace is over");
    }
}
