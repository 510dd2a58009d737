//! From a buffer to a head: complete, incomplete, or refused.
//!
//! The quick reader takes the head apart if it is whole and keeps the rules of syntax; what it means is settled here.
//! If it does not the scan tells whether it is whole, and the slow and strict reader names the broken rule.

use super::quick::{self, RequestLine};
use super::refusal::{Reason, Refusal, Side};
use super::strict::{self, Start};
use super::{MAX_METHOD, Scan, framing, hop, target};
use crate::wire::body::BodyKind;
use crate::wire::field::Known;
use crate::wire::fields::{Fields, is_token_byte, members};
use crate::wire::head::{RequestHead, ResponseHead, Version};

/// What a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The start of a head: read more behind it and call again.
    Incomplete,
    /// A head of `len` bytes; the body starts behind them.
    Head {
        /// Bytes of the buffer it took.
        len: usize,
    },
}

/// Looks for a request's head at the start of `buffer`.
///
/// Each call gets the whole buffer since the message's start, and the same `scan`. One CRLF before the request is
/// passed over (RFC 9112, section 2.2). `head` is meaningful after [`Parsed::Head`] only.
pub fn parse_request(
    buffer: &[u8],
    scan: &mut Scan,
    head: &mut RequestHead,
) -> Result<Parsed, Refusal> {
    request(buffer, scan, head).map_err(|reason| Refusal::of(Side::Client, reason))
}

/// Looks for a response's head at the start of `buffer`; `method` is that of the request it answers.
///
/// Each call gets the whole buffer since the message's start, and the same `scan`. `head` is meaningful after
/// [`Parsed::Head`] only.
pub fn parse_response(
    buffer: &[u8],
    scan: &mut Scan,
    method: &str,
    head: &mut ResponseHead,
) -> Result<Parsed, Refusal> {
    response(buffer, scan, method, head).map_err(|reason| Refusal::of(Side::Backend, reason))
}

fn request(buffer: &[u8], scan: &mut Scan, head: &mut RequestHead) -> Result<Parsed, Reason> {
    let start = if buffer.starts_with(b"\r\n") { 2 } else { 0 };
    match buffer.get(start) {
        // A lone CR may become the CRLF that is passed over.
        None => return Ok(Parsed::Incomplete),
        Some(b'\r') if start == 0 && buffer.len() == 1 => return Ok(Parsed::Incomplete),
        // What is no HTTP at all is refused at its first byte.
        Some(&byte) if !is_token_byte(byte) => return Err(strict::no_request(byte)),
        Some(_) => {}
    }
    let fields = &mut head.fields;
    let read = |bytes| quick::head(bytes, quick::request_line, fields);
    let Some((line, end)) = take(buffer, start, scan, Start::Request, read)? else {
        return Ok(Parsed::Incomplete);
    };
    let version = line.version;
    if head.fields.has(Known::FalseFraming) {
        return Err(Reason::FalseFraming);
    }
    start_request(head, line)?;
    head.body = framing::declared(version, &head.fields)?.unwrap_or(BodyKind::None);
    head.keep_alive = framing::persists(version, &head.fields);
    hop::skip_nominated(&mut head.fields)?;
    if head.fields.has(Known::Expect) {
        expectations(version, &head.fields)?;
    }
    Ok(Parsed::Head { len: end })
}

/// There is one that anybody knows (RFC 9110, 10.1.1); in HTTP/1.0 none counts.
fn expectations(version: Version, fields: &Fields) -> Result<(), Reason> {
    let known = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
    let mut all = fields.values(Known::Expect).flat_map(members);
    if version == Version::Http10 || all.all(known) {
        Ok(())
    } else {
        Err(Reason::UnknownExpectation)
    }
}

