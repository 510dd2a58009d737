//! Statuses by class, as they are counted.

/// The label values of the five status classes.
pub(crate) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// A client that left without an answer, status 0, counts with the faults of clients.
pub(super) fn class(status: u16) -> usize {
    match status {
        0 => 3,
        _ => usize::from(status / 100).clamp(1, 5) - 1,
    }
}
