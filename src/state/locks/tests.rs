//! The rules of sessions and locks, as transcripts and over random logs.

mod events;
mod restored;
mod retries;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::config::{Name, limits};
use crate::state::{Applied, Body, Command, Key, LEVEL, Machine, Outcome, Stamp};
use crate::state::{checkpoint, restore};

const TERM: Term = Term {
    epoch: 1,
    round: 1,
    node: 1,
};

fn led() -> Machine {
    let mut machine = Machine::new();
    machine.lead(1, TERM);
    machine
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn apply(machine: &mut Machine, body: Body) -> Answer {
    let key = format!("k{}", machine.applied() + 1);
    apply_under(machine, &key, body)
}

fn apply_under(machine: &mut Machine, key: &str, body: Body) -> Answer {
    let slot = machine.applied() + 1;
    let command = Command {
        key: Key::new(key).unwrap(),
        stamp: Stamp(slot),
        level: LEVEL,
        sticky_key: None,
        author: "ann".to_owned(),
        comment: String::new(),
        body,
    };
    assert_eq!(Command::decode(&command.encode()), Ok(command.clone()));
    match machine.apply(slot, &command.encode()) {
        Applied::Command {
            outcome: Outcome::Locks(answer),
            ..
        } => {
            let encoded = Outcome::Locks(answer.clone()).encode();
            assert_eq!(
                Outcome::decode(&encoded),
                Ok(Outcome::Locks(answer.clone()))
            );
            answer
        }
        other => panic!("not applied: {other:?}"),
    }
}

fn ask(machine: &mut Machine, operation: Operation) -> Answer {
    apply(machine, Body::Locks(operation))
}

fn open(machine: &mut Machine) -> SessionId {
    match ask(
        machine,
        Operation::Open {
            lease: limits::LEASE,
        },
    ) {
        Answer::Opened { session } => session,
        other => panic!("{other:?}"),
    }
}

fn acquire(session: SessionId, mode: Mode, wait: u64, delay: u64) -> Operation {
    Operation::Acquire(Acquire {
        session,
        lock: name("deploy"),
        mode,
        wait: Duration::from_secs(wait),
        delay: Duration::from_secs(delay),
        content: "".into(),
    })
}

fn release(session: SessionId) -> Operation {
    Operation::Release {
        session,
        lock: name("deploy"),
    }
}

fn expire(machine: &mut Machine, term: Term, subjects: Vec<Subject>) -> Answer {
    apply(machine, Body::Expiry(Expiry { term, subjects }))
}

fn granted(slot: u64) -> Answer {
    Answer::Granted { token: Token(slot) }
}

use Mode::{Exclusive, Shared};

#[test]
fn the_queue_is_served_in_order_and_nobody_overtakes() {
    let mut m = led();
    let [a, b, c, d] = std::array::from_fn(|_| open(&mut m));
    assert_eq!(ask(&mut m, acquire(a, Exclusive, 0, 0)), granted(6));
    assert_eq!(ask(&mut m, acquire(b, Exclusive, 0, 0)), Answer::Busy);
    let queued = |ticket| Answer::Queued { ticket };
    assert_eq!(ask(&mut m, acquire(b, Shared, 9, 0)), queued(8));
    assert_eq!(ask(&mut m, acquire(c, Exclusive, 9, 0)), queued(9));
    assert_eq!(ask(&mut m, acquire(d, Shared, 9, 0)), queued(10));
    let standing = |m: &Machine, session, ticket| m.locks().standing(session, "deploy", ticket);
    assert_eq!(standing(&m, d, 10), Standing::Waiting(2));
    assert_eq!(ask(&mut m, release(a)), Answer::Released);
    assert_eq!(standing(&m, b, 8), Standing::Held(Token(11)));
    assert_eq!(standing(&m, d, 10), Standing::Waiting(1), "c was first");
    assert_eq!(ask(&mut m, release(c)), Answer::Released, "c waits no more");
    assert_eq!(standing(&m, c, 9), Standing::Gone);
    assert_eq!(standing(&m, d, 10), Standing::Held(Token(12)));
    assert_eq!(ask(&mut m, acquire(c, Shared, 0, 0)), granted(13));
    let check = |m: &Machine, token| m.locks().check("deploy", Token(token));
    assert_eq!(check(&m, 6), Check::Old { fence: Token(11) });
    assert_eq!(
        check(&m, 11),
        Check::Good { held: true },
        "those that share do not exclude each other"
    );
    assert_eq!(check(&m, 99), Check::Unknown);
}

#[test]
fn a_claim_is_made_once() {
    let mut m = led();
    let (a, b) = (open(&mut m), open(&mut m));
    assert_eq!(ask(&mut m, acquire(a, Exclusive, 0, 0)), granted(4));
    assert_eq!(ask(&mut m, acquire(a, Exclusive, 0, 0)), granted(4));
    let waits = Answer::Queued { ticket: 6 };
    assert_eq!(ask(&mut m, acquire(b, Exclusive, 5, 0)), waits);
    assert_eq!(ask(&mut m, acquire(b, Exclusive, 5, 0)), waits);
    let other = Refusal::OtherMode {
        lock: "deploy".to_owned(),
        mode: Exclusive,
    };
    assert_eq!(
        ask(&mut m, acquire(a, Shared, 0, 0)),
        Answer::Refused(other)
    );
    let gone = SessionId(99);
    let nobody = Answer::Refused(Refusal::NoSession { session: gone });
    assert_eq!(ask(&mut m, acquire(gone, Exclusive, 0, 0)), nobody);
    assert_eq!(ask(&mut m, Operation::Close { session: gone }), nobody);
    ask(&mut m, release(b));
    let not_held = Refusal::not_held(b, &name("deploy"));
    assert_eq!(ask(&mut m, release(b)), Answer::Refused(not_held));
}

#[test]
fn a_failed_holder_delays_the_next_and_one_that_closes_does_not() {
    let mut m = led();
    let [a, b, c] = std::array::from_fn(|_| open(&mut m));
    ask(&mut m, acquire(a, Exclusive, 0, 15));
    ask(&mut m, acquire(b, Exclusive, 9, 15));
    ask(&mut m, acquire(c, Exclusive, 9, 15));
    let standing = |m: &Machine, session, ticket| m.locks().standing(session, "deploy", ticket);
    expire(&mut m, TERM, vec![Subject::Session(a)]);
    assert_eq!(standing(&m, b, 6), Standing::Waiting(0));
    let delay = Subject::Delay {
        lock: name("deploy"),
        token: Token(5),
    };
    let deadlines: BTreeMap<_, _> = m.locks().deadlines().collect();
    assert_eq!(deadlines[&delay], Duration::from_secs(15));
    expire(&mut m, TERM, vec![delay]);
    assert_eq!(standing(&m, b, 6), Standing::Held(Token(9)));
    assert_eq!(
        ask(&mut m, Operation::Close { session: b }),
        Answer::Closed { locks: 1 }
    );
    assert_eq!(standing(&m, c, 7), Standing::Held(Token(10)), "at once");
}

#[test]
fn a_waiter_whose_session_or_time_has_ended_is_never_granted() {
    let mut m = led();
    let [a, b, c, d] = std::array::from_fn(|_| open(&mut m));
    for session in [a, b, c, d] {
        ask(&mut m, acquire(session, Exclusive, 9, 0));
    }
    let wait = Subject::Wait {
        lock: name("deploy"),
        ticket: 8,
    };
    // All in one slot: the one that is left is the only one to be granted by it.
    let ended = vec![Subject::Session(a), Subject::Session(b), wait];
    assert_eq!(
        expire(&mut m, TERM, ended.clone()),
        Answer::Expired { subjects: 3 }
    );
    let held = m.locks().lock("deploy").unwrap().holders();
    assert_eq!(
        held.iter()
            .map(|it| (it.claim.session, it.token))
            .collect::<Vec<_>>(),
        [(d, Token(10))]
    );
    assert_eq!(
        expire(&mut m, TERM, ended),
        Answer::Expired { subjects: 0 },
        "once is enough"
    );
}

#[test]
fn an_expiry_is_void_under_a_later_leadership() {
    let mut m = led();
    let a = open(&mut m);
    m.lead(3, Term { round: 2, ..TERM });
    assert_eq!(
        expire(&mut m, TERM, vec![Subject::Session(a)]),
        Answer::Void
    );
    assert!(m.locks().session(a).is_some());
}

#[test]
fn bounds_are_told() {
    let mut m = led();
    let lease = Operation::Open {
        lease: Duration::from_secs(1),
    };
    let told = |answer| match answer {
        Answer::Refused(refusal) => refusal.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(told(ask(&mut m, lease)), "lease must be from 2 s to 1 h");
    let session = open(&mut m);
    assert_eq!(
        told(ask(&mut m, acquire(session, Exclusive, 0, 61))),
        "lock_delay must be at most 60 s"
    );
    let claim = |number: usize| {
        Operation::Acquire(Acquire {
            session,
            lock: name(&format!("l{number}")),
            mode: Exclusive,
            wait: Duration::ZERO,
            delay: Duration::ZERO,
            content: "".into(),
        })
    };
    for number in 0..limits::LOCKS_PER_SESSION {
        assert!(matches!(ask(&mut m, claim(number)), Answer::Granted { .. }));
    }
    assert_eq!(
        told(ask(&mut m, claim(1000))),
        "there are 100 locks of this session already, as many as there may be"
    );
}

#[test]
fn a_lock_that_was_forgotten_refuses_its_old_tokens() {
    let mut m = led();
    let mut first = None;
    for number in 0..limits::FREE_LOCKS + 2 {
        if number % limits::LOCKS_PER_SESSION == 0 {
            first
                .take()
                .map(|session| ask(&mut m, Operation::Close { session }));
        }
        let session = *first.get_or_insert_with(|| open(&mut m));
        let lock = name(&format!("l{number}"));
        ask(
            &mut m,
            Operation::Acquire(Acquire {
                session,
                lock,
                mode: Exclusive,
                wait: Duration::ZERO,
                delay: Duration::ZERO,
                content: "".into(),
            }),
        );
    }
    first.map(|session| ask(&mut m, Operation::Close { session }));
    assert_eq!(m.locks().locks().len(), limits::FREE_LOCKS);
    assert_eq!(m.locks().check("l0", Token(3)), Check::Forgotten);
    assert_eq!(
        m.locks().check("l9", Token(12)),
        Check::Good { held: false }
    );
}

/// One thing that happens, by indices into what there is.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Close(Index),
    Acquire {
        session: Index,
        lock: u8,
        shared: bool,
        waits: bool,
        delays: bool,
    },
    Release(Index, u8),
    /// Of what has a deadline.
    Expire(Vec<Index>),
    Stale(Index),
    Lead,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        2 => Just(Step::Open),
        1 => index().prop_map(Step::Close),
        8 => (index(), 0u8..3, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(session, lock, shared, waits, delays)| Step::Acquire { session, lock, shared, waits, delays }
        ),
        4 => (index(), 0u8..3).prop_map(|(session, lock)| Step::Release(session, lock)),
        2 => vec(index(), 1..4).prop_map(Step::Expire),
        1 => index().prop_map(Step::Stale),
        1 => Just(Step::Lead),
        1 => Just(Step::Restart),
    ]
}

