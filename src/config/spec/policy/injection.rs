//! Reads which faults are made on purpose.

use std::time::Duration;

use serde_json::Value;

use crate::config::fault::{Faults, Pointer};
use crate::config::friendly;
use crate::config::policy::{Abort, Delay, FaultInjection};
use crate::config::spec::object::Object;

const INJECTION: &[&str] = &["delay", "abort"];
const DELAY: &[&str] = &["percent", "for"];
const ABORT: &[&str] = &["percent", "status"];

pub(super) fn read(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<FaultInjection> {
    let object = Object::read(value, at, INJECTION, faults)?;
    let delay = object
        .get("delay")
        .and_then(|value| read_delay(value, &at.field("delay"), faults));
    let abort = object
        .get("abort")
        .and_then(|value| read_abort(value, &at.field("abort"), faults));
    if INJECTION.iter().all(|field| object.get(field).is_none()) {
        faults.add(at, "must have `delay`, `abort` or both");
    }
    Some(FaultInjection { delay, abort })
}

fn read_delay(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<Delay> {
    let object = Object::read(value, at, DELAY, faults)?;
    if object.get("for").is_none() {
        let detail = format!("is missing: {}", friendly::EXPECTED);
        faults.add(&at.field("for"), detail);
    }
    Some(Delay {
        percent: read_percent(&object, faults),
        time: object.duration("for", Duration::ZERO, faults),
    })
}

fn read_abort(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<Abort> {
    let object = Object::read(value, at, ABORT, faults)?;
    let status = object.integer("status", 400..=599, 503, faults);
    Some(Abort {
        percent: read_percent(&object, faults),
        status: status.try_into().unwrap_or(503),
    })
}

/// Of how many requests in a hundred; all unless said.
pub(super) fn read_percent(object: &Object<'_>, faults: &mut Faults) -> u32 {
    let percent = object.integer("percent", 0..=100, 100, faults);
    percent.try_into().unwrap_or(100)
}
