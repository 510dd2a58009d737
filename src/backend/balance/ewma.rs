//! The cheaper of two, the first drawn by weight, where a member costs its latency times what is in flight there.
//!
//! Latency is the peak EWMA of the time to the first byte; a failure is charged as a very slow answer, so who fails
//! fast attracts nothing. Nothing is known of a new member: one request may find out, the others wait for it.

use std::sync::Arc;
use std::time::Instant;

use super::Member;
use super::draw::Draws;
use super::members::Members;
use crate::backend::latency::{FAILURE, Millis};
use crate::backend::member::Backend;

/// Members to draw from.
#[derive(Debug)]
pub struct Ewma {
    members: Arc<Members>,
    draws: Draws,
}

impl Ewma {
    pub(super) fn new(members: Vec<Member>) -> Self {
        Self {
            draws: Draws::new(&members),
            members: Arc::new(Members::new(members)),
        }
    }

    pub(super) fn members(&self) -> &Arc<Members> {
        &self.members
    }

    pub(super) fn pick(&self, tried: &[u64]) -> Option<&Arc<Backend>> {
        let (first, second) = self.draws.two(&self.members, tried)?;
        let first = &self.members[first];
        let Some(second) = second.map(|second| &self.members[second]) else {
            return Some(&first.backend);
        };
        let now = Millis::of(Instant::now());
        let cheaper = cost(second, now) < cost(first, now);
        Some(if cheaper {
            &second.backend
        } else {
            &first.backend
        })
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
