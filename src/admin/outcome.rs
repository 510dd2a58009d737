//! What became of a write, as the one place that turns it into a status.

use serde_json::{Value, json};

use super::problem::{Kind, Problem};
use crate::config::{Effect, Expected, Rejection, Revision};
use crate::replication::ProposeError;
use crate::state::{Key, Outcome};

/// A write that was applied.
#[derive(Debug)]
pub(super) struct Done {
    /// Of the config after it.
    pub(super) revision: Revision,
    /// Whether that revision is of its making.
    pub(super) changed: bool,
    /// One an operation.
    pub(super) effects: Vec<Effect>,
}

/// The answer to what the state machine said.
pub(super) fn applied(outcome: Outcome, key: &Key) -> Result<Done, Problem> {
    match outcome {
        Outcome::Done {
            revision,
            changed,
            effects,
        } => Ok(Done {
            revision,
            changed,
            effects,
        }),
        Outcome::Locks(_) => {
            let detail =
                "this is a bug of Synod: a change of the config was answered as one of locks";
            Err(Problem::new(Kind::Internal, detail))
        }
        Outcome::Rejected(rejection) => Err(rejected(rejection)),
        Outcome::KeyReused => {
            let detail = "this idempotency key was used with another body; nothing was changed";
            Err(Problem::new(Kind::KeyReused, detail).with("key", key.as_str()))
        }
        Outcome::KeyExpired => {
            let detail = "this idempotency key is too old to tell whether it was used; read before you retry";
            Err(Problem::new(Kind::KeyExpired, detail).with("key", key.as_str()))
        }
    }
}

/// The answer to what the config said against a transaction, before it was proposed or after.
pub(super) fn rejected(rejection: Rejection) -> Problem {
    let detail = rejection.to_string();
    match rejection {
        Rejection::Invalid(faults) => Problem::invalid(faults),
        Rejection::NotFound(path) => Problem::not_found(path),
        Rejection::Stale {
            path,
            expected,
            actual,
        } => Problem::new(Kind::LostRace, detail)
            .with("path", path)
            .with("expected", expectation(expected))
            .with("actual", json!(actual)),
        Rejection::Referred { path, by } => Problem::new(Kind::Referred, detail)
            .with("path", path)
            .with("by", by),
    }
}

/// The revision, or `present` or `absent`.
fn expectation(expected: Expected) -> Value {
    match expected {
        Expected::Revision(revision) => json!(revision),
        Expected::Present => json!("present"),
        Expected::Absent => json!("absent"),
    }
}

/// The answer when no quorum told what became of it.
pub(super) fn not_known(error: &ProposeError, key: &Key) -> Problem {
    let (outcome, advice) = match error {
        ProposeError::NotProposed { .. } => (
            "not_proposed",
            "nothing was changed; traffic goes on; retry",
        ),
        ProposeError::Unknown { .. } => (
            "unknown",
            "it may still be committed; retry with the Idempotency-Key of this answer to learn",
        ),
    };
    let detail = format!("{error}; {advice}");
    unavailable(Kind::Unavailable, &detail, outcome, key)
}

/// A 503 that says whether the write may have been made.
pub(super) fn unavailable(kind: Kind, detail: &str, outcome: &str, key: &Key) -> Problem {
    Problem::new(kind, detail)
        .retry_after(1)
        .with("outcome", outcome)
        .with("key", key.as_str())
}
