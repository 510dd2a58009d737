//! An error answer of the admin API: problem+json (RFC 9457), with all faults.

use std::fmt;

use http::StatusCode;
use serde_json::Value;

/// What a node answered instead of doing what was asked.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The status it came with.
    pub status: StatusCode,
    /// What is wrong, in a few words.
    pub title: String,
    /// What is wrong with this very call.
    pub detail: Option<String>,
    /// Every fault of the body.
    pub faults: Vec<Fault>,
    /// The whole answer. Boxed, so that what is mostly not there makes no result large.
    pub body: Box<Value>,
}

/// One fault of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into what was sent.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl Problem {
    pub(super) fn from_body(status: StatusCode, body: Value) -> Self {
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let faults = body
            .get("faults")
            .and_then(Value::as_array)
            .map_or(Vec::new(), |faults| {
                faults
                    .iter()
                    .map(|fault| Fault {
                        pointer: fault["pointer"].as_str().unwrap_or_default().into(),
                        detail: fault["detail"].as_str().unwrap_or_default().into(),
                    })
                    .collect()
            });
        let reason = || status.canonical_reason().unwrap_or("error").to_owned();
        Self {
            status,
            title: text("title").unwrap_or_else(reason),
            detail: text("detail"),
            faults,
            body: Box::new(body),
        }
    }

    /// Whether it was surely not carried out, for want of a quorum at that node.
    pub fn is_undone(&self) -> bool {
        let outcome = self.outcome();
        outcome == Some("not_proposed") || outcome == Some("not_done")
    }

    /// Whether it may have been carried out for all that the node knows.
    pub fn is_unknown(&self) -> bool {
        self.outcome() == Some("unknown")
    }

    fn outcome(&self) -> Option<&str> {
        let no_quorum = self.status == StatusCode::SERVICE_UNAVAILABLE;
        self.body["outcome"].as_str().filter(|_| no_quorum)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.title, self.status.as_u16())?;
        // Of a single fault it says the same.
        if let Some(detail) = self.detail.as_ref().filter(|_| self.faults.len() != 1) {
            write!(f, ": {detail}")?;
        }
        for fault in &self.faults {
            let place = if fault.pointer.is_empty() {
                "(whole)"
            } else {
                &fault.pointer
            };
            write!(f, "\n  {place}: {}", fault.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_single_fault_is_told_once_and_several_are_counted() {
        let told = |detail: &str, faults: Value| {
            let body = json!({"title": "Not valid", "detail": detail, "faults": faults});
            Problem::from_body(StatusCode::UNPROCESSABLE_ENTITY, body).to_string()
        };
        let fault = json!({"pointer": "/weight", "detail": "is too much"});
        assert_eq!(
            told("/weight: is too much", json!([fault])),
            "Not valid (422)\n  /weight: is too much"
        );
        assert_eq!(
            told("2 faults", json!([fault, fault])),
            "Not valid (422): 2 faults\n  /weight: is too much\n  /weight: is too much"
        );
        assert_eq!(told("no", json!([])), "Not valid (422): no");
    }
}
