//! The slow and strict reader: names the rule that a head breaks.
//!
//! It runs only on heads that were refused already, and in tests, as a second judge of what the quick reader accepts.

use super::MAX_FIELDS;
use super::refusal::Reason;
use crate::wire::fields::{is_token_byte, is_value_byte};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Request,
    Response,
}

/// Why a message that starts with this byte is no request.
pub(super) fn no_request(byte: u8) -> Reason {
    match byte {
        b'\n' => Reason::BareLf,
        b'\r' | b' ' | b'\t' => Reason::NoStartLine,
        byte if byte.is_ascii_control() => Reason::ControlByte,
        _ => Reason::BadMethod,
    }
}

/// The first rule that `head` breaks, from the top; it ends with its blank line.
pub(super) fn broken_rule(head: &[u8], start: Start) -> Reason {
    read(head, start).err().unwrap_or(Reason::Malformed)
}

/// Reads a whole head by the letter.
pub(super) fn read(head: &[u8], start: Start) -> Result<(), Reason> {
    let mut lines = head.split_inclusive(|&byte| byte == b'\n');
    let first = ended(lines.next().unwrap_or(b""))?;
    match start {
        Start::Request => request_line(first)?,
        Start::Response => status_line(first)?,
    }
    let mut count = 0;
    for line in lines {
        let line = ended(line)?;
        if line.is_empty() {
            break;
        }
        field_line(line)?;
        count += 1;
    }
    if count > MAX_FIELDS {
        Err(Reason::TooManyFields)
    } else {
        Ok(())
    }
}

/// The line without its CRLF.
fn ended(line: &[u8]) -> Result<&[u8], Reason> {
    let line = line.strip_suffix(b"\n").ok_or(Reason::Malformed)?;
    let line = line.strip_suffix(b"\r").ok_or(Reason::BareLf)?;
    if line.contains(&b'\r') {
        Err(Reason::BareCr)
    } else {
        Ok(line)
    }
}

fn request_line(line: &[u8]) -> Result<(), Reason> {
    if line.is_empty() {
        return Err(Reason::NoStartLine);
    }
    if line
        .iter()
        .any(|byte| byte.is_ascii_control() && *byte != b'\t')
    {
        return Err(Reason::ControlByte);
    }
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Reason::BadStartLine);
    };
    if method.is_empty() || target.is_empty() || version.is_empty() || line.contains(&b'\t') {
        return Err(Reason::BadStartLine);
    }
    if !method.iter().copied().all(is_token_byte) {
        return Err(Reason::BadMethod);
    }
    self::version(version)?;
    if target.iter().all(u8::is_ascii_graphic) {
        Ok(())
    } else {
        Err(Reason::TargetByte)
    }
}

fn status_line(line: &[u8]) -> Result<(), Reason> {
    let (version, rest) = line
        .split_at_checked("HTTP/1.1".len())
        .ok_or(Reason::BadStartLine)?;
    self::version(version)?;
    let (status, reason) = rest
        .split_at_checked(" 200".len())
        .ok_or(Reason::BadStatus)?;
    let [b' ', b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] = status else {
        return Err(Reason::BadStatus);
    };
    if !reason.is_empty() && reason[0] != b' ' {
        return Err(Reason::BadStatus);
    }
    if reason.iter().copied().all(is_value_byte) {
        Ok(())
    } else {
        Err(Reason::ControlByte)
    }
}

fn version(version: &[u8]) -> Result<(), Reason> {
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(Reason::UnsupportedVersion)
        }
        _ => Err(Reason::BadVersion),
    }
}

fn field_line(line: &[u8]) -> Result<(), Reason> {
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Err(Reason::FoldedField);
    }
    if line
        .iter()
        .any(|byte| byte.is_ascii_control() && *byte != b'\t')
    {
        return Err(Reason::ControlByte);
    }
    let colon = line
        .iter()
        .position(|&byte| byte == b':')
        .ok_or(Reason::BadFieldName)?;
    let (name, value) = line.split_at(colon);
    if name.ends_with(b" ") || name.ends_with(b"\t") {
        return Err(Reason::SpaceBeforeColon);
    }
    if name.is_empty() || !name.iter().copied().all(is_token_byte) {
        return Err(Reason::BadFieldName);
    }
    if value.iter().copied().all(is_value_byte) {
        Ok(())
    } else {
        Err(Reason::ControlByte)
    }
}
