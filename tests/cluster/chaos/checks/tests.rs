//! The judges themselves: they let a good history pass, and refuse each wrong one, for the right reason.

use std::time::Duration;

use super::super::history::{Act, At, Expects, Found, Operation, Part, Register, Step, Written};
use super::super::lockers::Belief;
use super::super::witness::{Entry, LockEvent, What};
use super::{beliefs, faults, search};

fn register(name: &str) -> Register {
    Register {
        pool: super::super::clients::REGISTERS,
        id: format!("r0-{name}"),
    }
}

fn part(name: &str, value: u64, expects: Expects) -> Part {
    Part {
        register: register(name),
        value,
        expects,
    }
}

/// A write of its own number as the value of register `a`, in these seconds; it has no end if it is unknown.
fn write(id: u64, (call, end): (u64, u64), expects: Expects, outcome: Written) -> Operation {
    let parts = vec![part("a", id, expects)];
    let end = if outcome == Written::Unknown { 0 } else { end };
    operation(id, (call, end), Act::Write { parts, outcome })
}

fn read(id: u64, times: (u64, u64), found: &[(&str, Option<u64>)]) -> Operation {
    let found = found.iter().map(|(name, value)| {
        let found = value.map(|value| Found {
            value,
            revision: None,
        });
        (register(name), found)
    });
    operation(id, times, Act::Read(found.collect()))
}

fn lock(id: u64, times: (u64, u64), session: u64, step: Step) -> Operation {
    let lock = "deploy".to_owned();
    operation(
        id,
        times,
        Act::Lock {
            lock,
            session,
            step,
        },
    )
}

fn operation(id: u64, (call, end): (u64, u64), act: Act) -> Operation {
    Operation {
        id,
        client: "client".to_owned(),
        call: Duration::from_secs(call),
        end: (end > 0).then(|| Duration::from_secs(end)),
        act,
    }
}

/// The log's entry of a write, with the values it gave to registers.
fn wrote(slot: u64, id: u64, names: &[&str]) -> Entry {
    let weights = names.iter().map(|name| (register(name).path(), Some(id)));
    Entry {
        slot,
        what: What::Config {
            comment: format!("op-{id}"),
            weights: weights.collect(),
        },
    }
}

fn granted(slot: u64, session: u64) -> Entry {
    let event = LockEvent::Granted {
        lock: "deploy".to_owned(),
        session,
        token: slot,
    };
    Entry {
        slot,
        what: What::Locks(vec![event]),
    }
}

fn released(slot: u64, session: u64, token: u64) -> Entry {
    let event = LockEvent::Released {
        lock: "deploy".to_owned(),
        session,
        token,
    };
    Entry {
        slot,
        what: What::Locks(vec![event]),
    }
}

fn unchanged(revision: u64, value: u64) -> Expects {
    Expects::Unchanged(At { revision, value })
}

#[test]
fn a_history_that_the_log_explains_is_let_pass() {
    let both = vec![
        part("a", 6, unchanged(14, 4)),
        part("b", 6, Expects::Absence),
    ];
    let both = Act::Write {
        parts: both,
        outcome: Written::At(16),
    };
    let operations = [
        write(1, (1, 2), Expects::Absence, Written::At(10)),
        // One of two that expect the same wins; a third is late, and comes to nothing for want of a quorum.
        write(2, (3, 6), unchanged(10, 1), Written::At(12)),
        write(3, (3, 5), unchanged(10, 1), Written::LostRace),
        // Nobody knows of this one, but it was done.
        write(4, (7, 0), unchanged(12, 2), Written::Unknown),
        write(5, (7, 9), unchanged(12, 2), Written::Nothing),
        // While it is under way it is seen by one, and then by all.
        read(11, (8, 9), &[("a", Some(2))]),
        read(12, (8, 9), &[("a", Some(4)), ("b", None)]),
        operation(6, (10, 12), both),
        read(13, (11, 13), &[("b", None)]),
        read(14, (13, 14), &[("a", Some(6)), ("b", Some(6))]),
        // And of this one nobody knows, and it was not.
        write(7, (13, 0), Expects::Anything, Written::Unknown),
        lock(21, (1, 3), 8, Step::Granted(11)),
        lock(
            22,
            (3, 4),
            8,
            Step::Checked {
                token: 11,
                held: true,
            },
        ),
        lock(23, (5, 8), 8, Step::Released { token: 11 }),
        lock(24, (2, 9), 9, Step::Granted(13)),
        lock(
            25,
            (9, 10),
            8,
            Step::Checked {
                token: 11,
                held: false,
            },
        ),
    ];
    let mut handed_over = released(13, 8, 11);
    let (What::Locks(before), What::Locks(after)) = (&mut handed_over.what, granted(13, 9).what)
    else {
        unreachable!("both are of locks")
    };
    before.extend(after);
    let log = [
        wrote(10, 1, &["a"]),
        granted(11, 8),
        wrote(12, 2, &["a"]),
        handed_over,
        wrote(14, 4, &["a"]),
        wrote(16, 6, &["a", "b"]),
    ];
    assert_eq!(faults(&operations, &log, &[]), [""; 0]);
}

