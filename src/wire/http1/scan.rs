//! Finds the end of a head in a buffer that grows, looking at each byte once.
//!
//! Lines end in CRLF and nothing else, so a bare LF is refused here, before more is waited for.

use super::refusal::Reason;
use super::{MAX_FIELDS, MAX_HEAD, MAX_START_LINE};

/// How far a buffer is known. Starts as `default()` and goes back to it with each complete head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The search for the next LF goes on here.
    at: usize,
    /// Where the line being read starts.
    line: usize,
    /// Complete lines so far.
    lines: usize,
}

impl Scan {
    /// Whether nothing was looked at yet.
    pub(super) fn is_fresh(&self) -> bool {
        *self == Self::default()
    }

    /// The length of the head at `start`, counted from the buffer's beginning; none while it is incomplete.
    ///
    /// `start` is the same in each call with the same buffer.
    pub(super) fn find_end(
        &mut self,
        buffer: &[u8],
        start: usize,
    ) -> Result<Option<usize>, Reason> {
        let window = &buffer[..buffer.len().min(start + MAX_HEAD)];
        self.at = self.at.max(start);
        self.line = self.line.max(start);
        while let Some(offset) = window
            .get(self.at..)
            .and_then(|rest| memchr::memchr(b'\n', rest))
        {
            let lf = self.at + offset;
            self.bound_start_line(lf)?;
            if lf == self.line || window[lf - 1] != b'\r' {
                return Err(Reason::BareLf);
            }
            if lf == self.line + 1 {
                *self = Scan::default();
                return Ok(Some(lf + 1));
            }
            self.lines += 1;
            if self.lines > MAX_FIELDS + 1 {
                return Err(Reason::TooManyFields);
            }
            (self.at, self.line) = (lf + 1, lf + 1);
        }
        self.at = window.len().max(self.at);
        self.bound_start_line(window.len())?;
        if window.len() == start + MAX_HEAD {
            Err(Reason::HeadTooLarge)
        } else {
            Ok(None)
        }
    }

    fn bound_start_line(&self, end: usize) -> Result<(), Reason> {
        let too_long = self.lines == 0 && end.saturating_sub(self.line) > MAX_START_LINE;
        if too_long {
            Err(Reason::TargetTooLong)
        } else {
            Ok(())
        }
    }
}
