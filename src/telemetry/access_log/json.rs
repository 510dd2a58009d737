//! The members of a line in JSON.
//!
//! Their names are written as they are: to have them escaped, as what serializes a whole struct does, costs more than
//! the values.

use std::io;
use std::time::Duration;

use serde::Serialize;

use super::Access;

/// Writes all that is behind the time, to the end of the line.
pub(super) fn write(access: &Access<'_>, line: &mut Vec<u8>) -> io::Result<()> {
    member(line, ",\"client\":", &access.client)?;
    member(line, ",\"method\":", &access.method)?;
    member(line, ",\"host\":", &access.host)?;
    member(line, ",\"target\":", &access.target)?;
    member(line, ",\"protocol\":", access.protocol)?;
    member(line, ",\"status\":", &access.status)?;
    member(line, ",\"request_id\":", &access.request_id)?;
    member(line, ",\"route\":", &access.route)?;
    member(line, ",\"pool\":", &access.pool)?;
    member(line, ",\"backend\":", &access.backend)?;
    member(line, ",\"tries\":", &access.tries)?;
    member(line, ",\"queue_us\":", &microseconds(access.queue))?;
    member(line, ",\"connect_us\":", &microseconds(access.connect))?;
    member(
        line,
        ",\"first_byte_us\":",
        &microseconds(access.first_byte),
    )?;
    member(line, ",\"total_us\":", &microseconds(access.total))?;
    member(line, ",\"received\":", &access.received)?;
    member(line, ",\"sent\":", &access.sent)?;
    member(line, ",\"revision\":", &access.revision)?;
    member(line, ",\"reason\":", access.reason)?;
    line.extend_from_slice(b"}\n");
    Ok(())
}

/// `name` with all that stands around it.
fn member<T: Serialize + ?Sized>(line: &mut Vec<u8>, name: &str, value: &T) -> io::Result<()> {
    line.extend_from_slice(name.as_bytes());
    serde_json::to_writer(line, value).map_err(io::Error::from)
}

fn microseconds(duration: Option<Duration>) -> Option<u64> {
    duration.map(|duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}
