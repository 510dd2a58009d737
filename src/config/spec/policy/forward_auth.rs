//! Reads which service says who may use a route.

use std::time::Duration;

use serde_json::Value;

use super::header_edits::read_answer_headers;
use crate::config::fault::{Faults, Pointer};
use crate::config::policy::ForwardAuth;
use crate::config::spec::health::check_path;
use crate::config::spec::object::Object;

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
    Some(ForwardAuth {
        path: path.to_owned(),
        answer_headers: read_answer_headers(&object, at, faults),
        timeout: object.duration("timeout", Duration::from_secs(5), faults),
        pool: pool?,
    })
}
