//! Locks under all faults: whoever keeps a session claims them, waits for them and lets them go.
//!
//! In log order a lock has one exclusive holder at most, its tokens rise, and nobody is granted it whose session has
//! ended. Whoever was told a token counts on holding the lock as long as on its session: no machine may think
//! otherwise. What happened in a slot is told by every machine alike.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;
use synod::config::Name;
use synod::paxos::NodeId;
use synod::state::{
    self, Acquire, Body, Happened, Locks, Mode, Operation, Refusal, SessionId, Token,
};

use crate::clients::{Answer, Call, PATIENCE, What};
use crate::mix::{MS, SECOND};
use crate::sessions::command;
use crate::world::{Event, World};

/// What one holder of a session does about locks: one thing after the other.
#[derive(Default)]
pub(crate) struct Claimer {
    /// Counts what it asks; an answer to an earlier question is not heard.
    nth: u64,
    /// Questions it has begun, each with a key of its own.
    begun: u64,
    asks: Option<Question>,
    /// What it claims and has not been told to hold.
    waits: Option<Claim>,
    /// What it counts on holding.
    held: Option<(Claim, Token)>,
}

#[derive(Clone, PartialEq)]
struct Claim {
    session: SessionId,
    lock: Name,
    mode: Mode,
}

/// Asked until it is answered.
#[derive(Clone)]
struct Question {
    key: String,
    body: Bytes,
    claim: Claim,
    acquires: bool,
}

/// What has been granted, in log order.
#[derive(Default)]
pub(crate) struct Grants {
    slot: u64,
    newest: BTreeMap<Name, Token>,
    events: BTreeMap<u64, Arc<Happened>>,
}

impl Claimer {
    fn begin(&mut self, holder: usize, session: SessionId, rng: &mut StdRng) {
        let waits = self.waits.take().filter(|claim| claim.session == session);
        let held = self.held.take();
        let held = held.filter(|(claim, _)| claim.session == session);
        // From here on it does not count on what it lets go.
        let release = held.map(|(claim, _)| claim);
        let gives_up = waits.is_some() && rng.random_bool(0.2);
        let acquires = release.is_none() && !gives_up;
        let claim = release.or(waits).unwrap_or_else(|| Claim {
            session,
            lock: Name::new(["x", "y"][rng.random_range(0..2)]).expect("a name"),
            mode: match rng.random_bool(0.3) {
                true => Mode::Shared,
                false => Mode::Exclusive,
            },
        });
        let millis = |rng: &mut StdRng, most| Duration::from_millis(rng.random_range(0..most));
        let operation = match acquires {
            true => Operation::Acquire(Acquire {
                session,
                lock: claim.lock.clone(),
                mode: claim.mode,
                wait: [Duration::ZERO, millis(rng, 4_000)][rng.random_range(0..2)],
                delay: [Duration::ZERO, millis(rng, 3_000)][rng.random_range(0..2)],
                content: "".into(),
            }),
            false => Operation::Release {
                session,
                lock: claim.lock.clone(),
            },
        };
        self.begun += 1;
        let key = format!("lock-{holder}-{}", self.begun);
        let body = command(&key, Body::Locks(operation), 0);
        self.asks = Some(Question {
            key,
            body,
            claim,
            acquires,
        });
    }

    /// Takes the answer; says whether the lock was granted, or that the session has ended.
    fn take(&mut self, question: Question, answer: state::Answer) -> Result<bool, SessionId> {
        let Question {
            claim, acquires, ..
        } = question;
        match (acquires, answer) {
            (true, state::Answer::Granted { token }) => {
                self.held = Some((claim, token));
                return Ok(true);
            }
            (true, state::Answer::Queued { .. }) => self.waits = Some(claim),
            (true, state::Answer::Busy) | (false, state::Answer::Released) => {}
            (_, state::Answer::Refused(Refusal::NoSession { session })) => return Err(session),
            // It had waited for too long before it gave up.
            (false, state::Answer::Refused(Refusal::NotHeld { .. })) => {}
            (_, other) => panic!("a claimer was answered {other:?}"),
        }
        Ok(false)
    }
}

impl World {
    /// The holder asks for something about a lock, or again.
    pub(crate) fn claim(&mut self, holder: usize, nth: u64) {
        let target = self.reachable[self.rng.random_range(0..self.reachable.len())];
        let client = self.clients.len() + self.holders.len() + holder;
        let it = &mut self.holders[holder];
        if it.claimer.nth != nth {
            return;
        }
        it.claimer.nth += 1;
        let nth = it.claimer.nth;
        let mut patience = PATIENCE;
        match (it.session, &it.claimer.asks) {
            (None, None) => patience = 100 * MS,
            (Some(session), None) => it.claimer.begin(holder, session, &mut self.rng),
            _ => {}
        }
        if let Some(Question { key, body, .. }) = self.holders[holder].claimer.asks.clone() {
            let what = What::Write { key, body };
            let call = Call { client, nth, what };
            let delay = self.rng.random_range(50..MS);
            self.after(delay, Event::Call { node: target, call });
        }
        self.after(patience, Event::Claim { holder, nth });
    }

