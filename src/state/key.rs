//! Keys: what makes a retry the same write.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::Stamp;
use crate::config::limits;

/// What makes a retry the same write: 1 to 128 printable ASCII characters, of the writer's choice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// The text is not a [`Key`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 128 printable ASCII characters")]
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

    /// A UUIDv7, for a write that came without a key. `now` is the greater of the node's clock and state time: a key
    /// of the past, as state time has it, would be refused as expired.
    pub fn fresh(now: Stamp, random: [u8; 10]) -> Self {
        let uuid = uuid::Builder::from_unix_timestamp_millis(now.0, &random).into_uuid();
        Self(uuid.hyphenated().to_string().into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When it was drawn, if it is a UUIDv7.
    pub(super) fn drawn(&self) -> Option<Stamp> {
        let uuid = Uuid::try_parse(&self.0)
            .ok()
            .filter(|uuid| uuid.get_version_num() == 7)?;
        let [a, b, c, d, e, f, ..] = *uuid.as_bytes();
        Some(Stamp(u64::from_be_bytes([0, 0, a, b, c, d, e, f])))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_key_knows_when_it_was_drawn() {
        let stamp = Stamp(1_763_850_000_123);
        assert_eq!(Key::fresh(stamp, [7; 10]).drawn(), Some(stamp));
        assert_ne!(Key::fresh(stamp, [7; 10]), Key::fresh(stamp, [8; 10]));
        for other in ["deploy-42", "8e03978e-40d5-43dd-bc93-6894a57f9324"] {
            assert_eq!(Key::new(other).unwrap().drawn(), None, "{other}");
        }
    }

    #[test]
    fn keys_are_short_and_printable() {
        let longest = "k".repeat(128);
        assert!(Key::new(&longest).is_ok() && Key::new("a b\"c").is_ok());
        for bad in ["", "ä", "a\n", &format!("{longest}k")] {
            assert_eq!(Key::new(bad), Err(BadKey));
        }
    }
}
