//! Reads the rate that a route takes.

use std::time::Duration;

use serde_json::Value;

use crate::config::fault::{Faults, Pointer};
use crate::config::spec::balance::read_hash;
use crate::config::spec::object::Object;
use crate::config::{RateLimit, limits};

const RATE: &[&str] = &["requests", "per", "burst", "by"];

/// Reads it as far as it can be read; `None` if it is no object.
pub(super) fn read(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<RateLimit> {
    let object = Object::read(value, at, RATE, faults)?;
    let most = u64::from(limits::RATE);
    if object.get("requests").is_none() {
        let expected = format!("is missing: must be an integer from 1 to {most}");
        faults.add(&at.field("requests"), expected);
    }
    let requests = object.integer("requests", 1..=most, 1, faults);
    let burst = object.integer("burst", 1..=most, requests, faults);
    let per = object.duration("per", Duration::from_secs(1), faults);
    if u128::from(requests) > per.as_micros() {
        faults.add(at, "must be at most one request in a microsecond");
    }
    let whole = per.as_micros() * u128::from(burst) / u128::from(requests);
    if whole > limits::LONGEST_BURST.as_micros() {
        let detail = "must be so few that the rate brings them back within 30 days";
        faults.add(&at.field("burst"), detail);
    }
    let by = object.get("by");
    let by = by.and_then(|value| read_hash(value, &at.field("by"), faults));
    Some(RateLimit {
        requests: requests.try_into().unwrap_or(limits::RATE),
        burst: burst.try_into().unwrap_or(limits::RATE),
        per,
        by,
    })
}
