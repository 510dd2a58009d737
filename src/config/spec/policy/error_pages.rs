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
    let content_type = match object.get("content_type") {
        None => HTML.to_owned(),
        Some(value) => {
            let text = value.as_str().unwrap_or("");
            if text.is_empty() || !is_header_value(text) {
                let detail = format!(
                    "must be a media type such as \"{HTML}\", not {}",
                    shown(value)
                );
                faults.add(&at.field("content_type"), detail);
            }
            text.to_owned()
        }
    };
    let body = object.text("body", "a text", faults)?;
    if body.len() > limits::ERROR_PAGE_BYTES {
        let most = limits::ERROR_PAGE_BYTES;
        let detail = format!("must have at most {most} bytes, not {}", body.len());
        faults.add(&at.field("body"), detail);
    }
    Some(ErrorPage {
        status,
        body: body.to_owned(),
        content_type,
    })
}
