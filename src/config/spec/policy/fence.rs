//! Reads what a route demands of the holder of a lock.

use crate::config::fault::{Faults, Pointer};
use crate::config::spec::matches::is_token;
use crate::config::spec::object::{Object, shown};
use crate::config::{Fence, limits};

const FENCE: &[&str] = &["lock", "header"];
/// The header, unless another is named.
const HEADER: &str = "synod-lock-token";

/// The fence of a route, if it has one.
pub(super) fn read(route: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Option<Fence> {
    let object = Object::read(route.get("fence")?, at, FENCE, faults)?;
    let lock = object.name("lock", faults);
    let header = match object.get("header") {
        None => HEADER.to_owned(),
        Some(value) => {
            let text = value.as_str().unwrap_or("");
            let fits = (1..=limits::KEY_NAME_BYTES).contains(&text.len());
            if !fits || !text.bytes().all(is_token) {
                let expected = "must be the name of a header, up to 256 bytes";
                let detail = format!("{expected}, not {}", shown(value));
                faults.add(&at.field("header"), detail);
            }
            text.to_ascii_lowercase()
        }
    };
    let lock = lock?;
    Some(Fence { lock, header })
}