#[test]
fn a_history_that_the_log_does_not_explain_is_refused() {
    let first = || write(1, (1, 2), Expects::Absence, Written::At(10));
    let second = |outcome| write(2, (3, 4), unchanged(10, 1), outcome);
    let one = || wrote(10, 1, &["a"]);
    let two = || wrote(12, 2, &["a"]);
    let cases: Vec<(&str, Vec<Operation>, Vec<Entry>)> = vec![
        ("is lost", vec![first()], vec![]),
        (
            "at another revision",
            vec![first()],
            vec![wrote(9, 1, &["a"])],
        ),
        (
            "not what was asked",
            vec![first()],
            vec![wrote(10, 1, &["b"])],
        ),
        (
            "done twice",
            vec![first()],
            vec![one(), wrote(11, 1, &["a"])],
        ),
        ("which nobody wrote", vec![first()], vec![one(), two()]),
        (
            "refused, and done",
            vec![first(), second(Written::Nothing)],
            vec![one(), two()],
        ),
        (
            "although nothing had changed",
            vec![first(), second(Written::LostRace)],
            vec![one()],
        ),
        (
            "although /pools/registers/backends/r0-a was",
            vec![
                first(),
                second(Written::At(12)),
                write(3, (3, 4), unchanged(10, 1), Written::At(13)),
            ],
            vec![one(), two(), wrote(13, 3, &["a"])],
        ),
        // Of an acknowledged write, and of one that another has seen.
        (
            "cannot be at slot 10 to 12",
            vec![
                first(),
                second(Written::At(12)),
                read(11, (5, 6), &[("a", Some(1))]),
            ],
            vec![one(), two()],
        ),
        (
            "cannot be at slot 10 to 12",
            vec![
                first(),
                second(Written::Unknown),
                read(11, (5, 6), &[("a", Some(2))]),
                read(12, (7, 8), &[("a", Some(1))]),
            ],
            vec![one(), two()],
        ),
        // Seen before it was asked for.
        (
            "cannot be at slot 12 to 13",
            vec![
                first(),
                read(11, (2, 3), &[("a", Some(2))]),
                write(2, (5, 6), unchanged(10, 1), Written::At(12)),
            ],
            vec![one(), two()],
        ),
        (
            "never was",
            vec![first(), read(11, (3, 4), &[("a", Some(7))])],
            vec![one()],
        ),
        // Half of a transaction.
        (
            "but not what 10 did",
            vec![
                operation(
                    1,
                    (1, 2),
                    Act::Write {
                        parts: vec![
                            part("a", 1, Expects::Absence),
                            part("b", 1, Expects::Absence),
                        ],
                        outcome: Written::At(10),
                    },
                ),
                read(11, (1, 2), &[("a", Some(1)), ("b", None)]),
            ],
            vec![wrote(10, 1, &["a", "b"])],
        ),
        ("which Grant", vec![], vec![granted(11, 8), granted(13, 9)]),
        (
            "not newer than 13",
            vec![],
            vec![granted(13, 8), released(14, 8, 13), granted(12, 9)],
        ),
        ("what is not held", vec![], vec![released(14, 8, 13)]),
        (
            "no such grant",
            vec![lock(1, (1, 2), 8, Step::Granted(11))],
            vec![],
        ),
        (
            "does not have the release",
            vec![lock(1, (1, 2), 8, Step::Released { token: 11 })],
            vec![granted(11, 8)],
        ),
        (
            "cannot be at slot 11 to 14",
            vec![
                lock(1, (1, 2), 8, Step::Released { token: 11 }),
                lock(
                    2,
                    (3, 4),
                    8,
                    Step::Checked {
                        token: 11,
                        held: true,
                    },
                ),
            ],
            vec![granted(11, 8), released(14, 8, 11)],
        ),
    ];
    for (why, operations, log) in cases {
        let found = faults(&operations, &log, &[]);
        assert!(
            found.iter().any(|fault| fault.contains(why)),
            "{why}: {found:?}"
        );
    }
}

#[test]
fn the_search_refuses_by_itself_what_no_order_explains() {
    let first = || write(1, (1, 2), Expects::Absence, Written::At(10));
    let second = || write(2, (3, 4), unchanged(10, 1), Written::At(12));
    let cases: Vec<(&str, Vec<Operation>)> = vec![
        (
            "a lost write",
            vec![first(), read(11, (3, 4), &[("a", None)])],
        ),
        (
            "a stale read",
            vec![first(), second(), read(11, (5, 6), &[("a", Some(1))])],
        ),
        (
            "two of whom one should have lost",
            vec![
                first(),
                second(),
                write(3, (3, 4), unchanged(10, 1), Written::At(13)),
            ],
        ),
        (
            "an unknown write that is seen, and then not",
            vec![
                first(),
                write(2, (3, 0), Expects::Anything, Written::Unknown),
                read(11, (5, 6), &[("a", Some(2))]),
                read(12, (7, 8), &[("a", Some(1))]),
            ],
        ),
        (
            "a lost race that nobody won",
            vec![
                first(),
                write(2, (3, 4), unchanged(10, 1), Written::LostRace),
            ],
        ),
    ];
    for (what, operations) in cases {
        let mut found = Vec::new();
        search::check(&operations, &mut found);
        assert_eq!(found.len(), 1, "{what} is let pass");
    }
}

#[test]
fn two_who_could_believe_to_hold_a_lock_are_refused() {
    let belief = |lock: &str, from, until| Belief {
        client: "locker".to_owned(),
        lock: lock.to_owned(),
        token: 7,
        from: Duration::from_secs(from),
        until: Duration::from_secs(until),
    };
    let count = |all: &[Belief]| {
        let mut found = Vec::new();
        beliefs::check(all, &mut found);
        found.len()
    };
    let one = belief("deploy", 1, 5);
    assert_eq!(count(&[one.clone(), belief("deploy", 4, 6)]), 1);
    assert_eq!(count(&[one.clone(), belief("deploy", 5, 6)]), 0);
    assert_eq!(count(&[one, belief("migrate", 4, 6)]), 0);
}
