//! Deadlines as a leader measures them: sessions that must be kept alive, waits, lock-delays.
//!
//! Pure: the simulation runs the same rules. They live in one leadership's memory only. Keeping a session alive costs
//! no entry of the log; ending one does, and that entry counts under this leadership alone. Whoever leads next begins
//! with full times, so no session ends early, however leaders come and go.
//! (`a_new_leader_gives_everybody_the_full_time`)

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bugs::{Bug, broken};
use crate::config::limits;
use crate::state::{Expiry, Locks, SessionId, Subject, Term};

/// Between two looks at what is due.
pub const LEASE_TICK: Duration = Duration::from_millis(100);
/// A look that comes so late says that this process stood still: time passed in which it could hear nobody.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// The deadlines of one leadership. Times are those of one clock that never goes back.
#[derive(Clone, Debug)]
pub struct Leases {
    term: Term,
    due: BTreeMap<Subject, Due>,
    /// What the deadlines were last compared with.
    seen: Option<u64>,
    looked: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    At(Duration),
    /// Its end is proposed: until its fate is known nothing is promised to whoever it is about.
    Proposed,
}

/// What a leader says to a session that wants to be kept alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It lives for so long from now, and so, safely, from when its client asked.
    Alive(Duration),
    /// It has ended.
    Ended,
    /// Its end is proposed: ask again.
    Undecided,
}

impl Leases {
    /// A leadership begins to measure, its barrier applied: everybody has the full time.
    pub fn begin(term: Term, now: Duration, locks: &Locks) -> Self {
        let mut leases = Self {
            term,
            due: BTreeMap::new(),
            seen: None,
            looked: now,
        };
        leases.compare(now, locks);
        leases
    }

    /// Whose they are.
    pub fn term(&self) -> Term {
        self.term
    }

    /// A session asks, and that this leadership stands was confirmed by a majority after it did.
    ///
    /// Any later leader had not begun when the majority answered, so it gives the session a full lease from a later
    /// time than its client counts from: what is said here holds whoever leads.
    pub fn keep_alive(&mut self, now: Duration, session: SessionId, locks: &Locks) -> Kept {
        let Some(lease) = locks.session(session).map(|session| session.lease) else {
            return Kept::Ended;
        };
        let subject = Subject::Session(session);
        let due = self.due.entry(subject).or_insert(Due::At(now));
        if *due == Due::Proposed && !broken(Bug::RenewedWhileEnding) {
            return Kept::Undecided;
        }
        *due = Due::At(now + lease);
        Kept::Alive(lease)
    }

    /// What has ended by now, to be proposed; nothing of it is promised to anybody from here on.
    pub fn look(&mut self, now: Duration, locks: &Locks) -> Option<Expiry> {
        let late = now.saturating_sub(self.looked);
        self.looked = now;
        if late >= STOOD_STILL && !broken(Bug::StalledLeader) {
            // What was sent to it meanwhile waits in its sockets. (`a_leader_that_stood_still_ends_nobody_for_it`)
            for due in self.due.values_mut() {
                if let Due::At(at) = due {
                    *at += late;
                }
            }
        }
        self.compare(now, locks);
        let mut subjects = Vec::new();
        for (subject, due) in &mut self.due {
            if matches!(due, Due::At(at) if *at <= now) && subjects.len() < limits::SUBJECTS {
                *due = Due::Proposed;
                subjects.push(subject.clone());
            }
        }
        (!subjects.is_empty()).then_some(Expiry {
            term: self.term,
            subjects,
        })
    }

    /// An expiry was not proposed and never will be: what it names is due as before.
    pub fn refused(&mut self, now: Duration, expiry: &Expiry) {
        for subject in &expiry.subjects {
            if let Some(due @ Due::Proposed) = self.due.get_mut(subject) {
                *due = Due::At(now);
            }
        }
    }

