//! Reads what becomes of header fields.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::config::fault::{Faults, Pointer};
use crate::config::limits;
use crate::config::policy::{Edits, HeaderEdits};
use crate::config::spec::matches::{is_header_name, is_header_value};
use crate::config::spec::object::{Object, kind, shown};

const HEADERS: &[&str] = &["request", "response"];
const EDITS: &[&str] = &["remove", "set", "add"];

/// Fields that say where a message ends or are for one hop only: an edit of them would make two readers differ.
const FRAMING: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Fields of a request that the proxy writes itself, by what it knows of the client.
const OWN_OF_REQUEST: [&str; 7] = [
    "forwarded",
    "max-forwards",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];
const OWN_OF_RESPONSE: [&str; 3] = ["date", "synod-revision", "via"];
/// Fields that are written with every answer of the proxy's own.
const OWN_OF_RESPOND: [&str; 4] = ["date", "proxy-status", "synod-revision", "via"];

pub(super) fn read(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<HeaderEdits> {
    let object = Object::read(value, at, HEADERS, faults)?;
    let mut edits = |field, own| match object.get(field) {
        Some(value) => read_edits(value, own, &at.field(field), faults),
        None => Edits::default(),
    };
    let edits = HeaderEdits {
        request: edits("request", &OWN_OF_REQUEST),
        response: edits("response", &OWN_OF_RESPONSE),
    };
    (edits != HeaderEdits::default()).then_some(edits)
}

fn read_edits(value: &Value, own: &[&str], at: &Pointer<'_>, faults: &mut Faults) -> Edits {
    let Some(object) = Object::read(value, at, EDITS, faults) else {
        return Edits::default();
    };
    let mut reader = Reader {
        own,
        words: &OF_EDITS,
        seen: BTreeSet::new(),
        faults,
    };
    Edits {
        remove: reader.names(&object, "remove", &at.field("remove")),
        set: reader.fields(&object, "set", &at.field("set")),
        add: reader.fields(&object, "add", &at.field("add")),
    }
}

/// Reads the fields that a health check sends besides its own.
pub(in crate::config::spec) fn read_check_headers(
    object: &Object<'_>,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> BTreeMap<String, String> {
    let mut reader = Reader {
        own: &[],
        words: &OF_CHECKS,
        seen: BTreeSet::new(),
        faults,
    };
    reader.fields(object, "headers", at)
}

/// Reads the fields of an answer of the route's own.
pub(super) fn read_respond_headers(
    object: &Object<'_>,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> BTreeMap<String, String> {
    let mut reader = Reader {
        own: &OWN_OF_RESPOND,
        words: &OF_RESPOND,
        seen: BTreeSet::from(["content-type".to_owned()]),
        faults,
    };
    reader.fields(object, "headers", at)
}

/// Reads the names of fields that another service says of a request.
pub(super) fn read_answer_headers(
    object: &Object<'_>,
    at: &Pointer<'_>,
    faults: &mut Faults,
) -> Vec<String> {
    // They become fields of the request; and only an edit of the route has a say in where that stands in a trace.
    let own = [&OWN_OF_REQUEST[..], &["traceparent"]].concat();
    let mut reader = Reader {
        own: &own,
        words: &OF_ANSWERS,
        seen: BTreeSet::new(),
        faults,
    };
    reader.names(object, "answer_headers", &at.field("answer_headers"))
}

/// How faults are told.
struct Words {
    cannot: &'static str,
    /// What is used for the Host field instead.
    host: &'static str,
    once: &'static str,
}

const OF_EDITS: Words = Words {
    cannot: "cannot be edited",
    host: "`rewrite` has a `host`",
    once: "must be there once, over `remove`, `set` and `add`",
};

const OF_CHECKS: Words = Words {
    cannot: "cannot be sent by a check",
    host: "it has a `host`",
    once: "must be there once, whatever the case of its letters",
};

const OF_ANSWERS: Words = Words {
    cannot: "cannot be taken over",
    host: "`rewrite` has a `host`",
    once: "must be there once, whatever the case of its letters",
};

const OF_RESPOND: Words = Words {
    cannot: "cannot be in an answer",
    host: "it is a field of requests",
    once: "must be there once, whatever the case of its letters, and Content-Type as `content_type`",
};

struct Reader<'a> {
    own: &'a [&'a str],
    words: &'static Words,
    seen: BTreeSet<String>,
    faults: &'a mut Faults,
}

impl Reader<'_> {
    fn names(&mut self, object: &Object<'_>, field: &str, at: &Pointer<'_>) -> Vec<String> {
        let list = object.list(field, limits::EDITS, self.faults);
        let mut names = Vec::new();
        for (i, value) in list.iter().enumerate() {
            match value.as_str() {
                Some(name) => {
                    self.check_name(name, &at.index(i));
                    names.push(name.to_owned());
                }
                None => {
                    let detail = format!("must be the name of a header, not {}", shown(value));
                    self.faults.add(&at.index(i), detail);
                }
            }
        }
        names
    }

    fn fields(
        &mut self,
        object: &Object<'_>,
        field: &str,
        at: &Pointer<'_>,
    ) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        let map = match object.get(field) {
            None => return fields,
            Some(Value::Object(map)) if map.len() <= limits::EDITS => map,
            Some(Value::Object(map)) => {
                let detail = format!(
                    "must have at most {} fields, not {}",
                    limits::EDITS,
                    map.len()
                );
                self.faults.add(at, detail);
                return fields;
            }
            Some(other) => {
                let detail = format!(
                    "must be an object from names to values, not {}",
                    kind(other)
                );
                self.faults.add(at, detail);
                return fields;
            }
        };
        for (name, value) in map {
            let place = at.field(name);
            self.check_name(name, &place);
            match value.as_str() {
                Some(text) if is_header_value(text) => {
                    fields.insert(name.clone(), text.to_owned());
                }
                _ => {
                    let detail = format!(
                        "must be visible ASCII without blanks around it, up to 4096 bytes, not {}",
                        shown(value)
                    );
                    self.faults.add(&place, detail);
                }
            }
        }
        fields
    }

    fn check_name(&mut self, name: &str, at: &Pointer<'_>) {
        let lower = name.to_ascii_lowercase();
        let Words { cannot, host, once } = self.words;
        let is = |known: &str| letters(known).eq(letters(&lower));
        let wrong = if !is_header_name(name) {
            Some("must be the name of a header, up to 256 bytes".to_owned())
        } else if FRAMING.iter().any(|known| is(known)) {
            let why = "it delimits the message or is for one hop only";
            Some(format!("{cannot}: {why}"))
        } else if lower == "host" {
            Some(format!("{cannot}: {host}"))
        } else if self.own.iter().any(|known| is(known)) {
            Some(format!("{cannot}: the proxy writes it itself"))
        } else if !self.seen.insert(lower.clone()) {
            Some((*once).to_owned())
        } else {
            None
        };
        if let Some(wrong) = wrong {
            self.faults.add(at, wrong);
        }
    }
}

/// Without marks: `Content_Length` is read as Content-Length by some.
fn letters(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().filter(u8::is_ascii_alphanumeric)
}
