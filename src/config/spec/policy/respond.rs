//! Reads what a route answers by itself.

use serde_json::Value;

use super::error_pages::{read_body, read_content_type};
use super::header_edits::read_respond_headers;
use crate::config::fault::{Faults, Pointer};
use crate::config::policy::Respond;
use crate::config::spec::object::Object;

const RESPOND: &[&str] = &["status", "body", "content_type", "headers"];
const PLAIN: &str = "text/plain; charset=utf-8";

pub(super) fn read(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<Respond> {
    let object = Object::read(value, at, RESPOND, faults)?;
    let status = object.integer("status", 200..=599, 200, faults);
    let body = match object.get("body") {
        None => String::new(),
        Some(_) => read_body(&object, at, faults).unwrap_or_default(),
    };
    if matches!(status, 204 | 205 | 304) && !body.is_empty() {
        let detail = format!("must be left out: an answer with {status} has none");
        faults.add(&at.field("body"), detail);
    }
    Some(Respond {
        status: status.try_into().unwrap_or(200),
        body,
        content_type: read_content_type(&object, PLAIN, at, faults),
        headers: read_respond_headers(&object, &at.field("headers"), faults),
    })
}