    /// Begins to measure what is new, and forgets what is gone.
    fn compare(&mut self, now: Duration, locks: &Locks) {
        if self.seen == Some(locks.changed()) {
            return;
        }
        self.seen = Some(locks.changed());
        let mut before = std::mem::take(&mut self.due);
        let due = locks.deadlines().map(|(subject, lasts)| {
            let due = before.remove(&subject).unwrap_or(Due::At(now + lasts));
            (subject, due)
        });
        self.due = due.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Name;
    use crate::state::{Acquire, Body, Command, Key, LEVEL, Machine, Mode, Operation, Stamp};

    const TERM: Term = Term {
        epoch: 1,
        round: 1,
        node: 1,
    };

    fn apply(machine: &mut Machine, body: Body) {
        let slot = machine.applied() + 1;
        let command = Command {
            key: Key::new(&format!("{slot}")).unwrap(),
            stamp: Stamp(slot),
            level: LEVEL,
            sticky_key: None,
            author: String::new(),
            comment: String::new(),
            body,
        };
        machine.apply(slot, &command.encode());
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// A leader at slot 1, and sessions of 12 s at 2 and 3.
    fn two() -> Machine {
        let mut machine = Machine::new();
        machine.lead(1, TERM);
        for _ in 0..2 {
            let lease = limits::LEASE;
            apply(&mut machine, Body::Locks(Operation::Open { lease }));
        }
        machine
    }

    /// Looks as often as a leader does, from just after one time to another; what was due, and when, in whole seconds.
    fn run(leases: &mut Leases, m: &Machine, from: u64, to: u64) -> Vec<(u64, Vec<Subject>)> {
        let ticks = from * 10 + 1..=to * 10;
        let due = ticks.filter_map(|tick| {
            let now = LEASE_TICK * u32::try_from(tick).unwrap();
            Some((tick / 10, leases.look(now, m.locks())?.subjects))
        });
        due.collect()
    }

    const A: Subject = Subject::Session(SessionId(2));
    const B: Subject = Subject::Session(SessionId(3));

    #[test]
    fn who_is_kept_alive_lives_and_who_is_not_ends_once() {
        let m = two();
        let mut leases = Leases::begin(TERM, seconds(0), m.locks());
        assert_eq!(run(&mut leases, &m, 0, 8), []);
        let kept = leases.keep_alive(seconds(8), SessionId(2), m.locks());
        assert_eq!(kept, Kept::Alive(seconds(12)));
        assert_eq!(run(&mut leases, &m, 8, 19), [(12, vec![B])]);
        assert_eq!(run(&mut leases, &m, 19, 30), [(20, vec![A])]);
    }

    #[test]
    fn between_its_proposed_end_and_its_fate_a_session_is_promised_nothing() {
        let mut m = two();
        let mut leases = Leases::begin(TERM, seconds(0), m.locks());
        let keep = |leases: &mut Leases, m: &Machine| {
            leases.keep_alive(seconds(13), SessionId(2), m.locks())
        };
        run(&mut leases, &m, 0, 12);
        let expiry = |subjects| Expiry {
            term: TERM,
            subjects,
        };
        assert_eq!(keep(&mut leases, &m), Kept::Undecided);
        leases.refused(seconds(13), &expiry(vec![A]));
        assert_eq!(keep(&mut leases, &m), Kept::Alive(seconds(12)));
        apply(&mut m, Body::Expiry(expiry(vec![A])));
        assert_eq!(keep(&mut leases, &m), Kept::Ended);
    }

    #[test]
    fn a_leader_that_stood_still_ends_nobody_for_it() {
        let m = two();
        let mut leases = Leases::begin(TERM, seconds(0), m.locks());
        assert_eq!(run(&mut leases, &m, 0, 5), []);
        assert_eq!(run(&mut leases, &m, 100, 108), [(107, vec![A, B])]);
    }

    #[test]
    fn a_new_leader_gives_everybody_the_full_time() {
        let m = two();
        let mut leases = Leases::begin(TERM, seconds(100), m.locks());
        assert_eq!(run(&mut leases, &m, 100, 111), []);
        assert_eq!(run(&mut leases, &m, 111, 112), [(112, vec![A, B])]);
    }

    #[test]
    fn waits_and_lock_delays_end_too() {
        let mut m = two();
        let lock = Name::new("deploy").unwrap();
        for session in [2, 3] {
            apply(
                &mut m,
                Body::Locks(Operation::Acquire(Acquire {
                    session: SessionId(session),
                    lock: lock.clone(),
                    mode: Mode::Exclusive,
                    wait: seconds(3),
                    delay: seconds(5),
                    content: "".into(),
                })),
            );
        }
        let mut leases = Leases::begin(TERM, seconds(0), m.locks());
        let wait = Subject::Wait {
            lock: lock.clone(),
            ticket: 5,
        };
        assert_eq!(run(&mut leases, &m, 0, 4), [(3, vec![wait])]);
        let term = TERM;
        let subjects = vec![A];
        apply(&mut m, Body::Expiry(Expiry { term, subjects }));
        let token = crate::state::Token(4);
        let delay = Subject::Delay { lock, token };
        assert_eq!(run(&mut leases, &m, 4, 10), [(9, vec![delay])]);
    }
}
