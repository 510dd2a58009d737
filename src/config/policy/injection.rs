//! Faults made on purpose, to see how clients bear them.

use std::time::Duration;

use serde::Serialize;

use crate::config::friendly;

/// What goes wrong with requests of a route on purpose: at least one of these. Each is drawn for a request by itself,
/// so of two at 50 % a quarter of the requests meets both: the delay first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultInjection {
    /// They wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// They are answered by the proxy, and no backend sees them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort: Option<Abort>,
}

/// A wait before a request goes on. The time counts in the route's `timeouts.total`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delay {
    /// Of how many requests in a hundred. 100.
    pub percent: u32,
    /// For so long.
    #[serde(rename = "for", serialize_with = "friendly::serialize")]
    pub time: Duration,
}

/// An answer in a backend's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Abort {
    /// To how many requests in a hundred. 100.
    pub percent: u32,
    /// 400 to 599. 503.
    pub status: u16,
}
