//! The machine as the log drives it.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::config::samples::{json_value, transaction};
use crate::config::{Effect, Operation, Rejection, Revision, StickyKey, Transaction, limits};

fn command(key: &str, stamp: u64, transaction: Transaction) -> Command {
    Command {
        key: Key::new(key).unwrap(),
        stamp: Stamp(stamp),
        level: LEVEL,
        sticky_key: None,
        author: "ann".to_owned(),
        comment: format!("because of {key}"),
        body: Body::Config(transaction),
    }
}

/// Puts a pool of one backend of that weight.
fn put(weight: u16) -> Transaction {
    let backends = json!([{"id": "b", "address": "10.0.0.1:80", "weight": weight}]);
    Transaction::of(Operation::put(
        "/pools/web".parse().unwrap(),
        json!({ "backends": backends }),
    ))
}

fn apply(machine: &mut Machine, command: &Command) -> Outcome {
    match machine.apply(machine.applied() + 1, &command.encode()) {
        Applied::Command { key, outcome } => {
            assert_eq!(key, command.key);
            outcome
        }
        other => panic!("not applied: {other:?}"),
    }
}

fn done(revision: u64, changed: bool, effect: Effect) -> Outcome {
    Outcome::Done {
        revision: Revision(revision),
        changed,
        effects: vec![effect],
    }
}

#[test]
fn a_retry_gets_the_same_answer_and_is_not_applied_again() {
    let mut machine = Machine::new();
    machine.skip(1);
    assert_eq!(
        apply(&mut machine, &command("a", 10, put(1))),
        done(2, true, Effect::Created)
    );
    assert_eq!(
        apply(&mut machine, &command("b", 11, put(2))),
        done(3, true, Effect::Updated)
    );
    assert_eq!(
        apply(&mut machine, &command("a", 99, put(1))),
        done(2, true, Effect::Created)
    );
    assert_eq!(
        machine.revision(),
        Revision(3),
        "the retry did not bring the old weight back"
    );
    assert_eq!(
        apply(&mut machine, &command("a", 12, put(7))),
        Outcome::KeyReused
    );
    assert_eq!(machine.applied(), 5);
    assert_eq!(
        machine.now(),
        Stamp(99),
        "state time is the greatest stamp seen"
    );

    let missing = Transaction::of(Operation::delete("/pools/x".parse().unwrap()));
    let rejected = Outcome::Rejected(Rejection::NotFound("/pools/x".to_owned()));
    assert_eq!(
        apply(&mut machine, &command("c", 13, missing.clone())),
        rejected
    );
    apply(
        &mut machine,
        &command(
            "d",
            14,
            Transaction::of(Operation::put("/pools/x".parse().unwrap(), json!({}))),
        ),
    );
    assert_eq!(
        apply(&mut machine, &command("c", 15, missing)),
        rejected,
        "a refusal is an answer too"
    );
}

#[test]
fn a_write_that_changes_nothing_answers_the_current_revision_and_adds_no_history() {
    let mut machine = Machine::new();
    apply(&mut machine, &command("a", 1, put(1)));
    let (digest, entries) = (
        machine.history().digest(),
        machine.history().newest_first().len(),
    );
    assert_eq!(
        apply(&mut machine, &command("b", 2, put(1))),
        done(1, false, Effect::Unchanged)
    );
    assert_eq!(
        (
            machine.history().digest(),
            machine.history().newest_first().len()
        ),
        (digest, entries)
    );
    assert_eq!(machine.applied(), 2);
}

#[test]
fn what_is_no_command_is_passed_over_and_what_a_later_build_wrote_stops_the_machine() {
    let mut machine = Machine::new();
    assert!(matches!(
        machine.apply(1, b"\xff\xff"),
        Applied::Undecodable(_)
    ));
    assert!(matches!(machine.apply(2, b""), Applied::Undecodable(_)));
    let later = Command {
        level: LEVEL + 1,
        ..command("a", 1, put(1))
    };
    assert_eq!(
        machine.apply(3, &later.encode()),
        Applied::UnknownLevel { level: LEVEL + 1 }
    );
    assert_eq!((machine.applied(), machine.revision()), (2, Revision(0)));
}

#[test]
fn a_body_that_cannot_be_read_is_refused_under_its_key() {
    let mut machine = Machine::new();
    let mut nested = json!(1);
    for _ in 0..200 {
        nested = json!({ "health": nested });
    }
    let deep = Transaction::of(Operation::patch("/pools/web".parse().unwrap(), nested));
    let outcome = apply(&mut machine, &command("a", 1, deep.clone()));
    assert!(
        matches!(outcome, Outcome::Rejected(Rejection::Invalid(_))),
        "{outcome:?}"
    );
    assert_eq!(apply(&mut machine, &command("a", 1, deep)), outcome);
    assert_eq!(machine.applied(), 2);
}

