//! What clients read when the proxy itself answers that something failed.

use serde::Serialize;

use crate::config::Statuses;

/// A body in place of the proxy's own line of text. Answers of backends are passed on as they are, and clients of gRPC
/// are told in their own way. A head that is refused is answered in the proxy's own words, and so is what no route
/// matches: a route for everything that responds can do better.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorPage {
    /// Of answers with these statuses, 400 to 599. All of them unless said.
    pub status: Vec<Statuses>,
    /// The text.
    pub body: String,
    /// `text/html; charset=utf-8` unless said.
    pub content_type: String,
}

impl ErrorPage {
    /// Whether it is for answers with this status.
    pub fn is_for(&self, status: u16) -> bool {
        let mut ranges = self.status.iter();
        ranges.any(|range| (range.first..=range.last).contains(&status))
    }
}
