//! Reads by which cookie a pool keeps clients.

use std::time::Duration;

use serde_json::Value;

use super::matches::is_token;
use super::object::{Object, shown};
use crate::config::fault::{Faults, Pointer};
use crate::config::{Name, SameSite, Sticky, limits};

const STICKY: &[&str] = &["cookie", "same_site", "max_age"];
const SAME_SITES: [(&str, SameSite); 3] = [
    ("lax", SameSite::Lax),
    ("strict", SameSite::Strict),
    ("none", SameSite::None),
];

/// Reads it, for the pool of that name.
pub(super) fn read_sticky(
    value: &Value,
    pool: Option<&Name>,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> Option<Sticky> {
    let object = Object::read(value, at, STICKY, faults)?;
    let cookie = match object.get("cookie") {
        None => format!("synod-{}", pool.map_or("", Name::as_str)),
        Some(value) => {
            let text = value.as_str().unwrap_or("");
            let fits = (1..=limits::KEY_NAME_BYTES).contains(&text.len());
            if !fits || !text.bytes().all(is_token) {
                let expected = "must be the name of a cookie, up to 256 bytes";
                let detail = format!("{expected}, not {}", shown(value));
                faults.add(&at.field("cookie"), detail);
            }
            text.to_owned()
        }
    };
    let max_age = object.get("max_age");
    Some(Sticky {
        cookie,
        same_site: object.choice("same_site", &SAME_SITES, faults),
        max_age: max_age.map(|_| object.duration("max_age", Duration::ZERO, faults)),
    })
}
