//! What gRPC asks of a proxy beyond HTTP/2: its clients' deadlines, and failures told in its own words.
//!
//! The rest of it (trailers, streams both ways, answers that are a head only) is HTTP/2's, and passes as it is.

use std::time::Duration;

use super::failure::Failure;
use crate::wire::field::Known;
use crate::wire::grpc::is_media_type;
use crate::wire::head::RequestHead;

/// Whether the client speaks gRPC.
pub(crate) fn is_spoken(request: &RequestHead) -> bool {
    let media = request.fields().value(Known::ContentType);
    media.is_some_and(is_media_type)
}

/// As [`is_spoken`], of bytes over HTTP/2 that begin with a head which the parser refused.
pub(crate) fn is_spoken_in(refused: &[u8]) -> bool {
    let end = memchr::memmem::find(refused, b"\r\n\r\n");
    let head = &refused[..end.unwrap_or(refused.len())];
    let name = b"\r\ncontent-type: ";
    let at = memchr::memmem::find(head, name);
    let media = at.map(|at| &head[at + name.len()..]);
    media.is_some_and(|behind| {
        is_media_type(behind.split(|byte| *byte == b'\r').next().unwrap_or(behind))
    })
}

/// How long the client waits, if it says so.
pub(crate) fn timeout(request: &RequestHead) -> Option<Duration> {
    if !is_spoken(request) {
        return None;
    }
    parse(std::str::from_utf8(request.fields().named("grpc-timeout")?).ok()?)
}

/// At most eight digits and a unit.
fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let digits = text.strip_suffix(unit)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(number * 60 * 60),
        'M' => Duration::from_secs(number * 60),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The status code of gRPC for an answer that the proxy makes itself, which over plain HTTP would have `status`.
pub(crate) fn code(failure: Failure, status: u16) -> &'static str {
    const UNKNOWN: &str = "2";
    const DEADLINE_EXCEEDED: &str = "4";
    const PERMISSION_DENIED: &str = "7";
    const RESOURCE_EXHAUSTED: &str = "8";
    const FAILED_PRECONDITION: &str = "9";
    const UNIMPLEMENTED: &str = "12";
    const INTERNAL: &str = "13";
    const UNAVAILABLE: &str = "14";
    const UNAUTHENTICATED: &str = "16";
    match status {
        _ if failure.is_connect() => UNAVAILABLE,
        408 | 504 => DEADLINE_EXCEEDED,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        412 | 428 => FAILED_PRECONDITION,
        413 | 429 | 431 => RESOURCE_EXHAUSTED,
        400..=499 => INTERNAL,
        500..=599 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http1::{Scan, parse_request};

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_hours(1))),
            ("2M", Some(Duration::from_mins(2))),
            ("3S", Some(Duration::from_secs(3))),
            ("100m", Some(Duration::from_millis(100))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0S", Some(Duration::ZERO)),
            ("100000000n", None),
            ("S", None),
            ("1", None),
            ("-1S", None),
            ("1.5S", None),
            ("1s", None),
            ("1é", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn grpc_is_told_by_its_media_type() {
        for (media, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc\t;x=y", true),
            ("Application/gRPC", true),
            ("application/grpc-web", false),
            ("application/grp", false),
            ("application/json", false),
        ] {
            let mut head = RequestHead::new();
            let bytes = format!(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {media}\r\nGrpc-Timeout: 1S\r\n\r\n"
            );
            parse_request(bytes.as_bytes(), &mut Scan::default(), &mut head).unwrap();
            assert_eq!(is_spoken(&head), expected, "{media}");
            let waits = expected.then_some(Duration::from_secs(1));
            assert_eq!(timeout(&head), waits, "{media}");
        }
    }
}