/// Reads the head at `start`, which mostly is whole at the first look; none while it is not. What breaks a rule is
/// named the same, however it came.
fn take<'a, T>(
    buffer: &'a [u8],
    start: usize,
    scan: &mut Scan,
    side: Start,
    mut read: impl FnMut(&'a [u8]) -> Option<(T, usize)>,
) -> Result<Option<(T, usize)>, Reason> {
    if scan.is_fresh()
        && let Some((line, len)) = read(&buffer[start..])
    {
        return Ok(Some((line, start + len)));
    }
    match scan.find_end(buffer, start) {
        Ok(None) => Ok(None),
        Ok(Some(end)) => match read(&buffer[start..end]) {
            Some((line, _)) => Ok(Some((line, end))),
            None => Err(strict::broken_rule(&buffer[start..end], side)),
        },
        // Responses have no target.
        Err(Reason::TargetTooLong) if side == Start::Response => Err(Reason::BadStartLine),
        Err(reason) => Err(reason),
    }
}

fn start_request(head: &mut RequestHead, line: RequestLine<'_>) -> Result<(), Reason> {
    let base = line.method + 1;
    let (method, target) = (&line.asked[..line.method], &line.asked[base..]);
    if method.len() > MAX_METHOD {
        return Err(Reason::MethodTooLong);
    }
    if method == "CONNECT" {
        return Err(Reason::Connect);
    }
    let parts = target::parse(method, target)?;
    head.line.clear();
    let (before, query) = line.asked.split_at(base + parts.query);
    match target::without_quotes(query) {
        Some(escaped) => head.line.extend([before, &escaped]),
        None => head.line.push_str(line.asked),
    }
    (head.method_len, head.path, head.query) =
        (method.len(), base + parts.path, base + parts.query);
    (head.form, head.version) = (parts.form, line.version);
    name_host(head, target, parts.authority)
}

/// Settles which host is asked for: Host and an absolute target must not name two.
fn name_host(head: &mut RequestHead, target: &str, asked: Option<&str>) -> Result<(), Reason> {
    let mut hosts = head.fields.values(Known::Host);
    let (first, second) = (hosts.next(), hosts.next());
    let named = match (first, second) {
        (_, Some(_)) => return Err(Reason::RepeatedHost),
        (None, None) if head.version == Version::Http11 => return Err(Reason::NoHost),
        (None, None) => None,
        // Mostly that of the request before, and then what came of it is there.
        (Some(value), None) if asked.is_none() && head.is_of_host(value) => return Ok(()),
        (Some(value), None) => Some(std::str::from_utf8(value).map_err(|_| Reason::BadHost)?),
    };
    head.authority.clear();
    head.host.clear();
    if let (Some(named), Some(asked)) = (named, asked) {
        target::host_of(asked)?;
        target::host_of(named)?;
        let https = target
            .as_bytes()
            .get(4)
            .is_some_and(|byte| byte.eq_ignore_ascii_case(&b's'));
        if !target::same_place(named, asked, https) {
            return Err(Reason::HostMismatch);
        }
    }
    if let Some(authority) = named.or(asked) {
        let host = target::host_of(authority)?;
        head.authority.push_str(authority);
        head.host.push_str(host.strip_suffix('.').unwrap_or(host));
        head.host.make_ascii_lowercase();
    }
    Ok(())
}

fn response(
    buffer: &[u8],
    scan: &mut Scan,
    method: &str,
    head: &mut ResponseHead,
) -> Result<Parsed, Reason> {
    let seen = buffer.len().min(5);
    if buffer[..seen] != b"HTTP/"[..seen] {
        return Err(Reason::BadStartLine);
    }
    let fields = &mut head.fields;
    let read = |bytes| quick::head(bytes, quick::status_line, fields);
    let Some((line, end)) = take(buffer, 0, scan, Start::Response, read)? else {
        return Ok(Parsed::Incomplete);
    };
    let status = line.status;
    (head.version, head.status) = (line.version, status);
    head.reason.clear();
    head.reason.extend_from_slice(line.reason);
    let declared = framing::declared(head.version, &head.fields)?;
    head.body = framing::of_response(status, method, declared);
    // A 204 that declares a body may well send it: what follows on that connection cannot be trusted.
    let suspect = status == 204 && declared.is_some_and(|kind| kind != BodyKind::None);
    let open_ended = head.body == BodyKind::UntilClose;
    head.keep_alive = framing::persists(head.version, &head.fields) && !open_ended && !suspect;
    hop::skip_nominated(&mut head.fields)?;
    Ok(Parsed::Head { len: end })
}
