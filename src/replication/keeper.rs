//! Runs the leases of the leadership that this node has, if it has one: keeps alive who asks, and has those end whose
//! time is up.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::calls::{Attempt, Reply};
use super::frame::{Body as Frame, KeepAlive, KeptAlive, KeptSession};
use super::leader::Leader;
use super::leases::{Kept, LEASE_TICK, Leases};
use super::shared::Shared;
use super::{Handle, Unavailable};
use crate::paxos::Role;
use crate::state::{Body, Command, Expiry, Key, LEVEL, Locks, SessionId, Stamp, Term};

/// A session that was asked for, and how long it lives from when its client asked; `None`: it has ended.
pub type Life = (SessionId, Option<Duration>);

impl Handle {
    /// Keeps sessions alive. What it says holds from before the call, whatever becomes of the leader.
    pub async fn keep_alive(
        &self,
        sessions: &[SessionId],
        within: Duration,
    ) -> Result<Vec<Life>, Unavailable> {
        let deadline = Instant::now() + within;
        let mut standing = self.0.standing.subscribe();
        loop {
            let lives = match self.leader(&mut standing) {
                Err(why) => return Err(Unavailable::NoLeader { why }),
                Ok(Leader::Nobody) => None,
                Ok(Leader::Here) => {
                    let kept = self.0.keep_alive(sessions);
                    tokio::time::timeout_at(deadline, kept).await.ok().flatten()
                }
                Ok(Leader::At(peer)) => {
                    let ids = sessions.iter().map(|session| session.0).collect();
                    let question = |request| {
                        Frame::KeepAlive(KeepAlive {
                            request,
                            sessions: ids,
                        })
                    };
                    self.ask(peer, &mut standing, deadline, Reply::Lives, question)
                        .await
                }
            };
            if let Some(lives) = lives {
                return Ok(lives);
            }
            if !self.pause(&mut standing, deadline).await {
                let why = "no leader could confirm that it leads".to_owned();
                return Err(Unavailable::NoLeader { why });
            }
        }
    }
}

impl Shared {
    /// Keeps sessions alive, if this node leads and a majority confirms it now. `None`: it does not, or the fate of one
    /// of them is not decided yet.
    pub(super) async fn keep_alive(&self, sessions: &[SessionId]) -> Option<Vec<Life>> {
        // Its barrier is decided, and the round that confirms it has begun after the call came in.
        let slot = self.read().await?;
        let mut applied = self.applied.subscribe();
        applied.wait_for(|at| *at >= slot).await.ok()?;
        self.measure(|leases, now, locks| {
            let keep = |session: &SessionId| {
                let life = match leases.keep_alive(now, *session, locks) {
                    Kept::Alive(lease) => Some(lease),
                    Kept::Ended => None,
                    Kept::Undecided => return None,
                };
                Some((*session, life))
            };
            // To the last one, so that an undecided one costs the others nothing.
            let lives: Vec<Option<Life>> = sessions.iter().map(keep).collect();
            lives.into_iter().collect()
        })
        .flatten()
    }

    /// Works on the leases of the leadership that this node has, if it has one and its barrier is applied.
    fn measure<R>(&self, work: impl FnOnce(&mut Leases, Duration, &Locks) -> R) -> Option<R> {
        let term: Term = {
            let standing = self.standing.borrow();
            (standing.role == Role::Leader).then(|| standing.ballot.into())?
        };
        // Nothing under this lock can panic half-way.
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.origin.elapsed();
        self.inspect(|machine| {
            let locks = machine.locks();
            if locks.term() != term {
                return None;
            }
            let leases = match &mut *leases {
                Some(leases) if leases.term() == term => leases,
                other => other.insert(Leases::begin(term, now, locks)),
            };
            Some(work(leases, now, locks))
        })
    }
}

/// Has what is due end, as long as this node leads, until it is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(LEASE_TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let due = shared.measure(Leases::look);
        if let Some(expiry) = due.flatten() {
            // It waits for a majority; others are due meanwhile. As many at once as there are deadlines, at most.
            tokio::spawn(propose(shared.clone(), expiry));
        }
    }
}

/// Proposes it here, and nowhere else: it is void under any other leadership.
async fn propose(shared: Arc<Shared>, expiry: Expiry) {
    let command = Command {
        key: Key::new("expiry").expect("a short and printable word"),
        stamp: Stamp(0),
        level: LEVEL,
        sticky_key: None,
        author: String::new(),
        comment: String::new(),
        body: Body::Expiry(expiry.clone()),
    };
    let attempt = shared.propose(&command.into()).await;
    if let Ok(Attempt::NotProposed(_) | Attempt::TooLarge) = attempt {
        shared.measure(|leases, now, _| {
            if leases.term() == expiry.term {
                leases.refused(now, &expiry);
            }
        });
    }
}

/// As the leader tells it.
pub(super) fn told(request: u64, lives: Option<Vec<Life>>) -> KeptAlive {
    let session = |(session, life): &Life| KeptSession {
        session: session.0,
        lease_ms: life.map(|lease| u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)),
    };
    KeptAlive {
        request,
        confirmed: lives.is_some(),
        sessions: lives.iter().flatten().map(session).collect(),
    }
}

impl KeptAlive {
    /// What was told.
    pub(super) fn lives(self) -> Option<Vec<Life>> {
        let life = |told: KeptSession| {
            let lease = told.lease_ms.map(Duration::from_millis);
            (SessionId(told.session), lease)
        };
        let lives = self.sessions.into_iter().map(life).collect();
        self.confirmed.then_some(lives)
    }
}
