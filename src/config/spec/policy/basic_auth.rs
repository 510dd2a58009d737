//! Reads who may use a route by name and password.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::config::fault::{Faults, Pointer};
use crate::config::limits;
use crate::config::policy::{BasicAuth, Hash, User};
use crate::config::spec::object::{Object, shown};

const BASIC_AUTH: &[&str] = &["realm", "users"];
const USER: &[&str] = &["name", "password_sha256"];
const REALM: &str = "restricted";

pub(super) fn read(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<BasicAuth> {
    let object = Object::read(value, at, BASIC_AUTH, faults)?;
    let realm = match object.get("realm") {
        None => REALM.to_owned(),
        Some(value) => {
            let text = value.as_str().unwrap_or("");
            let fits = |byte: u8| (b' '..=b'~').contains(&byte) && !b"\"\\".contains(&byte);
            if !(1..=limits::KEY_NAME_BYTES).contains(&text.len()) || !text.bytes().all(fits) {
                let expected = "must be ASCII without quotes and backslashes, up to 256 bytes";
                faults.add(
                    &at.field("realm"),
                    format!("{expected}, not {}", shown(value)),
                );
            }
            text.to_owned()
        }
    };
    let list = at.field("users");
    let elements = object.list("users", limits::USERS, faults);
    if elements.is_empty() {
        faults.add(&list, "must name one user at least");
    }
    let mut names = BTreeSet::new();
    let mut users = Vec::new();
    for (i, value) in elements.iter().enumerate() {
        let place = list.index(i);
        let Some(user) = read_user(value, &place, faults) else {
            continue;
        };
        if !names.insert(user.name.clone()) {
            faults.add(&place.field("name"), "must be there once");
        }
        users.push(user);
    }
    Some(BasicAuth { realm, users })
}

fn read_user(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<User> {
    let object = Object::read(value, at, USER, faults)?;
    let name = object.text("name", "a user's name", faults);
    let fits = |name: &&str| {
        let plain = !name.contains(|c: char| c == ':' || c.is_control());
        plain && (1..=limits::KEY_NAME_BYTES).contains(&name.len())
    };
    if let Some(name) = name.filter(|name| !fits(name)) {
        let expected = "must be a name without colons, up to 256 bytes";
        let shown = shown(&Value::from(name));
        faults.add(&at.field("name"), format!("{expected}, not {shown}"));
    }
    let expected = "the SHA-256 of the password, 64 hexadecimal digits";
    let text = object.text("password_sha256", expected, faults)?;
    let hash = Hash::parse(text);
    if hash.is_none() {
        // Whatever it is, it may be a password.
        let detail = format!("must be {expected}; in answers it is redacted");
        faults.add(&at.field("password_sha256"), detail);
    }
    Some(User {
        name: name?.to_owned(),
        password_sha256: hash?,
    })
}
