//! Commands: what is proposed, decided and applied. Encoded by prost, so that fields can be added.

use bytes::Bytes;
use prost::Message;
use sha2::{Digest as _, Sha256};

use super::{Expiry, Key, Operation};
use crate::config::level::{self, FIRST_LEVEL};
use crate::config::{Faults, StickyKey, Transaction};

/// The feature level this build knows. A command of a higher one stops the machine, which says so.
pub const LEVEL: u32 = level::RESPOND;

/// Milliseconds since 1970 as a leader's clock had them; the machine has no other time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

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
    /// Set by the leader that proposes it, as long as its state has none.
    pub sticky_key: Option<StickyKey>,
    /// What to do.
    pub body: Body,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Changes the config.
    Config(Transaction),
    /// Changes sessions and locks.
    Locks(Operation),
    /// Ends what has not been kept alive. Only a leader proposes it, for itself; it is void after that leadership, so
    /// it is applied at most once without its key being remembered.
    Expiry(Expiry),
}

impl Body {
    /// The feature level it needs.
    pub fn level(&self) -> u32 {
        match self {
            Self::Config(transaction) => transaction.level(),
            Self::Locks(_) | Self::Expiry(_) => FIRST_LEVEL,
        }
    }
}

/// The bytes are no command that this build knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They are no command.
    #[error("not a command: {0}")]
    Malformed(String),
    /// They are one of a later build.
    #[error("needs feature level {level}, and this build knows {LEVEL}")]
    UnknownLevel {
        /// The level it needs.
        level: u32,
    },
}

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
    /// An operation on sessions and locks.
    #[prost(bytes = "bytes", optional, tag = "7")]
    locks: Option<Bytes>,
    /// Deadlines that have passed.
    #[prost(bytes = "bytes", optional, tag = "8")]
    expiry: Option<Bytes>,
    /// The key of sticky cookies, for a state that has none.
    #[prost(bytes = "bytes", optional, tag = "9")]
    sticky_key: Option<Bytes>,
}

impl Command {
    /// As the log keeps it. Whoever proposes it keeps it within [`crate::config::limits::COMMAND_BYTES`].
    pub fn encode(&self) -> Bytes {
        self.wire().encode_to_vec().into()
    }

    fn wire(&self) -> Wire {
        let (mut config, mut locks, mut expiry) = (None, None, None);
        match &self.body {
            Body::Config(transaction) => config = Some(transaction.to_text().into()),
            Body::Locks(operation) => locks = Some(operation.encode()),
            Body::Expiry(it) => expiry = Some(it.encode()),
        }
        Wire {
            key: self.key.as_str().to_owned(),
            stamp: self.stamp.0,
            level: self.level,
            author: self.author.clone(),
            comment: self.comment.clone(),
            config,
            locks,
            expiry,
            sticky_key: self
                .sticky_key
                .map(|StickyKey(key)| Bytes::copy_from_slice(&key)),
        }
    }

    /// Reads what [`Command::encode`] wrote; total over all bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let envelope = Envelope::decode(bytes, LEVEL)?;
        let body = envelope
            .body()
            .map_err(|faults| DecodeError::Malformed(faults.to_string()))?;
        Ok(Self {
            key: envelope.key,
            stamp: envelope.stamp,
            level: envelope.level,
            author: envelope.author,
            comment: envelope.comment,
            sticky_key: envelope.sticky_key,
            body,
        })
    }
}

/// A command on its way to the log. Its body is written once, by whoever asks for it, and read where it is applied:
/// nobody on the way looks into it.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal(Wire);

impl From<Command> for Proposal {
    fn from(command: Command) -> Self {
        Self(command.wire())
    }
}

impl Proposal {
    /// Reads what [`Proposal::encode`] wrote; total over all bytes.
    pub fn read(bytes: Bytes) -> Result<Self, DecodeError> {
        let wire = Wire::decode(bytes);
        wire.map(Self)
            .map_err(|error| DecodeError::Malformed(error.to_string()))
    }

    /// For the peer connection.
    pub fn encode(&self) -> Bytes {
        self.0.encode_to_vec().into()
    }

    /// The bytes of [`Proposal::encode`].
    pub fn length(&self) -> usize {
        self.0.encoded_len()
    }