fn take(m: &mut Machine, step: &Step, all: &mut Vec<SessionId>) {
    let some = |index: &Index, all: &[SessionId]| match all {
        [] => SessionId(0),
        all => all[index.index(all.len())],
    };
    let lock = |number: u8| name(["x", "y", "z"][usize::from(number)]);
    let deadline = |m: &Machine, index: &Index| {
        let deadlines: Vec<_> = m.locks().deadlines().collect();
        (!deadlines.is_empty()).then(|| deadlines[index.index(deadlines.len())].0.clone())
    };
    match step {
        Step::Open => all.push(open(m)),
        Step::Close(index) => {
            let session = some(index, all);
            ask(m, Operation::Close { session });
        }
        Step::Acquire {
            session,
            lock: number,
            shared,
            waits,
            delays,
        } => {
            ask(
                m,
                Operation::Acquire(Acquire {
                    session: some(session, all),
                    lock: lock(*number),
                    mode: if *shared { Shared } else { Exclusive },
                    wait: Duration::from_secs(u64::from(*waits)),
                    delay: Duration::from_secs(u64::from(*delays)),
                    content: "x".into(),
                }),
            );
        }
        Step::Release(session, number) => {
            let session = some(session, all);
            let lock = lock(*number);
            ask(m, Operation::Release { session, lock });
        }
        Step::Expire(indices) => {
            let subjects = indices.iter().filter_map(|index| deadline(m, index));
            let (term, subjects) = (m.locks().term(), subjects.collect());
            expire(m, term, subjects);
        }
        Step::Stale(index) => {
            let before = m.locks().deadlines().collect::<Vec<_>>();
            let subjects = deadline(m, index).into_iter().collect();
            let old = Term::default();
            assert_eq!(expire(m, old, subjects), Answer::Void);
            assert_eq!(m.locks().deadlines().collect::<Vec<_>>(), before);
        }
        Step::Lead => {
            let term = m.locks().term();
            let round = term.round + 1;
            m.lead(m.applied() + 1, Term { round, ..term });
        }
        Step::Restart => {
            let restored = restore(&checkpoint(m)).unwrap();
            assert_eq!(restored.digest(), m.digest());
            assert_eq!(checkpoint(&restored), checkpoint(m));
            *m = restored;
        }
    }
}

