//! Reads a policy that routes share.

use serde_json::Value;

use super::read_common;
use crate::config::fault::{Faults, Pointer};
use crate::config::spec::object::Object;
use crate::config::{Name, SharedPolicy};

const POLICY: &[&str] = &[
    "name",
    "timeouts",
    "retries",
    "rate_limit",
    "headers",
    "clients",
    "cors",
    "max_body_bytes",
    "fault_injection",
    "mirror",
    "error_pages",
    "basic_auth",
    "compress",
    "forward_auth",
    "respond",
];

/// Reads a policy as far as it can be read; `None` if it has no name. Whether the pools it names are there is checked
/// on the whole config.
pub(in crate::config) fn read_policy(
    value: &Value,
    at: &Pointer<'_>,
    name: Option<&Name>,
    faults: &mut Faults,
) -> Option<SharedPolicy> {
    let object = Object::read(value, at, POLICY, faults)?;
    let name = object.own_name("name", name, faults);
    let policy = read_common(&object, at, faults);
    Some(SharedPolicy {
        name: name?,
        policy,
    })
}
