//! Reads and writes of registers against the log: no acknowledged write is lost, none is done twice or in spite of what
//! it expected, none that failed is done, and what was read was there.

use std::collections::BTreeMap;

use super::super::history::{Act, Expects, Found, Operation, Part, Register, Written};
use super::super::witness::{Entry, What};
use super::order::Place;

/// Each register's values, by the slot from which on.
struct Log<'a> {
    registers: BTreeMap<String, Vec<(u64, Option<u64>)>>,
    /// Where each write is, by its comment.
    writes: BTreeMap<&'a str, &'a Entry>,
}

/// Where each operation on registers has its place; what cannot have one is a fault.
pub(super) fn places<'a>(
    operations: &'a [Operation],
    log: &[Entry],
    faults: &mut Vec<String>,
) -> Vec<Place<'a>> {
    let mut log = Log::of(log, faults);
    let mut places = Vec::new();
    for operation in operations {
        let place = match &operation.act {
            Act::Write { parts, outcome } => log.write(operation, parts, *outcome),
            Act::Read(found) => log.read(operation, found).map(Some),
            Act::Lock { .. } => Ok(None),
        };
        match place {
            Ok(place) => places.extend(place),
            Err(why) => faults.push(format!("{operation}\n  {why}")),
        }
    }
    for comment in log.writes.keys().filter(|it| it.starts_with("op-")) {
        faults.push(format!("the log has {comment}, which nobody wrote"));
    }
    places
}

impl<'a> Log<'a> {
    fn of(log: &'a [Entry], faults: &mut Vec<String>) -> Self {
        let (mut registers, mut writes) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
        for entry in log {
            let What::Config { comment, weights } = &entry.what else {
                continue;
            };
            for (path, weight) in weights {
                let values = registers.entry(path.clone()).or_default();
                values.push((entry.slot, *weight));
            }
            let before = writes.insert(comment.as_str(), entry);
            if let Some(before) = before.filter(|_| comment.starts_with("op-")) {
                faults.push(format!(
                    "{comment} was done twice: {before:?} and {entry:?}"
                ));
            }
        }
        Self { registers, writes }
    }

    /// The register's values, oldest first.
    fn values(&self, register: &Register) -> &[(u64, Option<u64>)] {
        self.registers
            .get(&register.path())
            .map_or(&[], Vec::as_slice)
    }

    fn write<'o>(
        &mut self,
        operation: &'o Operation,
        parts: &[Part],
        outcome: Written,
    ) -> Result<Option<Place<'o>>, String> {
        let done = self.writes.remove(format!("op-{}", operation.id).as_str());
        let place = |from, until, writes| {
            Ok(Some(Place {
                operation,
                from,
                until,
                writes,
            }))
        };
        match (outcome, done) {
            (Written::At(revision), None) => {
                Err(format!("the write at revision {revision} is lost"))
            }
            (Written::At(revision), Some(entry)) if entry.slot != revision => {
                Err(format!("the log has it at another revision: {entry:?}"))
            }
            (Written::LostRace | Written::Nothing, Some(entry)) => {
                Err(format!("it was refused, and done: {entry:?}"))
            }
            (Written::At(_) | Written::Unknown, Some(entry)) => {
                self.is_as_asked(entry, parts)?;
                place(entry.slot, entry.slot + 1, true)
            }
            (Written::LostRace, None) => place(self.race(parts)?, u64::MAX, false),
            (Written::Nothing | Written::Unknown, None) => Ok(None),
        }
    }

    /// Whether the entry did what was asked, and the registers were as expected.
    fn is_as_asked(&self, entry: &Entry, parts: &[Part]) -> Result<(), String> {
        let What::Config { weights, .. } = &entry.what else {
            return Err(format!("{entry:?} writes no registers"));
        };
        if weights.len() != parts.len() {
            return Err(format!("{entry:?} is not what was asked"));
        }
        for part in parts {
            let written = (part.register.path(), Some(part.value));
            if !weights.contains(&written) {
                return Err(format!("{entry:?} is not what was asked"));
            }
            let values = self.values(&part.register);
            let before = values.iter().rev().find(|(slot, _)| *slot < entry.slot);
            let expected = match part.expects {
                Expects::Anything => true,
                Expects::Absence => before.is_none_or(|(_, value)| value.is_none()),
                Expects::Unchanged(at) => before == Some(&(at.revision, Some(at.value))),
            };
            if !expected {
                return Err(format!(
                    "it was done at {}, although {} was {before:?}",
                    entry.slot,
                    part.register.path()
                ));
            }
        }
        Ok(())
    }

    /// From when on a register was not as expected any more.
    fn race(&self, parts: &[Part]) -> Result<u64, String> {
        let changed = |part: &Part| {
            let mut values = self.values(&part.register).iter();
            match part.expects {
                Expects::Anything => None,
                Expects::Absence => values.next(),
                Expects::Unchanged(at) => values.find(|(slot, _)| *slot > at.revision),
            }
        };
        let changes = parts.iter().filter_map(changed).map(|(slot, _)| *slot);
        changes
            .min()
            .ok_or_else(|| "it was refused, although nothing had changed".to_owned())
    }

    fn read<'o>(
        &self,
        operation: &'o Operation,
        found: &[(Register, Option<Found>)],
    ) -> Result<Place<'o>, String> {
        let (mut from, mut until) = (0, u64::MAX);
        for (register, found) in found {
            let values = self.values(register);
            // Nobody deletes registers, so what is not there was never there.
            let index = match found {
                None => None,
                Some(found) => {
                    let is_it = |(slot, value): &(u64, Option<u64>)| {
                        *value == Some(found.value)
                            && found.revision.is_none_or(|revision| revision == *slot)
                    };
                    let index = values.iter().position(is_it);
                    Some(index.ok_or_else(|| format!("{found:?} never was"))?)
                }
            };
            from = from.max(index.map_or(0, |index| values[index].0));
            let next = index.map_or(0, |index| index + 1);
            until = until.min(values.get(next).map_or(u64::MAX, |(slot, _)| *slot));
        }
        if from >= until {
            return Err(format!(
                "it saw what slot {from} did, but not what {until} did"
            ));
        }
        Ok(Place {
            operation,
            from,
            until,
            writes: false,
        })
    }
}
