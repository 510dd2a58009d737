//! Reads where copies of requests go.

use serde_json::Value;

use super::injection::read_percent;
use crate::config::fault::{Faults, Pointer};
use crate::config::policy::Mirror;
use crate::config::spec::object::Object;

const MIRROR: &[&str] = &["pool", "percent"];

pub(super) fn read(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<Mirror> {
    let object = Object::read(value, at, MIRROR, faults)?;
    let pool = object.name("pool", faults);
    let percent = read_percent(&object, faults);
    Some(Mirror {
        pool: pool?,
        percent,
    })
}