    /// The feature level it needs.
    pub fn level(&self) -> u32 {
        self.0.level
    }

    /// As the log keeps it: a command with the stamp of its leader, and where it changes the config, with the key of
    /// sticky cookies if that leader's state has none.
    pub fn stamped(&self, stamp: Stamp, sticky_key: Option<StickyKey>) -> Bytes {
        let config = self.0.config.is_some();
        let sticky_key = sticky_key.filter(|_| config);
        let sticky_key = sticky_key.map(|StickyKey(key)| Bytes::copy_from_slice(&key));
        let wire = Wire {
            stamp: stamp.0,
            sticky_key: sticky_key.or_else(|| self.0.sticky_key.clone()),
            ..self.0.clone()
        };
        wire.encode_to_vec().into()
    }
}

/// A command whose body is not read yet: a retry is answered without, and a body that cannot be read is refused
/// under the command's key, so that whoever waits for it hears of it.
pub(super) struct Envelope {
    pub(super) key: Key,
    pub(super) stamp: Stamp,
    pub(super) level: u32,
    pub(super) author: String,
    pub(super) comment: String,
    pub(super) sticky_key: Option<StickyKey>,
    raw: Raw,
}

/// A body as the log keeps it.
enum Raw {
    Config(Bytes),
    Locks(Bytes),
    Expiry(Bytes),
}

/// SHA-256 of a command's body: a retry has the same, whatever its stamp.
pub(super) type BodyDigest = [u8; 32];

impl Envelope {
    /// Reads all but the body, for a build that knows this level; total over all bytes.
    pub(super) fn decode(bytes: &[u8], knows: u32) -> Result<Self, DecodeError> {
        let malformed = |error: &dyn std::fmt::Display| DecodeError::Malformed(error.to_string());
        let wire = Wire::decode(bytes).map_err(|error| malformed(&error))?;
        // Before anything else of it is judged: a later build may have other keys and bodies.
        if wire.level > knows {
            return Err(DecodeError::UnknownLevel { level: wire.level });
        }
        Ok(Self {
            key: Key::new(&wire.key).map_err(|error| malformed(&error))?,
            stamp: Stamp(wire.stamp),
            level: wire.level,
            author: wire.author,
            comment: wire.comment,
            sticky_key: match wire.sticky_key {
                None => None,
                Some(key) => match key[..].try_into() {
                    Ok(key) => Some(StickyKey(key)),
                    Err(_) => {
                        return Err(malformed(
                            &"its key of sticky cookies is too short or too long",
                        ));
                    }
                },
            },
            raw: match (wire.config, wire.locks, wire.expiry) {
                (Some(json), None, None) => Raw::Config(json),
                (None, Some(operation), None) => Raw::Locks(operation),
                (None, None, Some(expiry)) => Raw::Expiry(expiry),
                (None, None, None) => return Err(malformed(&"it has no body")),
                _ => return Err(malformed(&"it has several bodies")),
            },
        })
    }

    /// What tells its body from another.
    pub(super) fn digest(&self) -> BodyDigest {
        let (kind, bytes) = match &self.raw {
            Raw::Config(json) => (&b""[..], json),
            Raw::Locks(operation) => (&b"locks"[..], operation),
            Raw::Expiry(expiry) => (&b"expiry"[..], expiry),
        };
        Sha256::new()
            .chain_update(kind)
            .chain_update(bytes)
            .finalize()
            .into()
    }

    /// Whether a retry of it must be told from a new one.
    pub(super) fn is_keyed(&self) -> bool {
        !matches!(self.raw, Raw::Expiry(_))
    }

    /// Reads the body.
    pub(super) fn body(&self) -> Result<Body, Faults> {
        let json = match &self.raw {
            Raw::Config(json) => json,
            Raw::Locks(operation) => return Operation::decode(operation).map(Body::Locks),
            Raw::Expiry(expiry) => return Expiry::decode(expiry).map(Body::Expiry),
        };
        let value = serde_json::from_slice(json)
            .map_err(|error| Faults::one("", format!("cannot be read: {error}")))?;
        Transaction::from_json(value).map(Body::Config)
    }
}
