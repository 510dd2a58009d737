//! Linearizability without the log: a published search (Wing and Gong, Lowe) looks for any order of a group's
//! operations that explains what was seen. It knows values only, no revision and no slot.

use std::collections::{BTreeMap, BTreeSet};

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::Action::{Call, Response};
use todc_utils::linearizability::history::History;
use todc_utils::specifications::Specification;

use super::super::clients::REGISTERS;
use super::super::history::{Act, Expects, Operation, Part, Register, Written};

/// The registers of a group.
struct Group;

impl Specification for Group {
    type State = BTreeMap<Register, u64>;
    type Operation = Act;

    fn init() -> Self::State {
        BTreeMap::new()
    }

    fn apply(operation: &Act, state: &Self::State) -> (bool, Self::State) {
        let holds = |part: &Part| match part.expects {
            Expects::Anything => true,
            Expects::Absence => !state.contains_key(&part.register),
            Expects::Unchanged(at) => state.get(&part.register) == Some(&at.value),
        };
        match operation {
            Act::Read(found) => {
                let as_seen = |(register, found): &(Register, Option<_>)| {
                    let found: &Option<super::super::history::Found> = found;
                    state.get(register).copied() == found.map(|found| found.value)
                };
                (found.iter().all(as_seen), state.clone())
            }
            Act::Write { parts, outcome } => {
                let takes = parts.iter().all(holds);
                let mut after = state.clone();
                if takes && *outcome != Written::LostRace {
                    let written = parts.iter().map(|it| (it.register.clone(), it.value));
                    after.extend(written);
                }
                let explained = match outcome {
                    Written::At(_) => takes,
                    Written::LostRace => !takes,
                    // If it never took effect, that is as if it came last, or too late for what it expected.
                    Written::Unknown | Written::Nothing => true,
                };
                (explained, after)
            }
            Act::Lock { .. } => (true, state.clone()),
        }
    }
}

/// Searches an order for each group of registers.
pub(super) fn check(operations: &[Operation], faults: &mut Vec<String>) {
    let mut groups: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        if let Some(group) = group(&operation.act) {
            groups.entry(group).or_default().push(operation);
        }
    }
    for (group, operations) in groups {
        if !WGLChecker::<Group>::is_linearizable(history(&operations)) {
            let all: Vec<String> = operations.iter().map(ToString::to_string).collect();
            faults.push(format!(
                "no order explains {group}:\n  {}",
                all.join("\n  ")
            ));
        }
    }
}

/// The group of an operation that can have been seen by others.
fn group(act: &Act) -> Option<&str> {
    let registers: BTreeSet<&Register> = match act {
        Act::Write {
            outcome: Written::Nothing,
            ..
        }
        | Act::Lock { .. } => return None,
        Act::Write { parts, .. } => parts.iter().map(|it| &it.register).collect(),
        Act::Read(found) => found.iter().map(|(register, _)| register).collect(),
    };
    let first = registers.first().filter(|it| it.pool == REGISTERS)?;
    first.id.split('-').next()
}

/// Calls and returns in the order of their times; what is unknown returns at the end.
fn history(operations: &[&Operation]) -> History<Act> {
    let mut actions = Vec::new();
    for (process, operation) in operations.iter().enumerate() {
        let act = operation.act.clone();
        actions.push(((Some(operation.call), 0), (process, Call(act.clone()))));
        let end = operation.end;
        actions.push(((end, 1), (process, Response(act))));
    }
    // At equal times calls come first: then neither was over before the other began.
    actions.sort_by_key(|((time, kind), _)| (time.is_none(), *time, *kind));
    History::from_actions(actions.into_iter().map(|(_, action)| action).collect())
}