fn is_whole(locks: &Locks) {
    let mut claims = 0;
    for (name, lock) in locks.locks() {
        let exclusive = lock.holders().iter().any(|it| it.claim.mode == Exclusive);
        assert!(
            !exclusive || lock.holders().len() == 1,
            "{name} is held by two that exclude each other"
        );
        let waiting: Vec<u64> = lock.queue().map(|claim| claim.ticket).collect();
        assert!(waiting.is_sorted(), "{name} is not served in order");
        if let Some(next) = lock.queue().next() {
            let blocked = lock.delay().is_some() || !lock.holders().is_empty();
            assert!(blocked, "{name} is free, and {next:?} waits");
        }
        let held = lock.holders().iter().map(|holder| &holder.claim);
        for claim in held.chain(lock.queue()) {
            claims += 1;
            let session = locks.session(claim.session);
            let session = session.expect("a dead session claims a lock");
            assert!(session.locks().any(|lock| lock == name));
        }
        assert_eq!(
            lock.is_idle(),
            locks.free.contains(&(lock.newest(), name.clone()))
        );
    }
    assert_eq!(locks.claims, claims);
    let of_sessions: usize = locks.sessions().map(|(_, it)| it.locks().len()).sum();
    assert_eq!(of_sessions, claims);
}

proptest! {
    #[test]
    fn locks_exclude_tokens_rise_and_the_dead_hold_nothing(steps in vec(step(), 1..80)) {
        let (mut m, mut sessions) = (led(), Vec::new());
        let mut exclusive: BTreeMap<Name, (Token, SessionId)> = BTreeMap::new();
        for step in &steps {
            take(&mut m, step, &mut sessions);
            is_whole(m.locks());
            for (name, lock) in m.locks().locks() {
                let Some(holder) = lock.holders().iter().find(|it| it.claim.mode == Exclusive) else {
                    continue;
                };
                let grant = (holder.token, holder.claim.session);
                let last = exclusive.insert(name.clone(), grant);
                let rises = last.is_none_or(|last| last == grant || last.0 < grant.0);
                prop_assert!(rises, "{} was granted by {:?} after {:?}", name, grant, last);
                if let Some(last) = last.filter(|last| *last != grant) {
                    let check = m.locks().check(name.as_str(), last.0);
                    prop_assert_eq!(check, Check::Old { fence: lock.fence() });
                }
            }
        }
    }

    #[test]
    fn everybody_who_waits_gets_the_lock_once_those_before_let_go(steps in vec(step(), 1..80)) {
        let (mut m, mut sessions) = (led(), Vec::new());
        steps.iter().for_each(|step| take(&mut m, step, &mut sessions));
        let next = |m: &Machine| {
            let mut locks = m.locks().locks();
            locks.find_map(|(name, lock)| Some((name.clone(), lock.queue().next()?.clone())))
        };
        while let Some((lock, first)) = next(&m) {
            let it = m.locks().lock(lock.as_str()).unwrap().clone();
            for holder in it.holders() {
                let session = holder.claim.session;
                ask(&mut m, Operation::Release { session, lock: lock.clone() });
            }
            if let Some(delay) = it.delay() {
                let (term, token) = (m.locks().term(), delay.token);
                let lock = lock.clone();
                expire(&mut m, term, vec![Subject::Delay { lock, token }]);
            }
            let standing = m.locks().standing(first.session, lock.as_str(), first.ticket);
            prop_assert!(matches!(standing, Standing::Held(_)), "{:?} is {:?}", first, standing);
        }
    }
}
