//! How long a route lets a request take, and what it lets be tried again.

use std::time::Duration;

use serde::Serialize;

use crate::config::friendly;

/// How long a request may take. Without limit, unless the route says one: its pool still bounds each wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RouteTimeouts {
    /// From the beginning of one try to the head of its answer.
    #[serde(
        rename = "try",
        skip_serializing_if = "Option::is_none",
        serialize_with = "friendly::serialize_option"
    )]
    pub one_try: Option<Duration>,
    /// From the request's head to the end of its answer, all tries together.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "friendly::serialize_option"
    )]
    pub total: Option<Duration>,
}

/// What is tried again beyond failures of idempotent requests and those that no backend saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RouteRetries {
    /// Whether a request of any method may be done twice.
    pub any_method: bool,
    /// Answers that are taken for failures, as long as another try is left.
    pub statuses: Vec<u16>,
}
