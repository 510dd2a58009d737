//! The judges of a history. The log is the witness: each operation is given its place there, results must be those of
//! that place, and whatever was over before another began has the earlier one. An independent search, which knows
//! nothing of the log, must find an order of its own.

mod beliefs;
mod locks;
mod order;
mod registers;
mod search;
mod tests;

use super::history::Operation;
use super::lockers::Belief;
use super::witness::Entry;

/// All that is wrong with a history.
pub(super) fn faults(operations: &[Operation], log: &[Entry], beliefs: &[Belief]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut placed = registers::places(operations, log, &mut faults);
    placed.extend(locks::places(operations, log, &mut faults));
    order::check(placed, &mut faults);
    search::check(operations, &mut faults);
    beliefs::check(beliefs, &mut faults);
    faults
}
