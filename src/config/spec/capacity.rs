//! Reads how much a pool takes at a time.

use serde_json::Value;

use super::object::Object;
use crate::config::fault::{Faults, Pointer};
use crate::config::{Capacity, limits};

const CAPACITY: &[&str] = &[
    "requests",
    "requests_per_backend",
    "connections",
    "queue",
    "queue_timeout",
];

/// Reads it as far as it can be read.
pub(super) fn read_capacity(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Capacity {
    let default = Capacity::default();
    let Some(object) = Object::read(value, at, CAPACITY, faults) else {
        return default;
    };
    let most = limits::IN_FLIGHT.into();
    let mut limit = |field| {
        object.get(field)?;
        u32::try_from(object.integer(field, 1..=most, 1, faults)).ok()
    };
    let requests = limit("requests");
    let requests_per_backend = limit("requests_per_backend");
    let connections = limit("connections");
    if requests.or(requests_per_backend).or(connections).is_none() {
        let detail =
            "must have one of `requests`, `requests_per_backend` and `connections` at least";
        faults.add(at, detail);
    }
    let queue = object.integer(
        "queue",
        0..=limits::QUEUE.into(),
        default.queue.into(),
        faults,
    );
    Capacity {
        requests,
        requests_per_backend,
        connections,
        queue: queue.try_into().unwrap_or(default.queue),
        queue_timeout: object.duration("queue_timeout", default.queue_timeout, faults),
    }
}
