//! One JSON object being read: its fields by type, each with a default, and a fault for whatever does not fit.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use super::nearest::nearest;
use crate::config::fault::{Faults, Pointer, quote};
use crate::config::{Name, friendly};

/// An object being read.
pub(in crate::config) struct Object<'a> {
    at: &'a Pointer<'a>,
    map: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    /// Reads `value` as an object, noting every field that is not `known`.
    pub(in crate::config) fn read(
        value: &'a Value,
        at: &'a Pointer<'a>,
        known: &[&str],
        faults: &mut Faults,
    ) -> Option<Self> {
        let Value::Object(map) = value else {
            faults.add(at, format!("must be an object, not {}", kind(value)));
            return None;
        };
        for name in map.keys().filter(|name| !known.contains(&name.as_str())) {
            if faults.is_full() {
                break;
            }
            let shown = quote(name);
            let hint = match (nearest(name, known.iter().copied()), known) {
                (Some(meant), _) => format!("did you mean `{meant}`?"),
                (None, []) => "there are none".to_owned(),
                (None, known) => format!("known fields are `{}`", known.join("`, `")),
            };
            faults.add(&at.field(name), format!("unknown field `{shown}`; {hint}"));
        }
        Some(Self { at, map })
    }

    /// The field as it is; `None` if it is left out.
    pub(in crate::config) fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field)
    }

    /// An integer in `range`.
    pub(in crate::config) fn integer(
        &self,
        field: &str,
        range: RangeInclusive<u64>,
        default: u64,
        faults: &mut Faults,
    ) -> u64 {
        let Some(value) = self.get(field) else {
            return default;
        };
        match value.as_u64() {
            Some(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = range.into_inner();
                let detail = format!(
                    "must be an integer from {least} to {most}, not {}",
                    shown(value)
                );
                faults.add(&self.at.field(field), detail);
                default
            }
        }
    }

    /// A friendly duration.
    pub(in crate::config) fn duration(
        &self,
        field: &str,
        default: Duration,
        faults: &mut Faults,
    ) -> Duration {
        let Some(value) = self.get(field) else {
            return default;
        };
        value.as_str().and_then(friendly::parse).unwrap_or_else(|| {
            faults.add(
                &self.at.field(field),
                format!("{}, not {}", friendly::EXPECTED, shown(value)),
            );
            default
        })
    }

    /// One of a few words.
    pub(in crate::config) fn choice<T: Copy + Default>(
        &self,
        field: &str,
        words: &[(&str, T)],
        faults: &mut Faults,
    ) -> T {
        let Some(value) = self.get(field) else {
            return T::default();
        };
        if let Some((_, chosen)) = words.iter().find(|(word, _)| value == word) {
            return *chosen;
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let (known, shown) = (known.join("`, `"), shown(value));
        let detail = format!("must be one of `{known}`, not {shown}");
        faults.add(&self.at.field(field), detail);
        T::default()
    }

    /// True or false; `None` if it is left out.
    pub(in crate::config) fn boolean(&self, field: &str, faults: &mut Faults) -> Option<bool> {
        let value = self.get(field)?;
        if value.as_bool().is_none() {
            let detail = format!("must be true or false, not {}", shown(value));
            faults.add(&self.at.field(field), detail);
        }
        value.as_bool()
    }

    /// A text.
    pub(in crate::config) fn text(
        &self,
        field: &str,
        expected: &str,
        faults: &mut Faults,
    ) -> Option<&'a str> {
        match self.get(field) {
            Some(Value::String(text)) => Some(text),
            Some(other) => {
                faults.add(
                    &self.at.field(field),
                    format!("must be {expected}, not {}", shown(other)),
                );
                None
            }
            None => {
                faults.add(
                    &self.at.field(field),
                    format!("is missing: must be {expected}"),
                );
                None
            }
        }
    }

    /// A name that must be there.
    pub(in crate::config) fn name(&self, field: &str, faults: &mut Faults) -> Option<Name> {
        let text = self.text(field, "a name", faults)?;
        let name = Name::new(text);
        if let Err(bad) = &name {
            faults.add(&self.at.field(field), bad.to_string());
        }
        name.ok()
    }

    /// The resource's own name: `expected` is the one in the path, which the body may leave out, but not contradict.
    pub(in crate::config) fn own_name(
        &self,
        field: &str,
        expected: Option<&Name>,
        faults: &mut Faults,
    ) -> Option<Name> {
        let Some(expected) = expected else {
            return self.name(field, faults);
        };
        if let Some(value) = self.get(field).filter(|value| *value != expected.as_str()) {
            let detail = format!("must be {expected:?}, as in the path, not {}", shown(value));
            faults.add(&self.at.field(field), detail);
        }
        Some(expected.clone())
    }

    /// A list of at most `most`; empty if it is left out.
    pub(in crate::config) fn list(
        &self,
        field: &str,
        most: usize,
        faults: &mut Faults,
    ) -> &'a [Value] {
        match self.get(field) {
            None => &[],
            Some(Value::Array(elements)) if elements.len() <= most => elements,
            Some(Value::Array(elements)) => {
                let detail = format!("must have at most {most} elements, not {}", elements.len());
                faults.add(&self.at.field(field), detail);
                &elements[..most]
            }
            Some(other) => {
                faults.add(
                    &self.at.field(field),
                    format!("must be an array, not {}", kind(other)),
                );
                &[]
            }
        }
    }
}

/// What a value is, for a fault.
pub(in crate::config) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A value as written where it is short, or what it is.
pub(in crate::config) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", quote(text)),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        other => kind(other).to_owned(),
    }
}
