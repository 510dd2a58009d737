//! Tells a torn tail, which a crash leaves and which may be cut, from damage, which may have been acknowledged.
//!
//! A bad record is a torn tail only in the last segment, past every position known to be synced, with no valid record
//! behind it, and with one of its sectors still all zero (a sector that was written never is). All else is damage: it
//! is left where it is and described here. Guarded by `tests::damage_is_never_cut` and the simulation.

use std::fmt;

use super::Error;
use super::record::{self, Flaw, Position, SECTOR};
use super::segment;
use super::window::Window;
use crate::bugs::{Bug, broken};
use crate::paxos::Slot;

/// A place in the log that does not read back as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file.
    pub file: String,
    /// Where in it the first bad byte may be.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
    /// The entries up to this slot are good.
    pub good: Slot,
}

impl Damage {
    pub(super) fn at(position: Position, reason: impl fmt::Display, good: Slot) -> Self {
        let file = segment::name(position.segment);
        Damage {
            file,
            offset: position.offset,
            reason: reason.to_string(),
            good,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage {
            file,
            offset,
            reason,
            good,
        } = self;
        write!(
            f,
            "the log is damaged in {file} at byte {offset}: {reason}; entries up to slot {good} are good. Nothing was \
             cut, for what is there may have been acknowledged. This voter takes no part until a leader has brought \
             it up to date; where it is the only voter, make a new group of a backup or of what is good (synod restore)"
        )
    }
}

/// Whether the bad record at `at`, in the last segment, is a torn tail; if not, why.
pub(super) fn judge<W: Window>(
    window: &mut W,
    at: Position,
    flaw: Flaw,
    known_synced: Position,
) -> Result<Result<(), String>, Error> {
    if broken(Bug::Fast18) {
        return Ok(Ok(()));
    }
    if at < known_synced {
        let known = known_synced.offset;
        return Ok(Err(format!(
            "{flaw}, though the log is known to be synced up to byte {known}"
        )));
    }
    let end = written_end(window, at.offset)?;
    for offset in (at.offset..end).step_by(SECTOR).skip(1) {
        // A header is written when all before it is synced; so that it verifies is enough, whatever its payload does.
        if record::announced(window, Position { offset, ..at })?.is_some() {
            return Ok(Err(format!(
                "{flaw}, and a valid record stands behind it, at byte {offset}"
            )));
        }
    }
    let extent = match record::announced(window, at)? {
        Some(length) => at.offset + record::size(length),
        // A header lies in one sector: one that is neither whole nor zero has rotted.
        None => at.offset + SECTOR as u64,
    };
    if extent > window.size() {
        return Ok(Err(Flaw::Length.to_string()));
    }
    for offset in (at.offset..extent).step_by(SECTOR) {
        if is_zero(window.bytes(offset, SECTOR)?) {
            return Ok(Ok(()));
        }
    }
    Ok(Err(format!("{flaw}, and it was written whole")))
}

/// Where the last sector that is not all zero ends, from the sector at `from` on; `from` when there is none.
pub(super) fn written_end<W: Window>(window: &mut W, from: u64) -> Result<u64, Error> {
    let mut end = from;
    let whole = window.size() - window.size() % SECTOR as u64;
    for offset in (from..whole).step_by(SECTOR) {
        if !is_zero(window.bytes(offset, SECTOR)?) {
            end = offset + SECTOR as u64;
        }
    }
    Ok(end)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
