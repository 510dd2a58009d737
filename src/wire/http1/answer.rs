//! Answers that the proxy gives by itself.

use super::encode::{status_digits, write_persistence};
use crate::wire::fields::write_field;
use crate::wire::head::Version;

/// A small, complete response.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status; 200 or more.
    pub status: u16,
    /// The error type of RFC 9209 for Proxy-Status, such as `connection_refused`; none where nothing failed.
    pub error: Option<&'a str>,
    /// More about why, in one word: a [`Reason`](super::Reason)'s token, say.
    pub details: Option<&'a str>,
    /// The Date field, as the proxy's clock has it.
    pub date: &'a str,
    /// Other fields; names and values are the proxy's own, and not checked.
    pub fields: &'a [(&'a str, &'a str)],
    /// Text for people.
    pub body: &'a [u8],
    /// What kind of text it is; nothing if the fields say so.
    pub content_type: &'a str,
    /// Whether the request was a HEAD: the body's length is told, the body left out.
    pub head_only: bool,
    /// The client's version.
    pub client: Version,
    /// Whether the connection ends.
    pub close: bool,
}

/// Appends the response.
///
/// ```
/// use synod::wire::{head::Version, http1::{Answer, encode_answer}};
///
/// let mut out = Vec::new();
/// let answer = Answer {
///     status: 503, error: Some("destination_unavailable"), details: Some("no_backend"),
///     date: "Sun, 06 Nov 1994 08:49:37 GMT", fields: &[("Retry-After", "1")], body: b"no backend\n",
///     content_type: "text/plain; charset=utf-8",
///     head_only: false, client: Version::Http11, close: true,
/// };
/// encode_answer(&answer, &mut out);
/// assert_eq!(out, b"HTTP/1.1 503 Service Unavailable\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
///     Proxy-Status: synod; error=destination_unavailable; details=\"no_backend\"\r\nRetry-After: 1\r\n\
///     Content-Type: text/plain; charset=utf-8\r\nContent-Length: 11\r\nConnection: close\r\n\r\nno backend\n");
/// ```
pub fn encode_answer(answer: &Answer<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&status_digits(answer.status));
    out.push(b' ');
    let status = http::StatusCode::from_u16(answer.status).ok();
    out.extend_from_slice(
        status
            .and_then(|status| status.canonical_reason())
            .unwrap_or("")
            .as_bytes(),
    );
    out.extend_from_slice(b"\r\n");
    write_field(out, b"Date", answer.date.as_bytes());
    out.extend_from_slice(b"Proxy-Status: synod");
    if let Some(error) = answer.error {
        out.extend_from_slice(b"; error=");
        out.extend_from_slice(error.as_bytes());
    }
    if let Some(details) = answer.details {
        out.extend_from_slice(b"; details=\"");
        out.extend_from_slice(details.as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b"\r\n");
    for (name, value) in answer.fields {
        write_field(out, name.as_bytes(), value.as_bytes());
    }
    // RFC 9110, 8.6: no Content-Length in a 204.
    if !matches!(answer.status, 204 | 304) {
        if !answer.body.is_empty() && !answer.content_type.is_empty() {
            write_field(out, b"Content-Type", answer.content_type.as_bytes());
        }
        write_field(
            out,
            b"Content-Length",
            answer.body.len().to_string().as_bytes(),
        );
    }
    write_persistence(answer.client, answer.close, out);
    out.extend_from_slice(b"\r\n");
    if !answer.head_only && !matches!(answer.status, 204 | 304) {
        out.extend_from_slice(answer.body);
    }
}
