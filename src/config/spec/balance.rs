//! Reads how a pool picks: the policy, and what belongs to one policy alone.

use serde_json::Value;

use super::object::{Object, shown};
use crate::config::fault::{Faults, Pointer};
use crate::config::{Balance, HashOn, limits};

const HASH: &[&str] = &["header", "cookie", "query"];
const EXPECTED: &str =
    "must be \"address\", \"path\", {\"header\": NAME}, {\"cookie\": NAME} or {\"query\": NAME}";

/// The policy; and, if it is `maglev`, what it hashes and whether load is bounded.
pub(super) fn read_balance(
    object: &Object<'_>,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> (Balance, Option<HashOn>, Option<bool>) {
    let words = Balance::ALL.map(|balance| (balance.name(), balance));
    let balance = object.choice("balance", &words, faults);
    let hash = object
        .get("hash")
        .and_then(|value| read_hash(value, &at.field("hash"), faults));
    let bounded = object.boolean("bounded_load", faults);
    if balance == Balance::Maglev {
        return (
            balance,
            Some(hash.unwrap_or_default()),
            Some(bounded.unwrap_or(false)),
        );
    }
    for field in ["hash", "bounded_load"] {
        if object.get(field).is_some() {
            let detail = format!(
                "is of `maglev` alone, not of `{}`: leave it out (null in a patch)",
                balance.name()
            );
            faults.add(&at.field(field), detail);
        }
    }
    (balance, None, None)
}

pub(super) fn read_hash(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<HashOn> {
    match value.as_str() {
        Some("address") => return Some(HashOn::Address),
        Some("path") => return Some(HashOn::Path),
        Some(_) => {
            faults.add(at, format!("{EXPECTED}, not {}", shown(value)));
            return None;
        }
        None => {}
    }
    let object = Object::read(value, at, HASH, faults)?;
    let given = HASH.iter().filter(|key| object.get(key).is_some());
    let [key] = given.collect::<Vec<_>>()[..] else {
        faults.add(at, EXPECTED);
        return None;
    };
    let name = object.text(key, "a name", faults)?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    // A parameter is compared as it is written, so whatever may stand in a query but what ends its name.
    let fits = |byte: u8| match *key {
        "query" => byte.is_ascii_graphic() && !b"&=#".contains(&byte),
        _ => token(byte),
    };
    if name.is_empty() || name.len() > limits::KEY_NAME_BYTES || !name.bytes().all(fits) {
        let most = limits::KEY_NAME_BYTES;
        let detail = format!(
            "must be the name of a {key}, up to {most} bytes, not {}",
            shown(&Value::from(name))
        );
        faults.add(&at.field(key), detail);
    }
    Some(match *key {
        "header" => HashOn::Header(name.to_ascii_lowercase()),
        "cookie" => HashOn::Cookie(name.to_owned()),
        _ => HashOn::Query(name.to_owned()),
    })
}
