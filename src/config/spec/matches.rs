//! Reads what a request must look like for a route to take it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::object::{Object, shown};
use crate::config::fault::{Faults, Pointer};
use crate::config::{HostPattern, KeyMatch, Match, PathMatch, Pattern, Wanted, limits};

const MATCH: &[&str] = &["hosts", "path", "methods", "headers", "query"];
const PATH: &[&str] = &["exact", "prefix", "regex"];
const KEY: &[&str] = &["name", "exact", "regex", "present"];

/// Reads what a route asks for, as far as it can be read.
pub(super) fn read_match(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Match {
    let Some(object) = Object::read(value, at, MATCH, faults) else {
        return Match::default();
    };
    let hosts = read_hosts(&object, &at.field("hosts"), faults);
    let path = object.get("path").map_or_else(PathMatch::default, |value| {
        read_path(value, &at.field("path"), faults)
    });
    Match {
        hosts,
        path,
        methods: read_methods(&object, &at.field("methods"), faults),
        headers: read_keys(&object, Kind::Header, &at.field("headers"), faults),
        query: read_keys(&object, Kind::Query, &at.field("query"), faults),
    }
}

fn read_hosts(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Vec<HostPattern> {
    let mut hosts = Vec::new();
    for (i, value) in object
        .list("hosts", limits::HOSTS_PER_ROUTE, faults)
        .iter()
        .enumerate()
    {
        let Some(text) = value.as_str() else {
            faults.add(
                &at.index(i),
                format!("must be a host name, not {}", shown(value)),
            );
            continue;
        };
        match HostPattern::parse(text) {
            Ok(host) if hosts.contains(&host) => {
                faults.add(
                    &at.index(i),
                    format!("must be there once; `{host}` comes before"),
                );
            }
            Ok(host) => hosts.push(host),
            Err(expected) => faults.add(&at.index(i), format!("{expected}, not {}", shown(value))),
        }
    }
    hosts
}

fn read_path(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> PathMatch {
    let Some(object) = Object::read(value, at, PATH, faults) else {
        return PathMatch::default();
    };
    let mut text = |field| {
        object.get(field)?;
        let text = object.text(field, "a path such as \"/api\"", faults)?;
        if let Some(wrong) = wrong_with_path(text) {
            faults.add(
                &at.field(field),
                format!("{wrong}, not {}", shown(&Value::from(text))),
            );
        }
        Some(text.to_owned())
    };
    let (exact, prefix) = (text("exact"), text("prefix"));
    let regex = read_pattern(&object, at, faults);
    let given = PATH.iter().filter(|field| object.get(field).is_some());
    if given.count() != 1 {
        faults.add(
            at,
            "must have one of `exact`, `prefix` and `regex`, such as {\"prefix\": \"/\"}",
        );
    }
    exact
        .map(PathMatch::Exact)
        .or(prefix.map(PathMatch::Prefix))
        .or(regex.map(PathMatch::Regex))
        .unwrap_or_default()
}

/// The field `regex`, if there is one.
fn read_pattern(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Option<Pattern> {
    object.get("regex")?;
    let text = object.text("regex", "a regular expression", faults)?;
    let pattern = Pattern::whole(text);
    if let Err(wrong) = &pattern {
        faults.add(&at.field("regex"), wrong);
    }
    pattern.ok()
}

/// What is wrong with a path, if anything.
pub(super) fn wrong_with_path(text: &str) -> Option<&'static str> {
    if !text.starts_with('/') {
        Some("must begin with `/`")
    } else if text.len() > limits::PATH_BYTES {
        Some("must have at most 2048 bytes")
    } else if text.contains(['?', '#']) {
        Some("must be a path alone, without `?` or `#`")
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("must be visible ASCII, all else percent-encoded")
    } else {
        None
    }
}

fn read_methods(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Vec<String> {
    let mut methods: Vec<String> = Vec::new();
    for (i, value) in object
        .list("methods", limits::METHODS_PER_ROUTE, faults)
        .iter()
        .enumerate()
    {
        let wrong = match value.as_str() {
            Some("CONNECT") => "is answered by the proxy itself: no route takes it".to_owned(),
            Some(method) if !is_method(method) => format!(
                "must be a method such as \"GET\", in capital letters as it is sent, not {}",
                shown(value)
            ),
            Some(method) if methods.iter().any(|known| known == method) => {
                format!("must be there once; `{method}` comes before")
            }
            Some(method) => {
                methods.push(method.to_owned());
                continue;
            }
            None => format!("must be a method such as \"GET\", not {}", shown(value)),
        };
        faults.add(&at.index(i), wrong);
    }
    methods
}

/// A token without small letters: methods are told apart by case (RFC 9110, 9.1), and all in use are in capitals.
pub(super) fn is_method(text: &str) -> bool {
    let length = 1..=limits::METHOD_BYTES;
    length.contains(&text.len())
        && text
            .bytes()
            .all(|byte| is_token(byte) && !byte.is_ascii_lowercase())
}

/// What a key is the name of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Header,
    Query,
}

impl Kind {
    fn list(self) -> &'static str {
        match self {
            Self::Header => "headers",
            Self::Query => "query",
        }
    }

    /// What a name must be, if `name` is none.
    fn wrong_with_name(self, name: &str) -> Option<&'static str> {
        let short = (1..=limits::KEY_NAME_BYTES).contains(&name.len());
        match self {
            Self::Header if !is_header_name(name) => {
                Some("must be the name of a header, up to 256 bytes")
            }
            Self::Header if name.eq_ignore_ascii_case("host") => {
                Some("must be a header other than Host, which `hosts` is for")
            }
            Self::Query
                if !short || !name.bytes().all(|byte| is_in_query(byte) && byte != b'=') =>
            {
                Some("must be the name of a parameter as written in a query, up to 256 bytes")
            }
            _ => None,
        }
    }

    /// What a value must be, if no request can have `value`.
    fn wrong_with_value(self, value: &str) -> Option<&'static str> {
        match self {
            _ if value.len() > limits::VALUE_BYTES => Some("must have at most 4096 bytes"),
            Self::Header if !is_header_value(value) => {
                Some("must be visible ASCII without blanks around it")
            }
            Self::Query if !value.bytes().all(is_in_query) => {
                Some("must be as written in a query: visible ASCII without `&` and `#`")
            }
            _ => None,
        }
    }
}

