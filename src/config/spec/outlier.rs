//! Reads when a pool ejects backends.

use serde_json::Value;

use super::object::Object;
use crate::config::fault::{Faults, Pointer};
use crate::config::{Outlier, limits};

const OUTLIER: &[&str] = &[
    "consecutive_failures",
    "failure_percent",
    "min_requests",
    "interval",
    "ejection_time",
    "max_ejection_time",
    "max_percent",
    "panic_percent",
];

/// Reads it as far as it can be read.
pub(super) fn read_outlier(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Outlier {
    let default = Outlier::default();
    let Some(object) = Object::read(value, at, OUTLIER, faults) else {
        return default;
    };
    let interval = object.duration("interval", default.interval, faults);
    if interval < limits::SHORTEST_INTERVAL {
        faults.add(&at.field("interval"), "must be 100ms at least");
    }
    let ejection_time = object.duration("ejection_time", default.ejection_time, faults);
    let longest = default.max_ejection_time.max(ejection_time);
    let max_ejection_time = object.duration("max_ejection_time", longest, faults);
    if max_ejection_time < ejection_time {
        let detail = "must not be shorter than `ejection_time`";
        faults.add(&at.field("max_ejection_time"), detail);
    }
    let mut integer = |field, least: u32, most: u32, default: u32| {
        let number = object.integer(field, least.into()..=most.into(), default.into(), faults);
        u32::try_from(number).unwrap_or(default)
    };
    let most = limits::OUTLIER_REQUESTS;
    Outlier {
        consecutive_failures: integer(
            "consecutive_failures",
            0,
            most,
            default.consecutive_failures,
        ),
        failure_percent: integer("failure_percent", 0, 100, default.failure_percent),
        min_requests: integer("min_requests", 1, most, default.min_requests),
        interval,
        ejection_time,
        max_ejection_time,
        max_percent: integer("max_percent", 0, 100, default.max_percent),
        panic_percent: integer("panic_percent", 0, 100, default.panic_percent),
    }
}
