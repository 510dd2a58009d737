//! What delimits a message's body, by RFC 9112, section 6.3, without the repairs that it permits.
//!
//! Content-Length stands once and is one number; Transfer-Encoding stands once and is `chunked`; never both. Then no
//! two readers of the message can disagree about where it ends.

use super::refusal::Reason;
use crate::wire::body::BodyKind;
use crate::wire::field::Known;
use crate::wire::fields::{Fields, members};
use crate::wire::head::Version;

/// What the fields declare; nothing declared is none.
pub(super) fn declared(version: Version, fields: &Fields) -> Result<Option<BodyKind>, Reason> {
    let coded = fields.has(Known::TransferEncoding);
    if coded && fields.has(Known::ContentLength) {
        return Err(Reason::LengthAndCoding);
    }
    if coded {
        return chunked(version, fields).map(|()| Some(BodyKind::Chunked));
    }
    let mut lengths = fields.values(Known::ContentLength);
    let Some(length) = lengths.next() else {
        return Ok(None);
    };
    if lengths.next().is_some() || length.contains(&b',') {
        return Err(Reason::RepeatedLength);
    }
    match number(length)? {
        0 => Ok(Some(BodyKind::None)),
        length => Ok(Some(BodyKind::Length(length))),
    }
}

fn chunked(version: Version, fields: &Fields) -> Result<(), Reason> {
    if version == Version::Http10 {
        return Err(Reason::CodingInHttp10);
    }
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let mut values = fields.values(Known::TransferEncoding);
    let (first, second) = (values.next(), values.next());
    if second.is_none() && first.is_some_and(is_chunked) {
        return Ok(());
    }
    // Out of the ordinary; only which rule it breaks is left to say.
    let mut codings = fields.values(Known::TransferEncoding).flat_map(members);
    let last = fields
        .values(Known::TransferEncoding)
        .flat_map(members)
        .last();
    let chunked_early = last.is_none_or(|last| codings.any(is_chunked) && !is_chunked(last));
    let unknown = fields
        .values(Known::TransferEncoding)
        .flat_map(members)
        .any(|coding| !is_chunked(coding));
    if unknown && !chunked_early {
        Err(Reason::UnknownCoding)
    } else {
        Err(Reason::ChunkedNotFinal)
    }
}

/// Digits only: no sign, no blank, nothing beyond 2^63 - 1.
fn number(digits: &[u8]) -> Result<u64, Reason> {
    if digits.is_empty() {
        return Err(Reason::BadLength);
    }
    let mut number: u64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        number = match number
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(u64::from(digit)))
        {
            Some(sum) if digit <= 9 && sum <= i64::MAX as u64 => sum,
            _ => return Err(Reason::BadLength),
        };
    }
    Ok(number)
}

/// How a response's body ends, given the method it answers.
pub(super) fn of_response(status: u16, method: &str, declared: Option<BodyKind>) -> BodyKind {
    let bodiless = method == "HEAD" || matches!(status, 100..=199 | 204 | 304);
    if bodiless {
        BodyKind::None
    } else {
        declared.unwrap_or(BodyKind::UntilClose)
    }
}

/// Whether the connection may serve another message, by version and Connection (RFC 9112, section 9.3).
pub(super) fn persists(version: Version, fields: &Fields) -> bool {
    if !fields.has(Known::Connection) {
        return version != Version::Http10;
    }
    let mut options = fields.values(Known::Connection).flat_map(members);
    match version {
        Version::Http11 | Version::Http2 => {
            !options.any(|option| option.eq_ignore_ascii_case(b"close"))
        }
        Version::Http10 => {
            options.any(|option| option.eq_ignore_ascii_case(b"keep-alive"))
                && !fields
                    .values(Known::Connection)
                    .flat_map(members)
                    .any(|option| option.eq_ignore_ascii_case(b"close"))
        }
    }
}
