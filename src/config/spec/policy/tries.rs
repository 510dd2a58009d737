//! Reads how long and how often a route lets a request be tried.

use std::time::Duration;

use serde_json::Value;

use crate::config::fault::{Faults, Pointer};
use crate::config::spec::object::{Object, shown};
use crate::config::{RouteRetries, RouteTimeouts, limits};

const TIMEOUTS: &[&str] = &["try", "total"];
const RETRIES: &[&str] = &["any_method", "statuses"];

/// Reads the timeouts as far as they can be read.
pub(super) fn read_timeouts(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> RouteTimeouts {
    let Some(object) = Object::read(value, at, TIMEOUTS, faults) else {
        return RouteTimeouts::default();
    };
    let mut duration = |field| {
        object.get(field)?;
        Some(object.duration(field, Duration::MAX, faults))
    };
    let (one_try, total) = (duration("try"), duration("total"));
    if one_try
        .zip(total)
        .is_some_and(|(one, all)| one > all && one < Duration::MAX)
    {
        faults.add(&at.field("try"), "must not be longer than `total`");
    }
    RouteTimeouts { one_try, total }
}

/// Reads what is tried again, as far as it can be read.
pub(super) fn read_retries(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> RouteRetries {
    let Some(object) = Object::read(value, at, RETRIES, faults) else {
        return RouteRetries::default();
    };
    let any_method = object.boolean("any_method", faults).unwrap_or_default();
    let list = at.field("statuses");
    let mut statuses = Vec::new();
    let given = object.list("statuses", limits::STATUS_RANGES, faults);
    for (i, value) in given.iter().enumerate() {
        let status = value.as_u64().and_then(|number| u16::try_from(number).ok());
        match status {
            Some(status @ (429 | 500..=599)) if !statuses.contains(&status) => {
                statuses.push(status)
            }
            Some(429 | 500..=599) => faults.add(&list.index(i), "must be there once"),
            _ => {
                let detail = format!("must be 429 or from 500 to 599, not {}", shown(value));
                faults.add(&list.index(i), detail);
            }
        }
    }
    RouteRetries {
        any_method,
        statuses,
    }
}
