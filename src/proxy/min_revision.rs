//! Requests that are to be served by a config not older than one their sender knows of (`Synod-Min-Revision`): who has
//! written to one node may so go on at another.

use std::time::Duration;

use tokio::time::timeout;

use super::connection::Client;
use super::failure::Failure;
use crate::wire::field::Known;
use crate::wire::head::RequestHead;

/// How long a request waits for its revision.
const LONGEST: Duration = Duration::from_secs(1);

/// Returns once this node serves the revision that a trusted client asks for. Others may not hold requests up.
pub(crate) async fn wait(client: &Client, request: &RequestHead) -> Result<(), Failure> {
    let asked = request.fields().value(Known::SynodMinRevision);
    let Some(asked) = asked.filter(|_| client.listener.trusts(client.peer)) else {
        return Ok(());
    };
    let digits = asked.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(asked).unwrap_or_default();
    let Some(revision) = text.parse::<u64>().ok().filter(|_| digits) else {
        return Err(Failure::NoRevision);
    };
    let worker = &client.worker;
    let mut stored = worker.shared.cell.watch();
    let served = async {
        loop {
            stored.mark_unchanged();
            if worker.snapshot().revision.0 >= revision {
                return Ok(());
            }
            // Its sender is in the cell, which the worker holds.
            stored.changed().await.map_err(|_| Failure::RevisionAhead)?;
        }
    };
    timeout(LONGEST, served)
        .await
        .unwrap_or(Err(Failure::RevisionAhead))
}
