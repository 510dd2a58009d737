//! Reads what clients read when something fails.

use std::sync::Arc;

use crate::config::fault::{Faults, Pointer};
use crate::config::policy::ErrorPage;
use crate::config::spec::health::read_statuses;
use crate::config::spec::matches::is_header_value;
use crate::config::spec::object::{Object, shown};
use crate::config::{Statuses, limits};

const ERROR_PAGE: &[&str] = &["status", "body", "content_type"];
const ERRORS: Statuses = Statuses {
    first: 400,
    last: 599,
};
const HTML: &str = "text/html; charset=utf-8";

/// Those of the route `object`.
pub(super) fn read(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Arc<[ErrorPage]> {
    let mut pages = Vec::new();
    let list = object.list("error_pages", limits::ERROR_PAGES, faults);
    for (i, value) in list.iter().enumerate() {
        let place = at.index(i);
        let Some(object) = Object::read(value, &place, ERROR_PAGE, faults) else {
            continue;
        };
        pages.extend(read_page(&object, &place, faults));
    }
    pages.into()
}

fn read_page(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Option<ErrorPage> {
    let statuses = at.field("status");
    let status = read_statuses(object, ERRORS, &statuses, faults);
    if status.iter().any(|range| range.first < ERRORS.first) {
        faults.add(&statuses, "must be from 400 to 599");
    }
    let content_type = read_content_type(object, HTML, at, faults);
    Some(ErrorPage {
        status,
        body: read_body(object, at, faults)?,
        content_type,
    })
}

/// What kind of text the body is; `default` unless said.
pub(super) fn read_content_type(
    object: &Object<'_>,
    default: &str,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> String {
    let Some(value) = object.get("content_type") else {
        return default.to_owned();
    };
    let text = value.as_str().unwrap_or("");
    if text.is_empty() || !is_header_value(text) {
        let shown = shown(value);
        let detail = format!("must be a media type such as \"{default}\", not {shown}");
        faults.add(&at.field("content_type"), detail);
    }
    text.to_owned()
}

/// The text that clients read.
pub(super) fn read_body(
    object: &Object<'_>,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> Option<String> {
    let body = object.text("body", "a text", faults)?;
    if body.len() > limits::PAGE_BYTES {
        let most = limits::PAGE_BYTES;
        let detail = format!("must have at most {most} bytes, not {}", body.len());
        faults.add(&at.field("body"), detail);
    }
    Some(body.to_owned())
}
