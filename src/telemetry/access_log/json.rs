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
    // All are named, so that none is left out.
    let Access {
        time: _,
        referer: _,
        user_agent: _,
        client,
        method,
        host,
        target,
        protocol,
        status,
        request_id,
        route,
        pool,
        backend,
        tries,
        queue,
        connect,
        first_byte,
        total,
        received,
        sent,
        revision,
        reason,
        detail,
    } = access;
    member(line, ",\"client\":", client)?;
    member(line, ",\"method\":", method)?;
    member(line, ",\"host\":", host)?;
    member(line, ",\"target\":", target)?;
    member(line, ",\"protocol\":", *protocol)?;
    member(line, ",\"status\":", status)?;
    member(line, ",\"request_id\":", request_id)?;
    member(line, ",\"route\":", route)?;
    member(line, ",\"pool\":", pool)?;
    member(line, ",\"backend\":", backend)?;
    member(line, ",\"tries\":", tries)?;
    member(line, ",\"queue_us\":", &microseconds(*queue))?;
    member(line, ",\"connect_us\":", &microseconds(*connect))?;
    member(line, ",\"first_byte_us\":", &microseconds(*first_byte))?;
    member(line, ",\"total_us\":", &microseconds(*total))?;
    member(line, ",\"received\":", received)?;
    member(line, ",\"sent\":", sent)?;
    member(line, ",\"revision\":", revision)?;
    member(line, ",\"reason\":", *reason)?;
    member(line, ",\"detail\":", detail)?;
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
