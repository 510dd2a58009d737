//! Locks against the log: tokens rise, nobody is granted what another holds, and clients were told what happened.

use std::collections::BTreeMap;

use super::super::history::{Act, Operation, Step};
use super::super::witness::{Entry, LockEvent, What};
use super::order::Place;

/// What the log says of one token.
#[derive(Clone, Debug)]
struct Grant {
    session: u64,
    token: u64,
    released: Option<u64>,
}

/// Where each operation on locks has its place; what cannot have one is a fault.
pub(super) fn places<'a>(
    operations: &'a [Operation],
    log: &[Entry],
    faults: &mut Vec<String>,
) -> Vec<Place<'a>> {
    let grants = replay(log, faults);
    let mut places = Vec::new();
    for operation in operations {
        let Act::Lock {
            lock,
            session,
            step,
        } = &operation.act
        else {
            continue;
        };
        match place(&grants, lock, *session, *step) {
            Ok((from, until, writes)) => places.push(Place {
                operation,
                from,
                until,
                writes,
            }),
            Err(why) => faults.push(format!("{operation}\n  {why}")),
        }
    }
    places
}

/// All grants, by lock, oldest first.
fn replay(log: &[Entry], faults: &mut Vec<String>) -> BTreeMap<String, Vec<Grant>> {
    let mut grants: BTreeMap<String, Vec<Grant>> = BTreeMap::new();
    for entry in log {
        let What::Locks(events) = &entry.what else {
            continue;
        };
        for event in events {
            match event {
                LockEvent::Granted {
                    lock,
                    session,
                    token,
                } => {
                    let grants = grants.entry(lock.clone()).or_default();
                    let holder = grants.iter().find(|it| it.released.is_none());
                    if let Some(holder) = holder {
                        faults.push(format!("{entry:?} grants {lock}, which {holder:?} is of"));
                    }
                    let newest = grants.last().map_or(0, |it| it.token);
                    if *token <= newest || *token != entry.slot {
                        faults.push(format!(
                            "{entry:?} has a token that is not newer than {newest}"
                        ));
                    }
                    grants.push(Grant {
                        session: *session,
                        token: *token,
                        released: None,
                    });
                }
                LockEvent::Released {
                    lock,
                    session,
                    token,
                } => {
                    let grants = grants.entry(lock.clone()).or_default();
                    let held = |it: &&mut Grant| {
                        it.token == *token && it.session == *session && it.released.is_none()
                    };
                    match grants.iter_mut().find(held) {
                        Some(grant) => grant.released = Some(entry.slot),
                        None => faults.push(format!("{entry:?} releases what is not held")),
                    }
                }
            }
        }
    }
    grants
}

/// The slots between which it was, and whether the first is its own doing.
fn place(
    grants: &BTreeMap<String, Vec<Grant>>,
    lock: &str,
    session: u64,
    step: Step,
) -> Result<(u64, u64, bool), String> {
    let (Step::Granted(token) | Step::Released { token } | Step::Checked { token, .. }) = step;
    let grants = grants.get(lock).into_iter().flatten();
    let grant = grants
        .clone()
        .find(|it| it.token == token && it.session == session)
        .ok_or("the log has no such grant")?;
    let released = grant.released.unwrap_or(u64::MAX);
    match step {
        Step::Granted(_) => Ok((token, token + 1, true)),
        Step::Released { .. } if grant.released.is_none() => {
            Err("the log does not have the release".to_owned())
        }
        Step::Released { .. } => Ok((released, released + 1, true)),
        Step::Checked { held: true, .. } => Ok((token, released, false)),
        Step::Checked { held: false, .. } => Ok((released, u64::MAX, false)),
    }
}