fn read_keys(
    object: &Object<'_>,
    kind: Kind,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> Vec<KeyMatch> {
    let mut first_of: BTreeMap<String, usize> = BTreeMap::new();
    let mut keys = Vec::new();
    let list = object.list(kind.list(), limits::KEYS_PER_ROUTE, faults);
    for (i, value) in list.iter().enumerate() {
        let place = at.index(i);
        let Some(key) = read_key(value, kind, &place, faults) else {
            continue;
        };
        if let Some(first) = first_of.get(&key.name) {
            let detail = format!("must be there once; element {first} names it too");
            faults.add(&place.field("name"), detail);
            continue;
        }
        first_of.insert(key.name.clone(), i);
        keys.push(key);
    }
    keys
}

fn read_key(value: &Value, kind: Kind, at: &Pointer<'_>, faults: &mut Faults) -> Option<KeyMatch> {
    let object = Object::read(value, at, KEY, faults)?;
    let name = object.text("name", "a name", faults);
    if let Some(name) = name
        && let Some(wrong) = kind.wrong_with_name(name)
    {
        let detail = format!("{wrong}, not {}", shown(&Value::from(name)));
        faults.add(&at.field("name"), detail);
    }
    let wanted = read_wanted(&object, kind, at, faults);
    let name = match kind {
        Kind::Header => name?.to_ascii_lowercase(),
        Kind::Query => name?.to_owned(),
    };
    Some(KeyMatch {
        name,
        wanted: wanted?,
    })
}

fn read_wanted(
    object: &Object<'_>,
    kind: Kind,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> Option<Wanted> {
    let given = |field| object.get(field).is_some();
    match (given("exact"), given("regex"), given("present")) {
        (true, false, false) => {
            let text = object.text("exact", "a text", faults)?;
            if let Some(wrong) = kind.wrong_with_value(text) {
                let detail = format!("{wrong}, not {}", shown(&Value::from(text)));
                faults.add(&at.field("exact"), detail);
            }
            Some(Wanted::Exact(text.to_owned()))
        }
        (false, true, false) => read_pattern(object, at, faults).map(Wanted::Regex),
        (false, false, true) => object.boolean("present", faults).map(Wanted::Present),
        _ => {
            faults.add(at, "must have one of `exact`, `regex` and `present`, such as {\"name\": \"x\", \"exact\": \"1\"}");
            None
        }
    }
}

pub(super) fn is_header_name(name: &str) -> bool {
    (1..=limits::KEY_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_token)
}

/// Narrower than RFC 9110, 5.5: nothing above ASCII, which readers differ about.
pub(super) fn is_header_value(value: &str) -> bool {
    let text = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
    value.len() <= limits::VALUE_BYTES && value.bytes().all(text) && value.trim_ascii() == value
}

/// RFC 9110, 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What may stand in a parameter.
fn is_in_query(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'&' | b'#')
}
