//! Writes a parsed head for the other side: kept lines in runs, then what this hop has to say.

use super::hop::HOP_BY_HOP;
use crate::wire::body::{BodyKind, Relay};
use crate::wire::field::{Known, KnownSet};
use crate::wire::fields::{Fields, members, write_field};
use crate::wire::head::{RequestHead, ResponseHead, Version};

/// What a client may claim about those before it only if it is trusted.
const FORWARDING: KnownSet = KnownSet::of(&[
    Known::ClientCert,
    Known::Forwarded,
    Known::XForwarded,
    Known::XForwardedFor,
    Known::XForwardedHost,
    Known::XForwardedProto,
    Known::XRealIp,
]);

/// How a request goes on to a backend.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// The client's address, for X-Forwarded-For. As text: it is the same for every request of a connection.
    pub client: &'a str,
    /// Whether the request came over TLS.
    pub https: bool,
    /// What X-Real-IP is to say instead of what it said; empty to leave that to `trusted`.
    pub real_ip: &'a str,
    /// What the client showed in the handshake of TLS, as Client-Cert has it (RFC 9440, section 2.2); empty for none.
    pub certificate: &'a str,
    /// Whether to believe the forwarding fields it came with. If so X-Forwarded-For is continued, and
    /// X-Forwarded-Proto, -Host, X-Real-IP, Forwarded and Client-Cert are kept, for the certificate shown here is that
    /// of the proxy in front; if not all of them are dropped and set anew, but Forwarded.
    pub trusted: bool,
    /// The Host for a request of HTTP/1.0 that names none.
    pub host: &'a str,
    /// The X-Request-Id for a request that has none; empty for none.
    pub request_id: &'a str,
    /// The traceparent in place of the one received; empty to leave that as it is.
    pub traceparent: &'a str,
    /// Whether to pass an [`upgrade`](RequestHead::upgrade) on.
    pub upgrade: bool,
    /// What to ask for instead of the request's own target and Host; both are valid as they are.
    pub instead: Instead<'a>,
}

/// A target and a Host in place of those received.
#[derive(Clone, Copy, Debug, Default)]
pub struct Instead<'a> {
    /// Path and query.
    pub target: Option<&'a str>,
    /// Host and port. X-Forwarded-Host tells the one received.
    pub authority: Option<&'a str>,
}