#[test]
fn history_tells_who_when_why_and_what_and_is_a_chain() {
    let mut machine = Machine::new();
    apply(&mut machine, &command("a", 10, put(1)));
    apply(&mut machine, &command("b", 5, put(2)));
    let entries: Vec<_> = machine.history().newest_first().cloned().collect();
    assert_eq!(
        (entries[0].revision, entries[0].stamp),
        (Revision(2), Stamp(10)),
        "time does not go back"
    );
    assert_eq!(
        (entries[0].author.as_str(), entries[0].comment.as_str()),
        ("ann", "because of b")
    );
    let change = &entries[0].changes()[0];
    assert_eq!(change.path, "/pools/web/backends/b");
    assert_eq!(
        (
            &change.before.as_ref().unwrap()["weight"],
            &change.after.as_ref().unwrap()["weight"]
        ),
        (&json!(1), &json!(2))
    );

    let mut chained = [0; 32];
    for entry in entries.iter().rev() {
        let record = json!({
            "revision": entry.revision, "stamp": entry.stamp.0, "author": entry.author, "comment": entry.comment,
            "changes": entry.changes(),
        });
        chained = Sha256::new()
            .chain_update(chained)
            .chain_update(record.to_string())
            .finalize()
            .into();
        assert_eq!(entry.digest, chained);
    }
    assert_eq!(machine.history().digest(), chained);
}

#[test]
fn the_key_of_sticky_cookies_comes_with_the_first_change_and_stays() {
    let mut machine = Machine::new();
    let mut keyed = |key: &str, transaction, byte| {
        let mut command = command(key, 1, transaction);
        command.sticky_key = Some(StickyKey([byte; 32]));
        apply(&mut machine, &command);
        let read = restore(&checkpoint(&machine)).unwrap();
        assert_eq!(read.config().sticky_key, machine.config().sticky_key);
        machine.config().sticky_key
    };
    let nothing = Transaction { operations: vec![] };
    assert_eq!(
        keyed("a", nothing, 1),
        None,
        "what changes nothing brings none"
    );
    assert_eq!(keyed("b", put(1), 2), Some(StickyKey([2; 32])));
    assert_eq!(keyed("c", put(2), 3), Some(StickyKey([2; 32])));
    let shown = format!("{:?} {}", machine.config(), machine.config().to_json());
    assert!(!shown.contains("2, 2, 2"), "{shown}");
}

#[test]
fn history_is_bounded_and_says_what_it_dropped() {
    let mut machine = Machine::new();
    let last = limits::REVISIONS as u64 + 5;
    for slot in 1..=last {
        let mut command = command(&format!("{slot}"), slot, put((slot % 2) as u16 + 1));
        if slot == last {
            command.comment = "ä".repeat(limits::COMMENT_BYTES);
        }
        apply(&mut machine, &command);
    }
    let history = machine.history();
    assert_eq!(history.newest_first().len(), limits::REVISIONS);
    assert_eq!(
        history.newest_first().next().unwrap().comment.len(),
        limits::COMMENT_BYTES
    );
    assert_eq!(history.entry(Revision(5)), At::Compacted);
    assert_eq!(history.diff(Revision(5)), At::Compacted);
    assert!(matches!(history.entry(Revision(6)), At::Found(_)));
    assert_eq!(history.entry(Revision(last + 1)), At::Unknown);
    assert_eq!(history.config_at(Revision(4)), At::Compacted);
    let At::Found(oldest) = history.config_at(Revision(5)) else {
        panic!("all later changes are kept")
    };
    assert_eq!(
        oldest.pools.values().next().unwrap().spec.backends[0].weight,
        2
    );
    assert_eq!(history.config_at(Revision(last + 1)), At::Unknown);
}

proptest! {
    #[test]
    fn machines_fed_the_same_log_agree_and_history_gives_every_config_back(
        log in vec((0u8..20, 0u64..1_000, transaction()), 1..20),
    ) {
        let (mut one, mut two) = (Machine::new(), Machine::new());
        let mut configs = vec![one.config().clone()];
        for (key, stamp, transaction) in log {
            let command = command(&format!("k{key}"), stamp, transaction);
            let before = one.config().clone();
            let outcome = apply(&mut one, &command);
            prop_assert_eq!(Outcome::decode(&outcome.encode()), Ok(outcome.clone()));
            prop_assert_eq!(Command::decode(&command.encode()), Ok(command.clone()));
            let made = matches!(outcome, Outcome::Done { changed: true, revision, .. } if revision.0 == one.applied());
            prop_assert_eq!(made, *one.config() != before, "all of it or nothing");
            configs.push(one.config().clone());
            prop_assert_eq!(apply(&mut two, &command).encode(), one_outcome_again(&one, &command).encode());
            prop_assert_eq!(one.digest(), two.digest());
        }
        for (slot, config) in configs.iter().enumerate() {
            let revision = Revision(slot as u64);
            match one.history().config_at(revision) {
                At::Found(found) => {
                    prop_assert!(found.same_content(config));
                    prop_assert_eq!(found.revision, config.revision);
                }
                At::Unknown => prop_assert!(revision > one.revision()),
                At::Compacted => prop_assert!(false, "nothing is dropped yet"),
            }
        }
    }

    #[test]
    fn no_bytes_make_the_machine_panic(bytes in vec(any::<u8>(), 0..200)) {
        let mut machine = Machine::new();
        machine.apply(1, &bytes);
        let _ = Outcome::decode(&bytes);
    }

    #[test]
    fn no_body_makes_the_machine_panic(bodies in vec(json_value(), 1..6), stamp in any::<u64>(), damage in any::<(u16, u8)>()) {
        #[derive(Clone, PartialEq, Message)]
        struct Raw {
            #[prost(string, tag = "1")]
            key: String,
            #[prost(uint64, tag = "2")]
            stamp: u64,
            #[prost(bytes = "bytes", optional, tag = "6")]
            config: Option<Bytes>,
        }
        let mut machine = Machine::new();
        for (i, body) in bodies.into_iter().enumerate() {
            // As it is, as the value of an operation, and with a byte of it changed.
            let operation = json!([{"op": "patch", "path": "/config", "value": body}]);
            for json in [body.to_string(), operation.to_string()] {
                let raw = Raw { key: format!("k{i}{}", json.len()), stamp, config: Some(json.into()) };
                let mut bytes = raw.encode_to_vec();
                machine.apply(machine.applied() + 1, &bytes);
                let place = usize::from(damage.0) % bytes.len();
                bytes[place] = damage.1;
                if !matches!(machine.apply(machine.applied() + 1, &bytes), Applied::UnknownLevel { .. }) {
                    machine.digest();
                }
            }
        }
    }
}

