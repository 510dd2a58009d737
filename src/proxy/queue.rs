//! Waits in the queue of a pool that is at its limits, until a backend has room or the time is over.

use std::pin::pin;
use std::time::Instant;

use super::failure::Failure;
use super::forward::Job;
use crate::backend::InFlight;
use crate::routing::PoolEntry;

/// A request begun at a backend that has room, in the order of coming.
pub(crate) async fn wait(
    job: &mut Job<'_>,
    pool: &PoolEntry,
    hash: u64,
) -> Result<InFlight, Failure> {
    let Some(place) = pool.queue() else {
        return Err(Failure::QueueFull);
    };
    let began = Instant::now();
    let limits = pool.spec().limits.as_ref();
    job.client.deadline.set(
        limits
            .map(|limits| limits.queue_timeout)
            .unwrap_or_default(),
    );
    // Who came before goes first; but where nobody waited, room made meanwhile has woken nobody.
    let mut looks = place.is_first();
    let admitted = loop {
        let mut freed = pin!(place.freed());
        // Told of what ends from here on.
        freed.as_mut().enable();
        if looks && let Some(in_flight) = pool.admit(hash, &[]) {
            // Only then: who is woken for nothing has to queue up anew.
            if pool.has_room() {
                place.pass_on();
            }
            break Ok(in_flight);
        }
        if !pool.is_full() {
            break Err(Failure::NoBackend);
        }
        match job.client.bound(|cx| freed.as_mut().poll(cx)).await {
            Ok(Ok(())) => looks = true,
            Ok(Err(gone)) => break Err(gone),
            Err(_) => {
                place.timed_out();
                break Err(Failure::QueueTimeout);
            }
        }
    };
    let now = Instant::now();
    job.record.queue.set(Some(now - began));
    job.record.asked.set(now);
    admitted
}
