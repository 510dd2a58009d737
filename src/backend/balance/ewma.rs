//! The cheaper of two, the first drawn by weight, where a member costs its latency times what is in flight there.
//!
//! Latency is the peak EWMA of the time to the first byte; a failure is charged as a very slow answer, so who fails
//! fast attracts nothing. Nothing is known of a new member: one request may find out, the others wait for it.

use std::time::Instant;

use super::Member;
use super::draw::Draws;
use super::members::Members;
use crate::backend::latency::{FAILURE, Millis};

#[derive(Debug)]
pub(super) struct Ewma(Draws);

impl Ewma {
    pub(super) fn new(members: &[Member]) -> Self {
        Self(Draws::new(members))
    }

    pub(super) fn pick(&self, members: &Members, tried: &[u64]) -> Option<usize> {
        let (first, second) = self.0.two(members, tried)?;
        let Some(second) = second else {
            return Some(first);
        };
        let now = Millis::of(Instant::now());
        let cheaper = cost(&members[second], now) < cost(&members[first], now);
        Some(if cheaper { second } else { first })
    }
}

fn cost(member: &Member, now: Millis) -> f64 {
    let in_flight = f64::from(member.backend.in_flight());
    match member.backend.latency(now) {
        Some(micros) => micros * (in_flight * 100.0 / member.share() as f64 + 1.0),
        None if in_flight == 0.0 => 0.0,
        None => FAILURE.as_micros() as f64 * in_flight,
    }
}
