//! Real time: what was over before another began has the earlier place in the log.

use std::time::Duration;

use super::super::history::Operation;

/// Where an operation can have taken effect: behind one slot, and before another.
pub(super) struct Place<'a> {
    pub(super) operation: &'a Operation,
    /// The first slot whose doing it saw or did.
    pub(super) from: u64,
    /// The first slot whose doing it did not see.
    pub(super) until: u64,
    /// What `from` did is its own doing, which nobody saw before.
    pub(super) writes: bool,
}

/// Gives each operation the earliest place that those before it leave.
pub(super) fn check(mut places: Vec<Place<'_>>, faults: &mut Vec<String>) {
    places.sort_by_key(|it| it.operation.call);
    // Of those that have a place, not yet known to be over.
    let mut pending: Vec<(Duration, u64, &Operation)> = Vec::new();
    let mut floor: (u64, Option<&Operation>) = (0, None);
    for place in places {
        let operation = place.operation;
        pending.retain(|(end, at, before)| {
            let over = *end < operation.call;
            if over && *at > floor.0 {
                floor = (*at, Some(before));
            }
            !over
        });
        let at = place.from.max(floor.0);
        if at >= place.until || (place.writes && floor.0 >= place.from) {
            let before = floor.1.map_or(String::new(), ToString::to_string);
            faults.push(format!(
                "{operation}\n  cannot be at slot {} to {}, behind slot {} of\n  {before}",
                place.from, place.until, floor.0
            ));
            continue;
        }
        if let Some(end) = operation.end {
            pending.push((end, at, operation));
        }
    }
}
