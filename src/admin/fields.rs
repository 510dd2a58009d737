//! Small JSON bodies: each field known, of the right form, or refused; all faults at once.

use std::time::Duration;

use serde_json::{Map, Value};

use super::problem::Problem;
use super::query;
use crate::config::{Fault, Faults};

/// The fields of one body, taken one by one by who knows them.
pub(super) struct Fields {
    map: Map<String, Value>,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl Fields {
    pub(super) fn of(body: Value) -> Result<Self, Problem> {
        let Value::Object(map) = body else {
            return Err(Problem::invalid(Faults::one("", "must be an object")));
        };
        Ok(Self {
            map,
            known: Vec::new(),
            faults: Vec::new(),
        })
    }

    /// The field, if it was given and is not null; what `parse` says against it becomes a fault.
    pub(super) fn take<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        self.known.push(name);
        let value = self.map.remove(name).filter(|value| !value.is_null())?;
        parse(&value)
            .map_err(|detail| self.fault(name, detail))
            .ok()
    }

    /// The field, which must be there.
    pub(super) fn need<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        if self.map.get(name).is_none_or(Value::is_null) {
            self.known.push(name);
            self.map.remove(name);
            self.fault(name, "is missing".to_owned());
            return None;
        }
        self.take(name, parse)
    }

    /// What was read, unless something is wrong: a fault of a field, or one that nobody knows.
    pub(super) fn finish<T>(mut self, read: Option<T>) -> Result<T, Problem> {
        let known = self.known.join("`, `");
        for (name, _) in std::mem::take(&mut self.map) {
            self.fault(&name, format!("unknown field; known are `{known}`"));
        }
        match read {
            Some(read) if self.faults.is_empty() => Ok(read),
            _ => Err(Problem::invalid(Faults(self.faults))),
        }
    }

    fn fault(&mut self, name: &str, detail: String) {
        let escaped = name.replace('~', "~0").replace('/', "~1");
        self.faults.push(Fault {
            pointer: format!("/{escaped}"),
            detail,
        });
    }
}

/// A duration with its unit, up to `most`.
pub(super) fn duration(value: &Value, most: Duration) -> Result<Duration, String> {
    let parsed = value.as_str().map(|text| query::duration(text, most));
    parsed.and_then(Result::ok).ok_or_else(|| {
        format!(
            "must be a duration with its unit up to {}s, such as \"500ms\", not {value}",
            most.as_secs()
        )
    })
}

/// A whole number.
pub(super) fn number(value: &Value) -> Result<u64, String> {
    value
        .as_u64()
        .ok_or_else(|| "must be a whole number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let faults = |body: Value| {
            let mut fields = match Fields::of(body) {
                Ok(fields) => fields,
                Err(problem) => return problem.pointers(),
            };
            let session = fields.need("session", number);
            fields.take("wait", |given| duration(given, Duration::from_secs(9)));
            fields
                .finish(session)
                .map_or_else(|problem| problem.pointers(), |_| Vec::new())
        };
        assert_eq!(faults(json!({"session": 3})), Vec::<String>::new());
        assert_eq!(
            faults(json!({"session": 3, "wait": null})),
            Vec::<String>::new()
        );
        assert_eq!(faults(json!([])), [""]);
        let second = Duration::from_secs(1);
        assert_eq!(duration(&json!("1s"), second), Ok(second));
        for (wrong, shown) in [
            (json!(5), "5"),
            (json!(""), "\"\""),
            (json!("2s"), "\"2s\""),
        ] {
            let told = format!(
                "must be a duration with its unit up to 1s, such as \"500ms\", not {shown}"
            );
            assert_eq!(duration(&wrong, second), Err(told));
        }
        assert_eq!(
            faults(json!({"wait": "10s", "a/b": 1})),
            ["/session", "/wait", "/a~1b"]
        );
    }
}
