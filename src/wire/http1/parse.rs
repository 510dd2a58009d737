//! From a buffer to a head: complete, incomplete, or refused.
//!
//! The scan finds the head's end; httparse reads it once, when it is whole; what httparse is lenient about is checked
//! here. A head that httparse refuses is read again by the slow and strict reader, only to name the broken rule.

use std::mem::MaybeUninit;

use super::refusal::{Reason, Refusal, Side};
use super::{MAX_FIELDS, MAX_METHOD, Scan, framing, hop, strict, target};
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
    let Some(end) = scan.find_end(buffer, start)? else {
        return Ok(Parsed::Incomplete);
    };
    let bytes = &buffer[start..end];
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(len)) if len == bytes.len() => {}
        _ => return Err(broken_rule(buffer, start, strict::Start::Request)),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Reason::Malformed);
    };
    let version = if version == 0 {
        Version::Http10
    } else {
        Version::Http11
    };
    // Where each line ends in CRLF the fields start here and nowhere else.
    let block = method.len() + 1 + target.len() + " HTTP/1.1\r\n".len();
    let exact = bytes
        .get(..block)
        .is_some_and(|line| line.ends_with(b"\r\n"));
    if !exact
        || !head
            .fields
            .fill(&bytes[block..bytes.len() - 2], parsed.headers)
    {
        return Err(broken_rule(buffer, start, strict::Start::Request));
    }
    if head.fields.has(Known::FalseFraming) {
        return Err(Reason::FalseFraming);
    }
    start_request(head, method, target, version)?;
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

fn start_request(
    head: &mut RequestHead,
    method: &str,
    target: &str,
    version: Version,
) -> Result<(), Reason> {
    if method.len() > MAX_METHOD {
        return Err(Reason::MethodTooLong);
    }
    if method == "CONNECT" {
        return Err(Reason::Connect);
    }
    let parts = target::parse(method, target)?;
    head.line.clear();
    head.line.push_str(method);
    head.line.push(' ');
    head.line.push_str(target);
    let base = method.len() + 1;
    (head.method_len, head.path, head.query) =
        (method.len(), base + parts.path, base + parts.query);
    (head.form, head.version) = (parts.form, version);
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

/// The first rule that the head at `start` breaks: the same, however it came.
#[cold]
fn broken_rule(buffer: &[u8], start: usize, side: strict::Start) -> Reason {
    match (Scan::default().find_end_by_line(buffer, start), side) {
        (Ok(Some(end)), side) => strict::broken_rule(&buffer[start..end], side),
        (Ok(None), _) => Reason::Malformed,
        (Err(reason), strict::Start::Request) => reason,
        (Err(reason), strict::Start::Response) => of_status_line(reason),
    }
}

/// Responses have no target.
fn of_status_line(reason: Reason) -> Reason {
    match reason {
        Reason::TargetTooLong => Reason::BadStartLine,
        reason => reason,
    }
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
    let end = match scan.find_end(buffer, 0) {
        Ok(Some(end)) => end,
        Ok(None) => return Ok(Parsed::Incomplete),
        Err(reason) => return Err(of_status_line(reason)),
    };
    let bytes = &buffer[..end];
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields) {
        Ok(httparse::Status::Complete(len)) if len == bytes.len() => {}
        _ => return Err(broken_rule(buffer, 0, strict::Start::Response)),
    }
    let (Some(version), Some(status)) = (parsed.version, parsed.code) else {
        return Err(Reason::Malformed);
    };
    head.version = if version == 0 {
        Version::Http10
    } else {
        Version::Http11
    };
    let block = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |lf| lf + 1);
    if status < 100 {
        return Err(Reason::BadStatus);
    }
    let exact = bytes[..block].ends_with(b"\r\n");
    if !exact
        || !head
            .fields
            .fill(&bytes[block..bytes.len() - 2], parsed.headers)
    {
        return Err(broken_rule(buffer, 0, strict::Start::Response));
    }
    head.status = status;
    head.reason.clear();
    head.reason
        .extend_from_slice(bytes.get("HTTP/1.1 200 ".len()..block - 2).unwrap_or(b""));
    let declared = framing::declared(head.version, &head.fields)?;
    head.body = framing::of_response(status, method, declared);
    // A 204 that declares a body may well send it: what follows on that connection cannot be trusted.
    let suspect = status == 204 && declared.is_some_and(|kind| kind != BodyKind::None);
    let open_ended = head.body == BodyKind::UntilClose;
    head.keep_alive = framing::persists(head.version, &head.fields) && !open_ended && !suspect;
    hop::skip_nominated(&mut head.fields)?;
    Ok(Parsed::Head { len: end })
}
