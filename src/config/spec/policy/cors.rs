//! Reads which scripts of other origins may use a route.

use std::time::Duration;

use serde_json::Value;

use crate::config::fault::{Faults, Pointer};
use crate::config::policy::{Cors, Origin};
use crate::config::spec::matches::{is_header_name, is_method};
use crate::config::spec::object::{Object, shown};
use crate::config::{HostPattern, limits};

const CORS: &[&str] = &[
    "origins",
    "methods",
    "headers",
    "expose",
    "credentials",
    "max_age",
];
const ORIGIN: &str =
    "must be an origin such as \"https://shop.example\" or \"https://*.example\", or \"*\"";

pub(super) fn read(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<Cors> {
    let object = Object::read(value, at, CORS, faults)?;
    let origins = read_origins(&object, &at.field("origins"), faults);
    let methods = match object.get("methods") {
        None => ["GET", "HEAD", "POST"].map(str::to_owned).to_vec(),
        Some(_) => {
            let expected = "must be a method such as \"PUT\", in capital letters as it is sent";
            read_words(&object, "methods", is_method, expected, at, faults)
        }
    };
    let header = "must be the name of a header, up to 256 bytes";
    let headers = read_words(&object, "headers", is_header_name, header, at, faults);
    let expose = read_words(&object, "expose", is_header_name, header, at, faults);
    let credentials = object.boolean("credentials", faults).unwrap_or(false);
    if credentials && origins.contains(&Origin::Any) {
        let detail = "must be named one by one where there are credentials: `*` would let any site act as its visitor";
        faults.add(&at.field("origins"), detail);
    }
    let max_age = object.duration("max_age", Duration::from_secs(5), faults);
    Some(Cors {
        origins,
        methods,
        headers,
        expose,
        credentials,
        max_age,
    })
}

fn read_origins(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Vec<Origin> {
    let list = object.list("origins", limits::CORS_WORDS, faults);
    if list.is_empty() {
        faults.add(at, "must name one origin at least");
    }
    let mut origins = Vec::new();
    for (i, value) in list.iter().enumerate() {
        match value.as_str().and_then(origin) {
            Some(origin) => origins.push(origin),
            None => faults.add(&at.index(i), format!("{ORIGIN}, not {}", shown(value))),
        }
    }
    origins
}

/// As a browser writes it: without a path, and without the port that is the scheme's own.
fn origin(text: &str) -> Option<Origin> {
    if text == "*" {
        return Some(Origin::Any);
    }
    let (scheme, place) = text.split_once("://")?;
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !place.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    let own_port = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return None,
    };
    let port = match port {
        None => String::new(),
        Some(port)
            if port != own_port && port.parse::<u16>().is_ok_and(|n| n.to_string() == port) =>
        {
            format!(":{port}")
        }
        Some(_) => return None,
    };
    Some(match HostPattern::parse(host).ok()? {
        HostPattern::Exact(host) => Origin::One(format!("{scheme}://{host}{port}")),
        HostPattern::Wildcard(suffix) => {
            Origin::Below(format!("{scheme}://"), format!(".{suffix}{port}"))
        }
    })
}

fn read_words(
    object: &Object<'_>,
    field: &str,
    fits: fn(&str) -> bool,
    expected: &str,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> Vec<String> {
    let at = at.field(field);
    let mut words = Vec::new();
    let list = object.list(field, limits::CORS_WORDS, faults);
    for (i, value) in list.iter().enumerate() {
        match value.as_str().filter(|word| fits(word)) {
            Some(word) => words.push(word.to_owned()),
            None => faults.add(&at.index(i), format!("{expected}, not {}", shown(value))),
        }
    }
    words
}
