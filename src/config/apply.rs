//! Turns one config into the next: deterministic, total, and all or nothing.
//!
//! Operations write into a draft over the old config; specs that cannot be read are noted and replaced by what can
//! be, so that the checks on the end result see the rest. Only then is the next config built, from the resources of
//! the old one wherever the content is equal.

use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::spec::WHOLE;
use super::write::{Mode, write};
use super::{
    Action, Config, Expected, Operation, Pointer, Rejection, ResourcePath, Revision, Transaction,
};

/// The config a transaction makes, and what each of its operations did.
#[derive(Clone, Debug, PartialEq)]
pub struct Next {
    /// The config after it. Its revision is the old one if nothing changed, and then it equals the old config.
    pub config: Config,
    /// One an operation, in order.
    pub effects: Vec<Effect>,
}

/// What one operation did to its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It was not there before.
    Created,
    /// It was there, and differs.
    Updated,
    /// It was there, and is as it was.
    Unchanged,
    /// It is gone.
    Deleted,
    /// It was only looked at.
    Checked,
}

impl Config {
    /// The config after `transaction`, whose changes carry `revision`; or why not, and then nothing of it holds.
    ///
    /// A lost race or a missing resource is told before faults: what was written for another config says little.
    pub fn apply(&self, revision: Revision, transaction: &Transaction) -> Result<Next, Rejection> {
        let mut draft = Draft::new(self, revision);
        let mut effects = Vec::with_capacity(transaction.operations.len());
        for (i, operation) in transaction.operations.iter().enumerate() {
            let at = WHOLE.index(i);
            let rereads = matches!(operation.action, Action::Patch(_));
            if draft.spend(&operation.path, rereads).is_none() {
                draft
                    .faults
                    .add(&at, "is too much work for one transaction: split it");
                return Err(Rejection::Invalid(draft.faults));
            }
            check(&draft, operation)?;
            match perform(&mut draft, operation, &at) {
                Ok(effect) => effects.push(effect),
                // It may be missing because an earlier operation could not be read.
                Err(_) if !draft.faults.is_empty() => {
                    return Err(Rejection::Invalid(draft.faults));
                }
                Err(missing) => return Err(missing),
            }
        }
        Ok(Next {
            config: draft.finish()?,
            effects,
        })
    }
}

/// Whether what the operation expects holds.
fn check(draft: &Draft<'_>, operation: &Operation) -> Result<(), Rejection> {
    let path = &operation.path;
    let stale = |expected, actual| {
        Err(Rejection::Stale {
            path: path.to_string(),
            expected,
            actual,
        })
    };
    match operation.expected {
        Some(expected @ Expected::Revision(revision)) => {
            let actual = draft.base().revision_of(path);
            if actual == Some(revision) {
                Ok(())
            } else {
                stale(expected, actual)
            }
        }
        Some(Expected::Present) if !draft.has(path) => stale(Expected::Present, None),
        Some(Expected::Absent) if draft.has(path) => {
            // What this transaction made itself has the revision it is making.
            stale(
                Expected::Absent,
                draft.base().revision_of(path).or(Some(draft.revision())),
            )
        }
        _ => Ok(()),
    }
}

/// Does it in the draft; `at` is the operation's place in the transaction.
fn perform(
    draft: &mut Draft<'_>,
    operation: &Operation,
    at: &Pointer<'_>,
) -> Result<Effect, Rejection> {
    let path = &operation.path;
    if !draft.has(path) && matches!(operation.action, Action::Patch(_) | Action::Delete) {
        return Err(Rejection::NotFound(path.to_string()));
    }
    match &operation.action {
        // Whatever was expected holds; that it is there is what is expected unless something else is said.
        Action::Check if draft.has(path) || operation.expected.is_some() => Ok(Effect::Checked),
        Action::Check => Err(Rejection::NotFound(path.to_string())),
        Action::Delete => Ok(delete(draft, path, at)),
        Action::Put(spec) => write(draft, path, spec, Mode::Put, &at.field("value")),
        Action::Patch(patch) => write(draft, path, patch, Mode::Patch, &at.field("value")),
    }
}

fn delete(draft: &mut Draft<'_>, path: &ResourcePath, at: &Pointer<'_>) -> Effect {
    match path {
        ResourcePath::Config => {
            draft.faults.add(
                at,
                "the config cannot be deleted: put {\"pools\": [], \"routes\": []}",
            );
        }
        ResourcePath::Pool(name) => draft.pools.remove(name),
        ResourcePath::Backend(pool, id) => {
            if let Some(pool) = draft.pools.get_mut(pool) {
                pool.backends.retain(|backend| backend.id != *id);
            }
        }
        ResourcePath::Route(name) => draft.routes.remove(name),
        ResourcePath::Policy(name) => draft.policies.remove(name),
    }
    Effect::Deleted
}
