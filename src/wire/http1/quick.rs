//! The quick reader: takes a head apart in one pass, if it keeps every rule.
//!
//! It says nothing of a head that does not, nor of one that is not whole or too large: what is wrong the scan and the
//! strict reader tell. So it has to be right only in what it accepts, and the strict reader is the judge of that.

use super::{MAX_FIELDS, MAX_HEAD, MAX_START_LINE};
use crate::wire::fields::{CRLF, Fields, line_len, token_len};
use crate::wire::head::Version;

/// The first line of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLine<'a> {
    /// Method, one space, and target.
    pub(super) asked: &'a str,
    /// Bytes of the method.
    pub(super) method: usize,
    pub(super) version: Version,
}

/// The first line of a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatusLine<'a> {
    pub(super) version: Version,
    pub(super) status: u16,
    pub(super) reason: &'a [u8],
}

/// Reads the head at the start of `buffer`: its first line with `first`, the others into `fields`. Tells where it ends.
pub(super) fn head<'a, L>(
    buffer: &'a [u8],
    first: impl FnOnce(&'a [u8]) -> Option<L>,
    fields: &mut Fields,
) -> Option<(L, usize)> {
    let window = &buffer[..buffer.len().min(MAX_HEAD)];
    let len = line_len(window).filter(|len| *len < MAX_START_LINE)?;
    let first = first(&window[..len])?;
    let block = len + CRLF.len();
    let end = block + fields.read(&window[block..], MAX_FIELDS)?;
    Some((first, end))
}

/// Method, target and version, with one space between them. What bytes a target holds is checked when it is taken
/// apart.
pub(super) fn request_line(line: &[u8]) -> Option<RequestLine<'_>> {
    let method = token_len(line);
    let behind = line[method..].strip_prefix(b" ")?;
    // No target has a tab in it, and a tab parts nothing.
    let target = memchr::memchr2(b' ', b'\t', behind)?;
    let version = match &behind[target..] {
        b" HTTP/1.1" => Version::Http11,
        b" HTTP/1.0" => Version::Http10,
        _ => return None,
    };
    if method == 0 || target == 0 {
        return None;
    }
    Some(RequestLine {
        asked: str::from_utf8(&line[..method + 1 + target]).ok()?,
        method,
        version,
    })
}

/// Version and status, and perhaps a reason.
pub(super) fn status_line(line: &[u8]) -> Option<StatusLine<'_>> {
    let (version, rest) = line.split_at_checked("HTTP/1.1 ".len())?;
    let version = match version {
        b"HTTP/1.1 " => Version::Http11,
        b"HTTP/1.0 " => Version::Http10,
        _ => return None,
    };
    let (status, reason) = rest.split_at_checked("200".len())?;
    let [
        hundreds @ b'1'..=b'9',
        tens @ b'0'..=b'9',
        ones @ b'0'..=b'9',
    ] = status
    else {
        return None;
    };
    let digit = |byte: &u8| u16::from(byte - b'0');
    Some(StatusLine {
        version,
        status: digit(hundreds) * 100 + digit(tens) * 10 + digit(ones),
        reason: match reason {
            [] => reason,
            [b' ', words @ ..] => words,
            _ => return None,
        },
    })
}
