//! Reads where clients are sent.

use serde_json::Value;

use super::rewrite::{read_host, read_path};
use crate::config::PathMatch;
use crate::config::fault::{Faults, Pointer};
use crate::config::policy::{Redirect, Scheme};
use crate::config::spec::object::{Object, shown};

const REDIRECT: &[&str] = &["status", "scheme", "host", "port", "path"];
const STATUSES: [u64; 5] = [301, 302, 303, 307, 308];
const SCHEMES: [(&str, Scheme); 2] = [("http", Scheme::Http), ("https", Scheme::Https)];

pub(super) fn read(
    value: &Value,
    matched: &PathMatch,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> Option<Redirect> {
    let object = Object::read(value, at, REDIRECT, faults)?;
    let status = object.get("status").map_or(302, |value| {
        let known = value.as_u64().filter(|status| STATUSES.contains(status));
        if known.is_none() {
            let detail = format!("must be 301, 302, 303, 307 or 308, not {}", shown(value));
            faults.add(&at.field("status"), detail);
        }
        known.unwrap_or(302)
    });
    let scheme = object
        .get("scheme")
        .map(|_| object.choice("scheme", &SCHEMES, faults));
    let port = object
        .get("port")
        .map(|_| object.integer("port", 1..=65_535, 1, faults));
    let host = read_host(&object, false, at, faults);
    let path = read_path(&object, matched, at, faults);
    if REDIRECT[1..]
        .iter()
        .all(|field| object.get(field).is_none())
    {
        faults.add(
            at,
            "must have one at least of `scheme`, `host`, `port` and `path`",
        );
    }
    Some(Redirect {
        status: status.try_into().unwrap_or(302),
        scheme,
        host,
        port: port.and_then(|port| port.try_into().ok()),
        path,
    })
}
