//! Commands: what is proposed, decided and applied. Encoded by prost, so that fields can be added.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::config::{Transaction, limits};

/// The feature level this build knows. A command of a higher one stops the machine, which says so.
pub const LEVEL: u32 = 1;

/// Milliseconds since 1970 as a leader's clock had them; the machine has no other time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

/// What makes a retry the same write: 1 to 128 printable ASCII characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// The text is not a [`Key`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key must be 1 to 128 printable ASCII characters")]
pub struct BadKey;

impl Key {
    /// Checks length and characters.
    pub fn new(text: &str) -> Result<Self, BadKey> {
        let fits = (1..=limits::KEY_BYTES).contains(&text.len())
            && text.bytes().all(|b| (b' '..=b'~').contains(&b));
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(BadKey)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One entry of the log that does something.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The same on every retry of the same write.
    pub key: Key,
    /// Set by the leader that proposes it; 0 until then.
    pub stamp: Stamp,
    /// The feature level it needs.
    pub level: u32,
    /// Who asked for it, as history keeps it.
    pub author: String,
    /// Why, as history keeps it.
    pub comment: String,
    /// What to do.
    pub body: Body,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Changes the config.
    Config(Transaction),
}

/// The bytes are no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a command: {0}")]
pub struct DecodeError(pub(super) String);

#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(uint64, tag = "2")]
    stamp: u64,
    #[prost(uint32, tag = "3")]
    level: u32,
    #[prost(string, tag = "4")]
    author: String,
    #[prost(string, tag = "5")]
    comment: String,
    /// The transaction as the JSON of `/v1/transactions`.
    #[prost(bytes = "bytes", optional, tag = "6")]
    config: Option<Bytes>,
}

impl Command {
    /// As the log keeps it.
    pub fn encode(&self) -> Bytes {
        let Body::Config(transaction) = &self.body;
        let wire = Wire {
            key: self.key.as_str().to_owned(),
            stamp: self.stamp.0,
            level: self.level,
            author: self.author.clone(),
            comment: self.comment.clone(),
            config: Some(transaction.to_json().to_string().into()),
        };
        wire.encode_to_vec().into()
    }

    /// Reads what [`Command::encode`] wrote; total over all bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wire = Wire::decode(bytes).map_err(|error| DecodeError(error.to_string()))?;
        let key = Key::new(&wire.key).map_err(|error| DecodeError(error.to_string()))?;
        let json = wire
            .config
            .ok_or_else(|| DecodeError("it has no body".to_owned()))?;
        let value =
            serde_json::from_slice(&json).map_err(|error| DecodeError(error.to_string()))?;
        let transaction =
            Transaction::from_json(value).map_err(|faults| DecodeError(faults.to_string()))?;
        Ok(Self {
            key,
            stamp: Stamp(wire.stamp),
            level: wire.level,
            author: wire.author,
            comment: wire.comment,
            body: Body::Config(transaction),
        })
    }
}