    pub(crate) fn claim_answered(&mut self, holder: usize, nth: u64, answer: Answer) {
        let now = self.now;
        let it = &mut self.holders[holder];
        if it.claimer.nth != nth {
            return;
        }
        let pause = match answer {
            Answer::Elsewhere(_) => self.rng.random_range(MS..100 * MS),
            Answer::Locked(answer) => {
                let question = it.claimer.asks.take().expect("it was answered");
                match it.claimer.take(question, answer) {
                    Ok(granted) => self.summary.grants += u64::from(granted),
                    Err(session) => assert!(
                        it.session != Some(session) || it.until <= now,
                        "session {session} was ended early"
                    ),
                }
                self.rng.random_range(0..SECOND / 2)
            }
            other => panic!("a claimer was answered {other:?}"),
        };
        self.after(pause, Event::Claim { holder, nth });
    }

    /// What the machine's locks must be, now that it has applied a slot that may have changed them.
    pub(crate) fn locks_are_sound(&mut self, node: NodeId) {
        let process = self.nodes[node.0 as usize - 1].process.as_ref();
        let machine = &process.expect("it has just applied").machine;
        let (slot, locks) = (machine.applied(), machine.locks());
        self.grants.applied(slot, locks);
        for holder in self.holders.iter().filter(|it| it.until > self.now) {
            let Some((claim, token)) = &holder.claimer.held else {
                continue;
            };
            if holder.session != Some(claim.session) || token.0 > slot {
                continue;
            }
            let lock = locks.lock(claim.lock.as_str());
            let mut holders = lock.into_iter().flat_map(|lock| lock.holders());
            assert!(
                holders.any(|it| it.claim.session == claim.session && it.token == *token),
                "{node} has taken {} from session {} early",
                claim.lock,
                claim.session
            );
        }
    }
}

impl World {
    /// A watch of locks that goes on here, from where it had come to elsewhere, is told all that happened since, each
    /// slot once and in order; or that it is too late.
    pub(crate) fn watch_goes_on(&mut self, node: NodeId) {
        let process = self.nodes[node.0 as usize - 1].process.as_ref();
        let machine = &process.expect("it runs").machine;
        let (events, applied) = (machine.locks().events(), machine.applied());
        let since = self.rng.random_range(events.compacted()..=applied);
        let from = self.grants.events.range(..=since).next_back();
        let from = from.map_or(0, |(slot, _)| *slot).max(events.compacted());
        let behind = (Bound::Excluded(from), Bound::Included(applied));
        let happened = self.grants.events.range(behind);
        assert!(
            events
                .after(from)
                .eq(happened.map(|(_, happened)| happened)),
            "a watch that goes on behind slot {from} skips something or goes back"
        );
    }
}

impl Grants {
    fn applied(&mut self, slot: u64, locks: &Locks) {
        if let Some(happened) = locks.events().after(slot - 1).next() {
            let first = self.events.entry(slot).or_insert_with(|| happened.clone());
            assert_eq!(first, happened, "two tell another story of slot {slot}");
        }
        if slot <= self.slot {
            return;
        }
        self.slot = slot;
        for (name, lock) in locks.locks() {
            excludes(name, lock);
            let claims = lock.holders().iter().map(|holder| &holder.claim);
            for claim in claims.chain(lock.queue()) {
                let lives = locks.session(claim.session).is_some();
                assert!(lives, "{name} is claimed by a session that has ended");
            }
            let before = self.newest.insert(name.clone(), lock.newest());
            let before = before.unwrap_or_default();
            assert!(
                lock.newest() == before || lock.newest().0 == slot,
                "{name} was granted by {} in slot {slot}, after {before}",
                lock.newest()
            );
        }
    }
}

fn excludes(name: &Name, lock: &state::Lock) {
    let mut holders = lock.holders().iter();
    assert!(
        lock.holders().len() < 2 || holders.all(|it| it.claim.mode == Mode::Shared),
        "{name} is held by two that exclude each other"
    );
    assert!(
        lock.holders().iter().all(|it| it.token <= lock.newest()),
        "{name} is held by a grant that is yet to come"
    );
}
