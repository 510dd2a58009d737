//! Faults that a route makes on purpose, to see how its clients bear them.

use std::time::Duration;

use super::connection::Client;
use super::failure::Failure;
use crate::config::policy::FaultInjection;

/// Holds the request, but no longer than `total`, and fails it, as drawn.
pub(crate) async fn inject(
    injection: &FaultInjection,
    total: Option<Duration>,
    client: &mut Client,
) -> Result<(), Failure> {
    if let Some(delay) = &injection.delay
        && drawn(delay.percent)
    {
        let late = total.filter(|total| *total < delay.time);
        let held = tokio::time::sleep(late.unwrap_or(delay.time));
        client.while_there(held).await?;
        if late.is_some() {
            return Err(Failure::AnswerTimeout);
        }
    }
    match &injection.abort {
        Some(abort) if drawn(abort.percent) => Err(Failure::Injected(abort.status)),
        _ => Ok(()),
    }
}

/// True so many times in a hundred.
pub(super) fn drawn(percent: u32) -> bool {
    rand::random_range(0..100) < percent
}
