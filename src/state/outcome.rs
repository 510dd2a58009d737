//! What became of a command. It is the same for every retry of it, and crosses from node to node.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Answer, DecodeError};
use crate::config::{Effect, Rejection, Revision};

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Applied.
    Done {
        /// Of the config after it.
        revision: Revision,
        /// Whether that revision is of this command's making.
        changed: bool,
        /// What each operation did, in order.
        effects: Vec<Effect>,
    },
    /// What the lock service answers.
    Locks(Answer),
    /// Not applied, and why; nothing changed.
    Rejected(Rejection),
    /// Not applied: the key was used with another body.
    KeyReused,
    /// Not applied: the key is of a time whose keys are forgotten, so it may have been applied long ago.
    KeyExpired,
}

impl Outcome {
    /// For the peer connection and the table of keys.
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self)
            .expect("an outcome has string keys and nothing that fails to serialise")
            .into()
    }

    /// Reads what [`Outcome::encode`] wrote; total over all bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        serde_json::from_slice(bytes).map_err(|error| DecodeError::Malformed(error.to_string()))
    }
}
