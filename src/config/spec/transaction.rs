//! Reads and writes transactions as the list that `/v1/transactions` takes:
//! `[{"op": "put", "path": "/pools/web", "value": {...}, "revision": 12}, ...]`, `op` one of `put`, `patch`,
//! `delete`, `check`; instead of `revision`, `"exists": true` or `false`.

use serde::Serialize;
use serde_json::Value;

use super::WHOLE;
use super::object::{Object, kind, shown};
use crate::config::fault::{Faults, Pointer};
use crate::config::{Action, Expected, Operation, ResourcePath, Revision, Transaction, limits};

const OPERATION: &[&str] = &["op", "path", "value", "revision", "exists"];

#[derive(Clone, Copy)]
enum Op {
    Put,
    Patch,
    Delete,
    Check,
}

impl Transaction {
    /// Reads the body of `/v1/transactions`, a list of operations, telling every fault of its shape. The values are
    /// read when it is applied.
    pub fn from_json(value: Value) -> Result<Self, Faults> {
        let Value::Array(list) = value else {
            let detail = format!("must be an array of operations, not {}", kind(&value));
            return Err(Faults::one("", detail));
        };
        if list.len() > limits::OPERATIONS {
            let detail = format!(
                "must have at most {} operations, not {}",
                limits::OPERATIONS,
                list.len()
            );
            return Err(Faults::one("", detail));
        }
        let mut faults = Faults::new();
        let mut operations = Vec::with_capacity(list.len());
        for (i, value) in list.into_iter().enumerate() {
            operations.extend(read_operation(value, &WHOLE.index(i), &mut faults));
        }
        faults.or(Some(Self { operations }))
    }

    /// As JSON text that [`Transaction::from_json`] reads. Equal transactions give equal bytes: a retry is told by
    /// them.
    pub fn to_text(&self) -> String {
        let operations: Vec<Written<'_>> = self.operations.iter().map(Written::of).collect();
        serde_json::to_string(&operations)
            .expect("operations have string keys and nothing that fails to serialise")
    }
}

/// An operation as it is written.
#[derive(Serialize)]
struct Written<'a> {
    op: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<Revision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exists: Option<bool>,
}

impl<'a> Written<'a> {
    fn of(operation: &'a Operation) -> Self {
        let (op, value) = match &operation.action {
            Action::Put(spec) => ("put", Some(spec)),
            Action::Patch(patch) => ("patch", Some(patch)),
            Action::Delete => ("delete", None),
            Action::Check => ("check", None),
        };
        let (revision, exists) = match operation.expected {
            Some(Expected::Revision(revision)) => (Some(revision), None),
            Some(Expected::Present) => (None, Some(true)),
            Some(Expected::Absent) => (None, Some(false)),
            None => (None, None),
        };
        Self {
            op,
            path: operation.path.to_string(),
            value,
            revision,
            exists,
        }
    }
}

fn read_operation(mut value: Value, at: &Pointer<'_>, faults: &mut Faults) -> Option<Operation> {
    let body = value
        .as_object_mut()
        .and_then(|object| object.get_mut("value"))
        .map(Value::take);
    let object = Object::read(&value, at, OPERATION, faults)?;
    let op = read_op(&object, at, faults);
    let path = read_path(&object, at, faults);
    let expected = read_expected(&object, at, faults);
    let action = match (op?, body) {
        (Op::Put, Some(spec)) => Action::Put(spec),
        (Op::Patch, Some(patch)) => Action::Patch(patch),
        (Op::Delete, None) => Action::Delete,
        (Op::Check, None) => Action::Check,
        (Op::Put | Op::Patch, None) => {
            faults.add(
                &at.field("value"),
                "is missing: must be the spec to put, or the merge patch",
            );
            return None;
        }
        (Op::Delete | Op::Check, Some(_)) => {
            faults.add(
                &at.field("value"),
                "must be left out: only `put` and `patch` have a value",
            );
            return None;
        }
    };
    let path = path?;
    if path == ResourcePath::Config && matches!(action, Action::Delete) {
        faults.add(
            &at.field("op"),
            "the config cannot be deleted: put {\"pools\": [], \"routes\": []}",
        );
    }
    Some(Operation {
        path,
        expected,
        action,
    })
}

fn read_op(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Option<Op> {
    const EXPECTED: &str = "`put`, `patch`, `delete` or `check`";
    match object.text("op", EXPECTED, faults)? {
        "put" => Some(Op::Put),
        "patch" => Some(Op::Patch),
        "delete" => Some(Op::Delete),
        "check" => Some(Op::Check),
        other => {
            let shown = shown(&Value::from(other));
            faults.add(&at.field("op"), format!("must be {EXPECTED}, not {shown}"));
            None
        }
    }
}

fn read_path(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Option<ResourcePath> {
    let path = object
        .text("path", "a path such as \"/pools/web\"", faults)?
        .parse();
    if let Err(wrong) = &path {
        faults.add(&at.field("path"), format!("{wrong}"));
    }
    path.ok()
}

fn read_expected(object: &Object<'_>, at: &Pointer<'_>, faults: &mut Faults) -> Option<Expected> {
    match (object.get("revision"), object.get("exists")) {
        (None, None) => None,
        (Some(_), Some(_)) => {
            faults.add(at, "must have `revision` or `exists`, not both");
            None
        }
        (Some(value), None) => {
            if value.as_u64().is_none() {
                let detail = format!("must be a revision, an integer, not {}", shown(value));
                faults.add(&at.field("revision"), detail);
            }
            value
                .as_u64()
                .map(|number| Expected::Revision(Revision(number)))
        }
        (None, Some(Value::Bool(true))) => Some(Expected::Present),
        (None, Some(Value::Bool(false))) => Some(Expected::Absent),
        (None, Some(value)) => {
            faults.add(
                &at.field("exists"),
                format!("must be true or false, not {}", shown(value)),
            );
            None
        }
    }
}