/// What a retry of the last command would get.
fn one_outcome_again(machine: &Machine, command: &Command) -> Outcome {
    apply(&mut machine.clone(), command)
}

/// A machine that has been through this log.
fn after(log: &[(u8, u64, Transaction)]) -> Machine {
    let mut machine = Machine::new();
    machine.skip(1);
    for (key, stamp, transaction) in log {
        apply(
            &mut machine,
            &command(&format!("k{key}"), *stamp, transaction.clone()),
        );
    }
    machine
}

proptest! {
    #[test]
    fn a_checkpoint_and_the_tail_make_the_machine_that_the_whole_log_makes(
        log in vec((0u8..20, 0u64..1_000, transaction()), 0..20),
        tail in vec((0u8..25, 0u64..2_000, transaction()), 0..10),
    ) {
        let whole = after(&log);
        let restored = restore(&checkpoint(&whole));
        prop_assert!(restored.is_ok(), "{:?}", restored.err());
        let (mut whole, mut restored) = (whole, restored.unwrap());
        prop_assert_eq!(checkpoint(&restored), checkpoint(&whole), "the same bytes again");
        for (key, stamp, transaction) in tail {
            let command = command(&format!("k{key}"), stamp, transaction);
            prop_assert_eq!(apply(&mut restored, &command), apply(&mut whole, &command));
            prop_assert_eq!(restored.digest(), whole.digest());
        }
        prop_assert_eq!(restored.config(), whole.config());
        prop_assert_eq!(restored.history(), whole.history());
        prop_assert_eq!((restored.applied(), restored.now()), (whole.applied(), whole.now()));
    }

    #[test]
    fn damaged_bytes_of_a_checkpoint_are_refused(
        log in vec((0u8..20, 0u64..1_000, transaction()), 0..5),
        place in any::<prop::sample::Index>(),
        flip in 1u8..,
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = checkpoint(&after(&log)).to_vec();
        prop_assert!(restore(&bytes[..end.index(bytes.len())]).is_err(), "cut short");
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        prop_assert!(restore(&bytes).is_err());
    }

    #[test]
    fn no_bytes_make_reading_a_checkpoint_panic(content in vec(any::<u8>(), 0..300), log in vec((0u8..3, 0u64..10, transaction()), 0..3), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        // With the checksum made right, so that what is behind it is reached.
        let seal = |content: &[u8]| {
            let sum = crc32c::crc32c_append(crc32c::crc32c(&LEVEL.to_le_bytes()), content);
            [&b"synodchk"[..], &LEVEL.to_le_bytes(), &sum.to_le_bytes(), content].concat()
        };
        let _ = restore(&content);
        let _ = restore(&seal(&content));
        let mut real = checkpoint(&after(&log))[16..].to_vec();
        for (place, byte) in damage {
            let place = place.index(real.len());
            real[place] = byte;
        }
        let _ = restore(&seal(&real)).map(|machine| machine.digest());
    }
}

#[test]
fn a_checkpoint_of_a_later_build_is_told_from_a_damaged_one() {
    let mut bytes = checkpoint(&Machine::new()).to_vec();
    bytes[8..12].copy_from_slice(&(LEVEL + 1).to_le_bytes());
    assert!(matches!(restore(&bytes), Err(BadCheckpoint::Damaged(_))));
    let sum = crc32c::crc32c_append(crc32c::crc32c(&(LEVEL + 1).to_le_bytes()), &bytes[16..]);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(
        restore(&bytes).err(),
        Some(BadCheckpoint::UnknownLevel { level: LEVEL + 1 })
    );
}
