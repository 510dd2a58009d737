//! The head of an answer, from HTTP/1.1 to HTTP/2 and back.

use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::incoming::Shape;
use super::names;
use super::request::write_line;
use crate::wire::body::BodyKind;
use crate::wire::field::{Known, KnownSet};
use crate::wire::fields::Fields;
use crate::wire::grpc;
use crate::wire::head::ResponseHead;
use crate::wire::websocket;

/// What says something about a connection of HTTP/1 (RFC 9113, 8.2.2).
pub(super) const OF_CONNECTION: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::TransferEncoding,
    Known::Upgrade,
]);

/// What the table of what was sent before, which HPACK looks things up in, is not to learn: it goes as "never indexed"
/// (RFC 7541, 6.2.3). What is another with every message would drive out what comes again. Credentials could be guessed
/// by who sees how long the messages of others are that share the table (7.1), as clients do on the way to a backend.
const NEVER_INDEXED: KnownSet = KnownSet::of(&[
    Known::Traceparent,
    Known::XRequestId,
    Known::Authorization,
    Known::Cookie,
    Known::SetCookie,
]);

/// The same head for HTTP/2: without a reason, and without what is for HTTP/1's connections.
pub(super) fn interpret(head: &ResponseHead) -> Response<()> {
    let mut response = Response::new(());
    // Any status that was parsed is one. A switch of protocols is a success of an extended CONNECT.
    *response.status_mut() = match head.status() {
        101 => StatusCode::OK,
        status => StatusCode::from_u16(status).unwrap_or_default(),
    };
    let mut fields = fields(head.fields(), OF_CONNECTION);
    if head.body() == BodyKind::None && is_grpc(&fields) {
        // An answer of gRPC that has trailers only is a head and nothing else.
        fields.remove(header::CONTENT_LENGTH);
    }
    if head.status() == 101 {
        fields.remove(websocket::ACCEPT);
    }
    *response.headers_mut() = fields;
    response
}

/// The fields that go on and are not in `dropped`.
pub(super) fn fields(of: &Fields, dropped: KnownSet) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(of.len());
    for (field, value) in of.iter_shared() {
        if field.skipped || dropped.contains(field.known) {
            continue;
        }
        // What was parsed is valid, but for names beyond what a HeaderMap takes, which nobody uses.
        let name = names::of(field.known).or_else(|| HeaderName::from_bytes(field.name).ok());
        if let (Some(name), Ok(mut value)) = (name, HeaderValue::from_maybe_shared(value)) {
            if NEVER_INDEXED.contains(field.known) {
                value.set_sensitive(true);
            }
            fields.append(name, value);
        }
    }
    fields
}

/// Whether trailers are to be expected behind the body: they are announced, or the answer is one of gRPC. Beside a
/// length HTTP/1.1 has no place for them, so it is not passed on; the h2 crate sees to it that it was right.
fn has_trailers(fields: &HeaderMap) -> bool {
    fields.contains_key(header::TRAILER) || is_grpc(fields)
}

fn is_grpc(fields: &HeaderMap) -> bool {
    let media = fields.get(header::CONTENT_TYPE);
    media.is_some_and(|media| grpc::is_media_type(media.as_bytes()))
}

/// Appends the head that came over HTTP/2 as one of HTTP/1.1. `ended` tells that neither body nor trailers follow,
/// `head_only` that it answers a HEAD.
pub(super) fn write_head(
    response: &Parts,
    ended: bool,
    head_only: bool,
    out: &mut Vec<u8>,
) -> Shape {
    let status = response.status;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
    let bodiless = head_only || status.is_informational() || matches!(status.as_u16(), 204 | 304);
    let trailing = !ended && !bodiless && has_trailers(&response.headers);
    for (name, value) in &response.headers {
        if !(trailing && name == header::CONTENT_LENGTH) {
            write_line(out, name.as_str(), value.as_bytes());
        }
    }
    let has_length = !trailing && response.headers.contains_key(header::CONTENT_LENGTH);
    let shape = match (ended, has_length) {
        _ if bodiless => Shape::Empty,
        (false, true) => Shape::Plain,
        (false, false) => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Shape::Chunked
        }
        (true, told) => {
            if !told {
                out.extend_from_slice(b"content-length: 0\r\n");
            }
            Shape::Empty
        }
    };
    out.extend_from_slice(b"\r\n");
    shape
}

