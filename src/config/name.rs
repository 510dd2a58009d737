//! Names of resources and ids of backends: one grammar, checked once, then only compared.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::Serialize;

use super::limits;

/// A name or id: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}`. Cheap to clone, ordered by bytes.
#[derive(Clone, Eq, Serialize)]
#[serde(transparent)]
pub struct Name(Arc<str>);

/// The text is not a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be 1 to 63 letters, digits, `_`, `.` or `-`, and begin with a letter, a digit or `_`"
)]
pub struct BadName;

impl Name {
    /// Checks the grammar.
    pub fn new(text: &str) -> Result<Self, BadName> {
        let mut bytes = text.bytes();
        let first = bytes
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        let rest = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if first && rest && text.len() <= limits::NAME_BYTES {
            Ok(Self(text.into()))
        } else {
            Err(BadName)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        // Most names that are compared are clones of each other: one config's and the next one's.
        match Arc::ptr_eq(&self.0, &other.0) {
            true => Ordering::Equal,
            false => self.0.cmp(&other.0),
        }
    }
}

impl std::str::FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::new(text)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_grammar() {
        let longest = "a".repeat(63);
        for good in ["a", "_", "9", "web-1.eu_x", longest.as_str()] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in [
            "",
            "-a",
            ".a",
            "a/b",
            "a~b",
            "a b",
            "ä",
            "a\n",
            too_long.as_str(),
        ] {
            assert_eq!(Name::new(bad), Err(BadName), "{bad:?}");
        }
    }
}
