//! What people and programs are told of a backend's health: checks and ejection in one word, with the reason.

use std::time::Instant;

use super::health::Health;
use super::member::Backend;

/// In one word, and why; there is a reason if it is not up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `up`, `down`, `unknown` or `unchecked` as the checks say; `ejected` if it is and they do not say `down`.
    pub name: &'static str,
    /// Why.
    pub reason: Option<String>,
}

impl Backend {
    /// As of now.
    pub fn condition(&self) -> Condition {
        let health = self.health();
        let told = Condition {
            name: health.name(),
            reason: self.health_reason(),
        };
        if health == Health::Unhealthy {
            return told;
        }
        self.ejection().map_or(told, |ejection| {
            let left = ejection.until.saturating_duration_since(Instant::now());
            let seconds = left.as_secs_f64().ceil();
            Condition {
                name: "ejected",
                reason: Some(format!("{}; for {seconds} s more", ejection.why)),
            }
        })
    }
}