/// Appends the success of an extended CONNECT as the switch that it stands for, with the `accept` of the key that was
/// asked with.
pub(super) fn write_switch(response: &Parts, accept: &str, out: &mut Vec<u8>) -> Shape {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    for (name, value) in &response.headers {
        if name != header::CONTENT_LENGTH && name != websocket::ACCEPT {
            write_line(out, name.as_str(), value.as_bytes());
        }
    }
    write_line(out, "connection", b"upgrade");
    write_line(out, "upgrade", websocket::PROTOCOL.as_bytes());
    write_line(out, websocket::ACCEPT, accept.as_bytes());
    out.extend_from_slice(b"\r\n");
    Shape::Plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http1::{Scan, parse_response};

    fn written(status: u16, fields: &[(&str, &str)], ended: bool, head: bool) -> (String, Shape) {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let (parts, ()) = response.body(()).unwrap().into_parts();
        let mut out = Vec::new();
        let shape = write_head(&parts, ended, head, &mut out);
        (String::from_utf8(out).unwrap(), shape)
    }

    /// Status, fields, whether that is all, whether it answers a HEAD, the head, and how the body follows.
    type Case = (
        u16,
        &'static [(&'static str, &'static str)],
        bool,
        bool,
        &'static str,
        Shape,
    );

    #[test]
    fn a_head_tells_http1_where_its_body_ends() {
        const LENGTH: (&str, &str) = ("content-length", "5");
        let table: &[Case] = &[
            (
                200,
                &[LENGTH],
                false,
                false,
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
                Shape::Plain,
            ),
            (
                200,
                &[],
                false,
                false,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                Shape::Chunked,
            ),
            (
                404,
                &[],
                true,
                false,
                "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
                Shape::Empty,
            ),
            (
                200,
                &[LENGTH],
                true,
                true,
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
                Shape::Empty,
            ),
            (
                204,
                &[],
                true,
                false,
                "HTTP/1.1 204 No Content\r\n\r\n",
                Shape::Empty,
            ),
            (
                103,
                &[("link", "a")],
                true,
                true,
                "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n",
                Shape::Empty,
            ),
            (
                599,
                &[],
                true,
                false,
                "HTTP/1.1 599 \r\ncontent-length: 0\r\n\r\n",
                Shape::Empty,
            ),
        ];
        for (status, fields, ended, head_only, head, shape) in table {
            let expected = ((*head).to_owned(), *shape);
            assert_eq!(written(*status, fields, *ended, *head_only), expected);
        }
    }

    #[test]
    fn what_is_of_a_connection_stays_with_it() {
        let mut head = ResponseHead::new();
        let bytes =
            b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nUpgrade: a\r\n\
            Transfer-Encoding: chunked\r\nX-Kept: 1\r\n\r\n";
        parse_response(bytes, &mut Scan::default(), "GET", &mut head).unwrap();
        let response = interpret(&head);
        let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-kept"]);
    }

    #[test]
    fn credentials_and_what_differs_in_every_message_are_never_indexed() {
        let mut head = ResponseHead::new();
        let bytes = b"HTTP/1.1 200 OK\r\nServer: a\r\nSet-Cookie: a=1\r\nCookie: a=1\r\n\
            Authorization: Basic YQ==\r\nX-Request-Id: 1\r\nTraceparent: 00\r\nX-Any: 1\r\n\r\n";
        parse_response(bytes, &mut Scan::default(), "GET", &mut head).unwrap();
        let response = interpret(&head);
        let indexed = response.headers().iter();
        let indexed = indexed.filter(|(_, value)| !value.is_sensitive());
        let names: Vec<_> = indexed.map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["server", "x-any"]);
    }
}
