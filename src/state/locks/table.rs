//! All sessions and locks, and what each operation does to them. Every collection is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::Duration;

use twox_hash::XxHash3_64;

use super::{
    Acquire, Answer, Events, Expiry, Lock, LockEvent, LocksImage, Operation, Refusal, SessionId,
    Subject, Term, Token,
};
use crate::bugs::{Bug, broken};
use crate::config::{Name, limits};
use crate::state::Stamp;

/// The lock service's state.
#[derive(Clone, Debug, Default)]
pub struct Locks {
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub(super) locks: BTreeMap<Name, Lock>,
    /// The locks that nobody claims, by their newest tokens: the first is forgotten first.
    pub(super) free: BTreeSet<(Token, Name)>,
    /// The newest token of all locks that were forgotten.
    pub(super) forgotten: Token,
    /// On all locks.
    pub(super) claims: usize,
    /// The newest leadership whose barrier was applied.
    pub(super) term: Term,
    /// What happened lately.
    pub(super) events: Events,
    /// The last slot that changed anything but `term`.
    pub(super) changed: u64,
    pub(super) digest: OnceLock<u64>,
}

/// Who may hold locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// How long it lives without being kept alive.
    pub lease: Duration,
    /// Who opened it.
    pub owner: String,
    /// State time when it was opened.
    pub opened: Stamp,
    pub(super) locks: BTreeSet<Name>,
}

/// Where in the log an operation stands, and when.
#[derive(Clone, Copy)]
struct Moment {
    slot: u64,
    now: Stamp,
}

/// What is known of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nobody was granted the lock since, in a way that excludes its holder.
    Good {
        /// Whether the grant still stands.
        held: bool,
    },
    /// Somebody else was granted the lock since.
    Old {
        /// The oldest token that is still good.
        fence: Token,
    },
    /// The lock was not claimed for so long that its grants are forgotten: as good as old.
    Forgotten,
    /// No such grant is known here; it may be newer than this state.
    Unknown,
}

/// Where a claim stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was granted.
    Held(Token),
    /// It waits behind so many claims, those that hold the lock not counted.
    Waiting(usize),
    /// It waited too long, or was released.
    Gone,
    /// Its session has ended.
    NoSession,
}

impl Session {
    /// The locks it holds or waits for.
    pub fn locks(&self) -> impl ExactSizeIterator<Item = &Name> {
        self.locks.iter()
    }
}

