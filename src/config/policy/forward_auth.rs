//! Another service that says who may use a route.

use std::time::Duration;

use serde::Serialize;

use crate::config::{Name, friendly};

/// A service that is asked about each request before it goes on, by a GET with its header fields, X-Forwarded-Method
/// and X-Forwarded-Uri. The fields are those that came: what the route's edits remove, credentials say, is not for the
/// backend, and may well be for the service. If it answers with a status of success the request goes on; any other
/// answer goes to the client instead. If it cannot be asked, the request is refused with 503.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForwardAuth {
    /// Its pool, which is there in every config that was applied.
    pub pool: Name,
    /// The path asked for. `/` unless said.
    pub path: String,
    /// Header fields of its answer that are put in the place of the request's own, and of what the route's edits set:
    /// of what a client sends under these names nothing goes on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answer_headers: Vec<String>,
    /// For all of its answer, and all tries. 5 s.
    #[serde(serialize_with = "friendly::serialize")]
    pub timeout: Duration,
}
