//! Reads which answers are compressed.

use serde_json::Value;

use crate::config::fault::{Faults, Pointer};
use crate::config::limits;
use crate::config::policy::{Coding, Compress};
use crate::config::spec::matches::is_token;
use crate::config::spec::object::{Object, shown};

const COMPRESS: &[&str] = &["codings", "types", "min_bytes"];
const CODINGS: [Coding; 2] = [Coding::Brotli, Coding::Gzip];

pub(super) fn read(value: &Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<Compress> {
    let object = Object::read(value, at, COMPRESS, faults)?;
    let mut codings = CODINGS.to_vec();
    if object.get("codings").is_some() {
        let list = object.list("codings", CODINGS.len(), faults);
        codings = read_codings(list, &at.field("codings"), faults);
    }
    let mut types = Compress::TYPES.map(str::to_owned).to_vec();
    if object.get("types").is_some() {
        let list = object.list("types", limits::MEDIA_TYPES, faults);
        types = read_types(list, &at.field("types"), faults);
    }
    Some(Compress {
        codings,
        types,
        min_bytes: object.integer("min_bytes", 0..=limits::LEAST_COMPRESSED, 1_024, faults),
    })
}

fn read_codings(list: &[Value], at: &Pointer<'_>, faults: &mut Faults) -> Vec<Coding> {
    let mut codings = Vec::new();
    for (i, value) in list.iter().enumerate() {
        match CODINGS.iter().find(|coding| *value == coding.name()) {
            Some(coding) if codings.contains(coding) => {
                faults.add(&at.index(i), "must be there once");
            }
            Some(coding) => codings.push(*coding),
            None => {
                let detail = format!("must be `br` or `gzip`, not {}", shown(value));
                faults.add(&at.index(i), detail);
            }
        }
    }
    if list.is_empty() {
        faults.add(at, "must name one coding at least: `br` or `gzip`");
    }
    codings
}

fn read_types(list: &[Value], at: &Pointer<'_>, faults: &mut Faults) -> Vec<String> {
    let mut types = Vec::new();
    for (i, value) in list.iter().enumerate() {
        match value.as_str().filter(|text| is_media_range(text)) {
            Some(text) => types.push(text.to_owned()),
            None => {
                let expected = "must be a media type such as \"application/json\" or \"text/*\"";
                faults.add(&at.index(i), format!("{expected}, not {}", shown(value)));
            }
        }
    }
    if list.is_empty() {
        faults.add(
            at,
            "must name one media type at least; leave it out for the usual ones",
        );
    }
    types
}

/// One type without parameters, or all of a kind.
fn is_media_range(text: &str) -> bool {
    let token = |text: &str| !text.is_empty() && text.bytes().all(is_token) && !text.contains('*');
    let short = text.len() <= limits::KEY_NAME_BYTES;
    short
        && text
            .split_once('/')
            .is_some_and(|(kind, sub)| token(kind) && (sub == "*" || token(sub)))
}
