//! Reads which service says who may use a route.

use std::time::Duration;

use serde_json::Value;

use super::header_edits::is_framing;
use crate::config::fault::{Faults, Pointer};
use crate::config::limits;
use crate::config::policy::ForwardAuth;
use crate::config::spec::health::check_path;
use crate::config::spec::matches::is_header_name;
use crate::config::spec::object::{Object, shown};

const FORWARD_AUTH: &[&str] = &["pool", "path", "answer_headers", "timeout"];

pub(super) fn read(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<ForwardAuth> {
    let object = Object::read(value, at, FORWARD_AUTH, faults)?;
    let pool = object.name("pool", faults);
    let path = match object.get("path") {
        None => "/",
        Some(_) => {
            let path = object.text("path", "a path, such as \"/verify\"", faults);
            if let Some(path) = path {
                check_path(path, &at.field("path"), faults);
            }
            path.unwrap_or("/")
        }
    };
    let list = at.field("answer_headers");
    let mut answer_headers = Vec::new();
    let names = object.list("answer_headers", limits::EDITS, faults);
    for (i, value) in names.iter().enumerate() {
        match value.as_str() {
            Some(name) if is_header_name(name) && !is_framing(name) => {
                answer_headers.push(name.to_owned());
            }
            _ => {
                let expected = "must be the name of a header that is not for one hop only";
                faults.add(&list.index(i), format!("{expected}, not {}", shown(value)));
            }
        }
    }
    Some(ForwardAuth {
        path: path.to_owned(),
        answer_headers,
        timeout: object.duration("timeout", Duration::from_secs(5), faults),
        pool: pool?,
    })
}
