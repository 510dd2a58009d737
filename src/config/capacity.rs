//! How much a pool takes at a time, and who waits beyond that.

use std::time::Duration;

use serde::Serialize;

use super::friendly;

/// Requests that a pool takes at a time, on each node. What is beyond waits in a queue, first come, first served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// In flight in the whole pool; without limit unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// In flight at each backend; without limit unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_backend: Option<u32>,
    /// Open to the backends of the whole pool, which speaks HTTP/1.1; without limit unless said. As many requests are
    /// in flight at most, and idle connections make room for new ones: those of the same thread at once, those of
    /// others within a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Places in the queue, for requests that wait: 0 refuses at once. 1,024.
    pub queue: u32,
    /// For a place at a backend. 1 s.
    #[serde(serialize_with = "friendly::serialize")]
    pub queue_timeout: Duration,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            requests: None,
            requests_per_backend: None,
            connections: None,
            queue: 1_024,
            queue_timeout: Duration::from_secs(1),
        }
    }
}
