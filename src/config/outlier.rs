//! When a backend is ejected for what requests meet there, and for how long.

use std::time::Duration;

use serde::Serialize;

use super::friendly;
use super::health::PANIC_PERCENT;

/// Passive ejection: a backend that fails requests gets none for a while. Always on unless all that leads to it is
/// switched off.
///
/// A failure is a status from 500 on but for 501 and 505, no connection, a reset, a timeout, or what is no HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outlier {
    /// Failures in a row that eject; 0 switches that off. 5.
    pub consecutive_failures: u32,
    /// The share of failures within an interval that ejects, in percent; 0 switches that off. 50.
    pub failure_percent: u32,
    /// An interval with fewer requests to the backend says nothing about its share. 20.
    pub min_requests: u32,
    /// Over which the share is taken. 10 s.
    #[serde(serialize_with = "friendly::serialize")]
    pub interval: Duration,
    /// How long the first ejection lasts; the next ones as much longer each. 30 s.
    #[serde(serialize_with = "friendly::serialize")]
    pub ejection_time: Duration,
    /// How long any may last. 5 min.
    #[serde(serialize_with = "friendly::serialize")]
    pub max_ejection_time: Duration,
    /// The share of the pool's backends that may be ejected at a time, in percent, but at least one; 0 ejects none. 10.
    pub max_percent: u32,
    /// Of a pool without checks: with a smaller share of its backends up, it uses all of them (panic); 0 switches that
    /// off. 50. A pool with checks goes by what those say.
    #[serde(skip_serializing_if = "is_usual")]
    pub panic_percent: u32,
}

/// What builds without the field have: written or not, it is the same config by its digest.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_usual(panic_percent: &u32) -> bool {
    *panic_percent == PANIC_PERCENT
}

impl Outlier {
    /// Whether nothing leads to an ejection.
    pub fn is_off(&self) -> bool {
        self.max_percent == 0 || (self.consecutive_failures == 0 && self.failure_percent == 0)
    }

    /// Failures in a row that eject; 0 if none do.
    pub fn enough_in_a_row(&self) -> u32 {
        if self.is_off() {
            0
        } else {
            self.consecutive_failures
        }
    }

    /// How many of so many backends may be ejected at a time.
    pub fn most_of(&self, backends: usize) -> usize {
        if self.is_off() {
            return 0;
        }
        (backends * self.max_percent as usize / 100).max(1)
    }
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            failure_percent: 50,
            min_requests: 20,
            interval: Duration::from_secs(10),
            ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_mins(5),
            max_percent: 10,
            panic_percent: PANIC_PERCENT,
        }
    }
}