impl Locks {
    /// All sessions, in the order they were opened.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = (SessionId, &Session)> {
        self.sessions.iter().map(|(id, session)| (*id, session))
    }

    /// One session, while it lives.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// All locks that are known, by name.
    pub fn locks(&self) -> impl ExactSizeIterator<Item = (&Name, &Lock)> {
        self.locks.iter()
    }

    /// One lock, if it is known.
    pub fn lock(&self, name: &str) -> Option<&Lock> {
        self.locks.get(name)
    }

    /// The newest token of all locks that were forgotten.
    pub fn forgotten(&self) -> Token {
        self.forgotten
    }

    /// The last slot that changed anything.
    pub fn changed(&self) -> u64 {
        self.changed
    }

    /// What happened lately.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The newest leadership that is known to the state.
    pub fn term(&self) -> Term {
        self.term
    }

    /// What is known of a token of a lock.
    pub fn check(&self, name: &str, token: Token) -> Check {
        match self.locks.get(name) {
            Some(lock) if token < lock.fence => Check::Old { fence: lock.fence },
            Some(lock) if token <= lock.newest => Check::Good {
                held: lock.holders.iter().any(|holder| holder.token == token),
            },
            None if token <= self.forgotten => Check::Forgotten,
            _ => Check::Unknown,
        }
    }

    /// Where a claim stands.
    pub fn standing(&self, session: SessionId, name: &str, ticket: u64) -> Standing {
        if !self.sessions.contains_key(&session) {
            return Standing::NoSession;
        }
        let Some(lock) = self.locks.get(name) else {
            return Standing::Gone;
        };
        match lock.claim(session) {
            Some((claim, token)) if claim.ticket == ticket => match token {
                Some(token) => Standing::Held(token),
                None => {
                    let ahead = lock.queue.iter().take_while(|it| it.ticket != ticket);
                    Standing::Waiting(ahead.count())
                }
            },
            _ => Standing::Gone,
        }
    }

    /// All that has a deadline, and how long it has from the time that somebody begins to measure.
    pub fn deadlines(&self) -> impl Iterator<Item = (Subject, Duration)> {
        let sessions = self.sessions.iter();
        let sessions = sessions.map(|(id, session)| (Subject::Session(*id), session.lease));
        sessions.chain(self.locks.iter().flat_map(|(name, lock)| {
            let waits = lock.queue.iter().map(|claim| {
                let (lock, ticket) = (name.clone(), claim.ticket);
                (Subject::Wait { lock, ticket }, claim.wait)
            });
            let delay = lock.delay.iter().map(|delay| {
                let (lock, token) = (name.clone(), delay.token);
                (Subject::Delay { lock, token }, delay.lasts)
            });
            waits.chain(delay)
        }))
    }

    /// Equal on every node at equal slots.
    pub(in crate::state) fn digest(&self) -> u64 {
        let digest = || XxHash3_64::oneshot(&LocksImage::of(self).encoded());
        *self.digest.get_or_init(digest)
    }

    /// A leadership's barrier is applied.
    pub(in crate::state) fn lead(&mut self, term: Term) {
        self.term = self.term.max(term);
        self.digest = OnceLock::new();
    }

    /// Terms begin anew.
    pub(in crate::state) fn refound(&mut self) {
        self.term = Term::default();
        self.digest = OnceLock::new();
    }

    /// What `slot` asks; nothing of it is done unless all of it can be.
    pub(in crate::state) fn apply(
        &mut self,
        slot: u64,
        now: Stamp,
        owner: &str,
        operation: Operation,
    ) -> Answer {
        let at = Moment { slot, now };
        let done = match operation {
            Operation::Open { lease } => self.open(at, owner, lease),
            Operation::Close { session } => self.close(session, at),
            Operation::Acquire(acquire) => self.acquire(&acquire, at),
            Operation::Release { session, lock } => self.release(session, &lock, at),
        };
        done.unwrap_or_else(Answer::Refused)
    }

    /// What is told to who asks once more for what was answered before. A session that has ended since is none to use,
    /// and a lock that was let go or lost is not held. (`a_retry_is_not_told_that_it_holds_what_it_has_lost`)
    pub(in crate::state) fn again(&self, operation: &Operation, before: Answer) -> Answer {
        match (operation, before) {
            (_, Answer::Opened { session }) if !self.sessions.contains_key(&session) => {
                Answer::Refused(Refusal::NoSession { session })
            }
            (Operation::Acquire(acquire), Answer::Granted { token }) => {
                let (session, lock) = (acquire.session, &acquire.lock);
                let claim = self.locks.get(lock).and_then(|it| it.claim(session));
                match claim {
                    Some((_, held)) if held == Some(token) => Answer::Granted { token },
                    _ if self.sessions.contains_key(&session) => {
                        Answer::Refused(Refusal::not_held(session, lock))
                    }
                    _ => Answer::Refused(Refusal::NoSession { session }),
                }
            }
            (_, before) => before,
        }
    }

    /// These deadlines have passed, unless a later leadership has begun to measure them anew.
    pub(in crate::state) fn expire(&mut self, slot: u64, now: Stamp, expiry: &Expiry) -> Answer {
        if expiry.term != self.term && !broken(Bug::Etcd15247) {
            return Answer::Void;
        }
        let at = Moment { slot, now };
        let mut touched = BTreeSet::new();
        let mut ended = 0;
        for subject in &expiry.subjects {
            ended += usize::from(self.end(subject, &mut touched, at));
        }
        if ended > 0 {
            self.settle(&touched, at);
            self.change(slot);
        }
        Answer::Expired { subjects: ended }
    }

    fn end(&mut self, subject: &Subject, touched: &mut BTreeSet<Name>, at: Moment) -> bool {
        match subject {
            Subject::Session(id) => {
                let Some(session) = self.sessions.remove(id) else {
                    return false;
                };
                self.tell(at, LockEvent::Expired { session: *id });
                for name in session.locks {
                    self.withdraw(&name, *id, true, at);
                    touched.insert(name);
                }
                true
            }
            Subject::Wait { lock: name, ticket } => {
                let waiting = self.locks.get(name).and_then(|lock| {
                    let mut queue = lock.queue.iter();
                    queue.find(|claim| claim.ticket == *ticket)
                });
                let Some(id) = waiting.map(|claim| claim.session) else {
                    return false;
                };
                self.disclaim(name, id, at);
                touched.insert(name.clone());
                true
            }
            Subject::Delay { lock: name, token } => {
                let Some(lock) = self.locks.get_mut(name) else {
                    return false;
                };
                if lock.delay.is_none_or(|delay| delay.token != *token) {
                    return false;
                }
                lock.delay = None;
                touched.insert(name.clone());
                true
            }
        }
    }

    fn open(&mut self, at: Moment, owner: &str, lease: Duration) -> Result<Answer, Refusal> {
        if !(limits::SHORTEST_LEASE..=limits::LONGEST_LEASE).contains(&lease) {
            return Err(Refusal::bounds("lease", "from 2 s to 1 h"));
        }
        if self.sessions.len() >= limits::SESSIONS {
            return Err(Refusal::too_many("sessions", limits::SESSIONS));
        }
        let session = SessionId(at.slot);
        let owner = &owner[..owner.floor_char_boundary(limits::AUTHOR_BYTES)];
        self.sessions.insert(
            session,
            Session {
                lease,
                owner: owner.to_owned(),
                opened: at.now,
                locks: BTreeSet::new(),
            },
        );
        let owner = owner.into();
        self.tell(at, LockEvent::Opened { session, owner });
        self.change(at.slot);
        Ok(Answer::Opened { session })
    }

    fn close(&mut self, id: SessionId, at: Moment) -> Result<Answer, Refusal> {
        let Some(session) = self.sessions.remove(&id) else {
            return Err(Refusal::NoSession { session: id });
        };
        self.tell(at, LockEvent::Closed { session: id });
        for name in &session.locks {
            self.withdraw(name, id, false, at);
        }
        self.settle(&session.locks, at);
        self.change(at.slot);
        Ok(Answer::Closed {
            locks: session.locks.len(),
        })
    }

    fn acquire(&mut self, acquire: &Acquire, at: Moment) -> Result<Answer, Refusal> {
        let (id, name) = (acquire.session, &acquire.lock);
        let Some(session) = self.sessions.get(&id) else {
            return Err(Refusal::NoSession { session: id });
        };
        if let Some((claim, token)) = self.locks.get(name).and_then(|lock| lock.claim(id)) {
            if claim.mode != acquire.mode {
                return Err(Refusal::OtherMode {
                    lock: name.to_string(),
                    mode: claim.mode,
                });
            }
            let ticket = claim.ticket;
            return Ok(token.map_or(Answer::Queued { ticket }, |token| Answer::Granted { token }));
        }
        bounds(acquire)?;
        self.room(session, name)?;
        let lock = self.locks.get(name);
        if acquire.wait.is_zero() && lock.is_some_and(|lock| !lock.admits_now(acquire.mode)) {
            return Ok(Answer::Busy);
        }
        let lock = self.locks.entry(name.clone()).or_default();
        if lock.is_idle() {
            self.free.remove(&(lock.newest, name.clone()));
        }
        lock.enqueue(acquire, at.slot);
        self.claims += 1;
        if let Some(session) = self.sessions.get_mut(&id) {
            session.locks.insert(name.clone());
        }
        self.settle(&BTreeSet::from([name.clone()]), at);
        self.change(at.slot);
        if let Standing::Held(token) = self.standing(id, name.as_str(), at.slot) {
            return Ok(Answer::Granted { token });
        }
        let (lock, session, mode) = (name.clone(), id, acquire.mode);
        let waiting = LockEvent::Waiting {
            lock,
            session,
            mode,
        };
        self.tell(at, waiting);
        Ok(Answer::Queued { ticket: at.slot })
    }

    /// Whether one more claim of the session on the lock is within the bounds.
    fn room(&self, session: &Session, name: &Name) -> Result<(), Refusal> {
        if session.locks.len() >= limits::LOCKS_PER_SESSION {
            return Err(Refusal::too_many(
                "locks of this session",
                limits::LOCKS_PER_SESSION,
            ));
        }
        if self.claims >= limits::CLAIMS {
            return Err(Refusal::too_many("claims on locks", limits::CLAIMS));
        }
        let known = self.locks.get(name).is_some_and(|lock| !lock.is_idle());
        if !known && self.locks.len() - self.free.len() >= limits::LOCKS {
            return Err(Refusal::too_many("locks in use", limits::LOCKS));
        }
        Ok(())
    }

    fn release(&mut self, id: SessionId, name: &Name, at: Moment) -> Result<Answer, Refusal> {
        let Some(session) = self.sessions.get(&id) else {
            return Err(Refusal::NoSession { session: id });
        };
        if !session.locks.contains(name) {
            return Err(Refusal::not_held(id, name));
        }
        self.disclaim(name, id, at);
        self.settle(&BTreeSet::from([name.clone()]), at);
        self.change(at.slot);
        Ok(Answer::Released)
    }

    /// Takes a claim from the lock and from its session, which lives on.
    fn disclaim(&mut self, name: &Name, id: SessionId, at: Moment) {
        self.withdraw(name, id, false, at);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.locks.remove(name);
        }
    }

    /// Takes a claim from the lock.
    fn withdraw(&mut self, name: &Name, id: SessionId, failed: bool, at: Moment) {
        let Some(lock) = self.locks.get_mut(name) else {
            return;
        };
        let before = lock.claims();
        let held = lock.withdraw(id, failed);
        self.claims -= before - lock.claims();
        let (lock, session) = (name.clone(), id);
        self.tell(
            at,
            match held {
                Some(token) => LockEvent::Released {
                    lock,
                    session,
                    token,
                },
                None => LockEvent::Withdrawn { lock, session },
            },
        );
    }

    fn tell(&mut self, at: Moment, event: LockEvent) {
        self.events.push(at.slot, at.now, event);
    }

    /// Once all that ends in a slot has ended: grants what can be granted, and sorts what nobody claims.
    fn settle(&mut self, touched: &BTreeSet<Name>, at: Moment) {
        for name in touched {
            let Some(lock) = self.locks.get_mut(name) else {
                continue;
            };
            for holder in lock.grant(at.slot, at.now) {
                let event = LockEvent::Granted {
                    lock: name.clone(),
                    session: holder.claim.session,
                    mode: holder.claim.mode,
                    token: holder.token,
                };
                self.events.push(at.slot, at.now, event);
            }
            if lock.is_idle() {
                self.free.insert((lock.newest, name.clone()));
            }
        }
        while self.free.len() > limits::FREE_LOCKS
            && let Some((newest, name)) = self.free.pop_first()
        {
            self.locks.remove(&name);
            self.forgotten = self.forgotten.max(newest);
        }
    }

    fn change(&mut self, slot: u64) {
        self.changed = slot;
        self.digest = OnceLock::new();
    }
}

fn bounds(acquire: &Acquire) -> Result<(), Refusal> {
    if acquire.wait > limits::LOCK_WAIT {
        return Err(Refusal::bounds("wait", "at most 24 h"));
    }
    if acquire.delay > limits::LOCK_DELAY {
        return Err(Refusal::bounds("lock_delay", "at most 60 s"));
    }
    if acquire.content.len() > limits::CONTENT_BYTES {
        let bounds = format!("at most {} bytes", limits::CONTENT_BYTES);
        return Err(Refusal::bounds("content", bounds));
    }
    Ok(())
}
