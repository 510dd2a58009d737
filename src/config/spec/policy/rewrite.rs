//! Reads what backends are asked for instead.

use serde_json::Value;

use crate::config::fault::{Faults, Pointer};
use crate::config::policy::{NewPath, Rewrite};
use crate::config::spec::matches::wrong_with_path;
use crate::config::spec::object::{Object, shown};
use crate::config::{HostPattern, PathMatch, Pattern, limits};

const REWRITE: &[&str] = &["host", "path"];
const PATH: &[&str] = &["full", "prefix", "regex", "to"];

pub(super) fn read(
    value: &Value,
    matched: &PathMatch,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> Option<Rewrite> {
    let object = Object::read(value, at, REWRITE, faults)?;
    let host = read_host(&object, true, at, faults);
    let path = read_path(&object, matched, at, faults);
    if object.get("host").is_none() && object.get("path").is_none() {
        faults.add(at, "must have `host`, `path` or both");
    }
    Some(Rewrite { host, path })
}

/// The field `host`: a host alone, or with a port where there may be one.
pub(super) fn read_host(
    object: &Object<'_>,
    with_port: bool,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> Option<String> {
    object.get("host")?;
    let text = object.text("host", "a host such as \"shop.example\"", faults)?;
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if with_port && !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let known = HostPattern::parse(host);
    let wrong = match &known {
        Ok(HostPattern::Wildcard(_)) => Some("must be one host, without `*`"),
        Ok(HostPattern::Exact(_)) if port.is_some_and(|port| !is_port(port)) => {
            Some("must have a port from 1 to 65535 behind the colon")
        }
        Ok(HostPattern::Exact(_)) => None,
        Err(expected) => Some(*expected),
    };
    if let Some(wrong) = wrong {
        let detail = format!("{wrong}, not {}", shown(&Value::from(text)));
        faults.add(&at.field("host"), detail);
    }
    let host = known.ok()?.to_string();
    Some(match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// The field `path`, in a route that takes paths by `matched`.
pub(super) fn read_path(
    object: &Object<'_>,
    matched: &PathMatch,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> Option<NewPath> {
    let at = at.field("path");
    let object = Object::read(object.get("path")?, &at, PATH, faults)?;
    let given = |field| object.get(field).is_some();
    match (given("full"), given("prefix"), given("regex")) {
        (true, false, false) if !given("to") => {
            let full = read_text(&object, "full", &at, faults)?;
            Some(NewPath::Full { full })
        }
        (false, true, false) if !given("to") => {
            if !matches!(matched, PathMatch::Prefix(_)) {
                let detail = "replaces the prefix that the route matches by, and its `match` has none: use `full` or `regex`";
                faults.add(&at.field("prefix"), detail);
            }
            let prefix = read_text(&object, "prefix", &at, faults)?;
            Some(NewPath::Prefix { prefix })
        }
        (false, false, true) => read_regex(&object, &at, faults),
        _ => {
            faults.add(
                &at,
                "must have one of `full`, `prefix`, and `regex` with `to`, such as {\"prefix\": \"/new\"}",
            );
            None
        }
    }
}

fn read_text(
    object: &Object<'_>,
    field: &str,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> Option<String> {
    let text = object.text(field, "a path such as \"/new\"", faults)?;
    if let Some(wrong) = wrong_with_path(text) {
        let detail = format!("{wrong}, not {}", shown(&Value::from(text)));
        faults.add(&at.field(field), detail);
    }
    Some(text.to_owned())
}

fn read_regex(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Option<NewPath> {
    let regex = object.text("regex", "a regular expression", faults);
    let regex = regex.map(Pattern::anywhere);
    if let Some(Err(wrong)) = &regex {
        faults.add(&at.field("regex"), wrong);
    }
    let to = object.text("to", "a replacement such as \"/$1\"", faults)?;
    let wrong = if to.len() > limits::PATH_BYTES {
        Some("must have at most 2048 bytes")
    } else if to.contains(['?', '#', '"', '<', '>'])
        || !to.bytes().all(|byte| byte.is_ascii_graphic())
    {
        Some("must be a path's visible ASCII, without `?` and `#`")
    } else if to.matches('$').count() > limits::GROUPS {
        Some("must refer to at most 16 groups")
    } else {
        None
    };
    if let Some(wrong) = wrong {
        let detail = format!("{wrong}, not {}", shown(&Value::from(to)));
        faults.add(&at.field("to"), detail);
    }
    Some(NewPath::Regex {
        regex: regex?.ok()?,
        to: to.to_owned(),
    })
}
