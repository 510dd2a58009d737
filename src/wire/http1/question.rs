//! A question about a request: what a service is sent that says whether the request may go on.

use super::encode::{Forward, write_forwarding, write_via};
use super::hop::HOP_BY_HOP;
use crate::wire::field::{Known, KnownSet};
use crate::wire::fields::write_field;
use crate::wire::head::RequestHead;

/// Of the body, which is not sent; of this hop; and what is written anew.
const DROPPED: KnownSet = HOP_BY_HOP.with(KnownSet::of(&[
    Known::ContentLength,
    Known::Expect,
    Known::Forwarded,
    Known::Host,
    Known::Trailer,
    Known::XForwarded,
]));

/// Fields that ask for a part or another form of an answer, or for none.
const OF_THE_ANSWER: [&[u8]; 7] = [
    b"accept-encoding",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"range",
];

/// Appends a GET of `path` with the fields of `head`; its method and target stand in X-Forwarded-Method and -Uri.
pub fn encode_question(head: &RequestHead, forward: &Forward<'_>, path: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"GET ");
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_field(out, b"Host", forward.host.as_bytes());
    let believed = [
        Known::ClientCert,
        Known::XForwardedFor,
        Known::XForwardedHost,
        Known::XForwardedProto,
    ];
    for field in head.fields().iter() {
        // The first of them is continued, and written with the others.
        let told = match field.known {
            Known::XForwardedFor => false,
            Known::XRealIp => forward.trusted && forward.real_ip.is_empty(),
            Known::Traceparent => forward.traceparent.is_empty(),
            known => forward.trusted || !believed.contains(&known),
        };
        let kept = told && !field.skipped && !DROPPED.contains(field.known);
        let of_answer = |name: &&[u8]| field.name.eq_ignore_ascii_case(name);
        if kept && !OF_THE_ANSWER.iter().any(of_answer) {
            write_field(out, field.name, field.value);
        }
    }
    write_forwarding(head, forward, out);
    write_field(out, b"X-Forwarded-Method", head.method().as_bytes());
    let (path, query) = head.origin_form();
    out.extend_from_slice(b"X-Forwarded-Uri: ");
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(query.as_bytes());
    out.extend_from_slice(b"\r\n");
    if !forward.request_id.is_empty() && !head.fields().has(Known::XRequestId) {
        write_field(out, b"X-Request-Id", forward.request_id.as_bytes());
    }
    if !forward.traceparent.is_empty() {
        write_field(out, b"traceparent", forward.traceparent.as_bytes());
    }
    write_via(head.version(), out);
    out.extend_from_slice(b"\r\n");
}
