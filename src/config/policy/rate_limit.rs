//! How many requests a route takes in a time.

use std::time::Duration;

use serde::Serialize;

use crate::config::{HashOn, friendly};

/// A rate that requests to a route keep to; what is beyond is refused. Each node counts by itself. Wrong passwords of
/// `basic_auth` count; what else the route refuses or answers before it asks a backend does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RateLimit {
    /// So many requests.
    pub requests: u32,
    /// In this time. 1 s.
    #[serde(serialize_with = "friendly::serialize")]
    pub per: Duration,
    /// How many may come at once after a quiet time; as many as `requests` unless said.
    pub burst: u32,
    /// For each of what; the route as a whole unless said. Requests without it count as one, and so do IPv6 addresses
    /// of one /64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<HashOn>,
}
