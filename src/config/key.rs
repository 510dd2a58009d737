//! What a header field or a query parameter of a request must be.

use serde::Serialize;

use super::Pattern;

/// A header field or query parameter, and what is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct KeyMatch {
    /// Its name: of a header in lower case, of a parameter as it is written in the query.
    pub name: String,
    /// What is wanted of it.
    #[serde(flatten)]
    pub wanted: Wanted,
}

/// What is wanted of a header field or query parameter. Of a field that comes several times one line must fit; of
/// such a parameter, the first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// This value, byte for byte; of a parameter as it is written, not decoded.
    Exact(String),
    /// A value that matches this as a whole.
    Regex(Pattern),
    /// That it is there, whatever its value; or that it is not.
    Present(bool),
}

impl Wanted {
    /// Whether `value` is what is wanted, of one that is there.
    pub fn fits(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact.as_bytes() == value,
            Self::Regex(pattern) => pattern.fits(value),
            Self::Present(present) => *present,
        }
    }

    /// Whether one that is not there is what is wanted.
    pub fn is_absence(&self) -> bool {
        *self == Self::Present(false)
    }
}
