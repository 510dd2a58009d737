//! Which lock's tokens a route demands of its requests.

use serde::Serialize;

use crate::config::Name;

/// A request must show, in a header, a token of the lock that is still good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fence {
    /// Whose tokens.
    pub lock: Name,
    /// Where a request shows its own; in small letters.
    pub header: String,
}