/// Appends the head of `head` as it goes to the backend: HTTP/1.1, origin-form, case and order kept.
pub fn encode_request(head: &RequestHead, forward: &Forward<'_>, out: &mut Vec<u8>) {
    let fields = head.fields();
    out.extend_from_slice(head.method().as_bytes());
    out.push(b' ');
    let (path, query) = match forward.instead.target {
        Some(target) => (target, ""),
        None => head.origin_form(),
    };
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(query.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(host) = forward.instead.authority {
        write_field(out, b"Host", host.as_bytes());
    } else if !fields.has(Known::Host) {
        let host = if head.authority().is_empty() {
            forward.host
        } else {
            head.authority()
        };
        write_field(out, b"Host", host.as_bytes());
    }
    fields.copy_kept(dropped_from_request(head, forward), out);
    if head.body() == BodyKind::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    write_connection_of_request(head, forward, out);
    write_forwarding(head, forward, out);
    if !forward.request_id.is_empty() && !fields.has(Known::XRequestId) {
        write_field(out, b"X-Request-Id", forward.request_id.as_bytes());
    }
    if !forward.traceparent.is_empty() {
        write_field(out, b"traceparent", forward.traceparent.as_bytes());
    }
    write_via(head.version(), out);
    out.extend_from_slice(b"\r\n");
}

fn dropped_from_request(head: &RequestHead, forward: &Forward<'_>) -> KnownSet {
    let mut dropped = HOP_BY_HOP;
    if forward.trusted {
        dropped.insert(Known::XForwardedFor);
    } else {
        dropped = dropped.with(FORWARDING);
    }
    if !forward.real_ip.is_empty() {
        dropped.insert(Known::XRealIp);
    }
    if forward.instead.authority.is_some() {
        dropped.insert(Known::Host);
    }
    if !forward.traceparent.is_empty() {
        dropped.insert(Known::Traceparent);
    }
    if head.version() == Version::Http10 {
        dropped.insert(Known::Expect);
    }
    if head.body() != BodyKind::Chunked {
        dropped.insert(Known::Trailer);
    }
    dropped
}

fn write_connection_of_request(head: &RequestHead, forward: &Forward<'_>, out: &mut Vec<u8>) {
    let trailers = accepts_trailers(head.fields());
    if let Some(protocol) = head.upgrade().filter(|_| forward.upgrade) {
        out.extend_from_slice(if trailers {
            b"Connection: upgrade, te\r\n"
        } else {
            b"Connection: upgrade\r\n"
        });
        write_field(out, b"Upgrade", protocol.as_bytes());
    } else if trailers {
        out.extend_from_slice(b"Connection: te\r\n");
    }
    if trailers {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
}

fn accepts_trailers(fields: &Fields) -> bool {
    let mut codings = fields.values(Known::Te).flat_map(members);
    fields.has(Known::Te) && codings.any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

pub(super) fn write_forwarding(head: &RequestHead, forward: &Forward<'_>, out: &mut Vec<u8>) {
    let fields = head.fields();
    let believed = |known| forward.trusted && fields.has(known);
    out.extend_from_slice(b"X-Forwarded-For: ");
    if forward.trusted {
        for hops in fields
            .values(Known::XForwardedFor)
            .filter(|hops| !hops.is_empty())
        {
            out.extend_from_slice(hops);
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(forward.client.as_bytes());
    out.extend_from_slice(b"\r\n");
    if !believed(Known::XForwardedProto) {
        let line: &[u8] = if forward.https {
            b"X-Forwarded-Proto: https\r\n"
        } else {
            b"X-Forwarded-Proto: http\r\n"
        };
        out.extend_from_slice(line);
    }
    if !forward.real_ip.is_empty() {
        write_field(out, b"X-Real-IP", forward.real_ip.as_bytes());
    }
    if !forward.trusted && !forward.certificate.is_empty() {
        write_field(out, b"Client-Cert", forward.certificate.as_bytes());
    }
    if !believed(Known::XForwardedHost) && !head.authority().is_empty() {
        write_field(out, b"X-Forwarded-Host", head.authority().as_bytes());
    }
}

/// How a response goes back to the client.
#[derive(Clone, Copy, Debug)]
pub struct Return {
    /// The client's version: of its request.
    pub client: Version,
    /// Whether the client's connection ends with this response. It does so anyway where the client could not tell
    /// the body's end otherwise ([`BodyKind::delimited_for`]).
    pub close: bool,
    /// Whether a 101 was asked for, so that its Upgrade is passed on.
    pub upgrade: bool,
}

/// Appends the head of `head` as it goes to the client: HTTP/1.1, case and order kept.
///
/// Interim responses too; those are not for clients of HTTP/1.0.
pub fn encode_response(head: &ResponseHead, back: &Return, out: &mut Vec<u8>) {
    let informational = head.status() < 200;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&status_digits(head.status()));
    out.push(b' ');
    out.extend_from_slice(head.reason());
    out.extend_from_slice(b"\r\n");

    let relay = head.body().relay(back.client);
    let chunked =
        relay == Relay::Chunk || (relay == Relay::Pass && head.body() == BodyKind::Chunked);
    let mut dropped = HOP_BY_HOP;
    if informational || head.status() == 204 {
        dropped.insert(Known::ContentLength);
    }
    if !chunked || relay == Relay::Chunk {
        dropped.insert(Known::Trailer);
    }
    head.fields().copy_kept(dropped, out);
    if chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if !informational {
        write_via(head.version(), out);
        write_persistence(
            back.client,
            back.close || !head.body().delimited_for(back.client),
            out,
        );
    }
    // A 426 tells what to switch to (RFC 9110, 15.5.22).
    let tells = back.upgrade && informational || head.status() == 426;
    if let Some(protocol) = head.upgrade().filter(|_| tells) {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        write_field(out, b"Upgrade", protocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Says what is not the default of the client's version (RFC 9112, section 9.3).
pub(super) fn write_persistence(client: Version, close: bool, out: &mut Vec<u8>) {
    match (client, close) {
        (_, true) => out.extend_from_slice(b"Connection: close\r\n"),
        (Version::Http10, false) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (Version::Http11 | Version::Http2, false) => {}
    }
}

pub(super) fn write_via(received: Version, out: &mut Vec<u8>) {
    out.extend_from_slice(match received {
        Version::Http10 => b"Via: 1.0 synod\r\n",
        Version::Http11 => b"Via: 1.1 synod\r\n",
        Version::Http2 => b"Via: 2.0 synod\r\n",
    });
}

pub(super) fn status_digits(status: u16) -> [u8; 3] {
    [status / 100 % 10, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8)
}
