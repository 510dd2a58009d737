//! The head of a request, from HTTP/2 to HTTP/1.1 and back.

use h2::ext::Protocol;
use http::request::Parts;
use http::uri::{self, Authority, PathAndQuery, Scheme};
use http::{HeaderName, Method, Request, Uri, header};

use super::incoming::Shape;
use super::response::{OF_CONNECTION, fields};
use crate::wire::field::{Known, KnownSet};
use crate::wire::fields::is_token_byte;
use crate::wire::head::RequestHead;
use crate::wire::websocket;

/// A message that is to be answered by resetting its stream (RFC 9113, 8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// No path, or one that is neither absolute nor the `*` of OPTIONS (8.3.1).
    #[error("no path that begins with a slash")]
    Path,
    /// A `:protocol` that cannot be the name of one.
    #[error("a protocol that is no token")]
    Protocol,
}

/// Appends the head. `ended` tells that neither body nor trailers follow.
///
/// An extended CONNECT (RFC 8441) reads as the upgrade that it stands for, with a key made here where that needs one.
/// Behind its answer nothing is read as a request.
///
/// # Errors
/// When the request breaks a rule of HTTP/2 that no one else checks. Those it shares with HTTP/1.1 are left to the
/// parser that reads `out`: its refusal answers the client.
pub(super) fn write_head(
    request: &Parts,
    ended: bool,
    out: &mut Vec<u8>,
) -> Result<Shape, Malformed> {
    let fields = &request.headers;
    let mut hosts = fields.get_all(header::HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    let authority = request.uri.authority().map(|authority| authority.as_str());
    // Several hosts are for the parser to refuse, whatever they say.
    let told_twice = authority
        .filter(|authority| another.is_none() && host.is_none_or(|host| host == authority));
    let tunnel = tunnel(request)?;
    let method = match tunnel {
        Some(_) => &Method::GET,
        None => &request.method,
    };
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    write_target(method, &request.uri, told_twice.is_none(), out)?;
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(authority) = told_twice {
        write_line(out, "host", authority.as_bytes());
    }
    // Beside a length HTTP/1.1 has no place for them.
    let trailing = !ended && fields.contains_key(header::TRAILER);
    for (name, value) in fields {
        let told = name == header::COOKIE
            || name == header::HOST && told_twice.is_some()
            || name == header::CONTENT_LENGTH && trailing
            || tunnel.is_some() && is_of_no_tunnel(name);
        if !told {
            write_line(out, name.as_str(), value.as_bytes());
        }
    }
    write_cookie(request, out);
    let has_length = !trailing && fields.contains_key(header::CONTENT_LENGTH);
    let shape = match (tunnel, ended, has_length) {
        (Some(protocol), ..) => {
            write_line(out, "connection", b"upgrade, close");
            write_line(out, "upgrade", protocol.as_bytes());
            if websocket::is_named(protocol.as_bytes()) {
                write_line(out, websocket::KEY, websocket::new_key().as_bytes());
            }
            Shape::Plain
        }
        (None, true, _) => Shape::Empty,
        (None, false, true) => Shape::Plain,
        (None, false, false) => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Shape::Chunked
        }
    };
    out.extend_from_slice(b"\r\n");
    Ok(shape)
}

/// The protocol that an extended CONNECT asks for.
fn tunnel(request: &Parts) -> Result<Option<&str>, Malformed> {
    let Some(protocol) = request.extensions.get::<Protocol>() else {
        return Ok(None);
    };
    let name = protocol.as_str();
    let is_token = !name.is_empty() && name.bytes().all(is_token_byte);
    is_token.then_some(Some(name)).ok_or(Malformed::Protocol)
}

/// What says how long a body is, which is none, or is made here.
fn is_of_no_tunnel(name: &HeaderName) -> bool {
    name == header::CONTENT_LENGTH || name == websocket::KEY
}

/// The same head for HTTP/2, as it goes to a backend; that of a handshake of WebSocket as an extended CONNECT.
///
/// # Errors
/// When its target is none that the http crate takes.
pub(super) fn interpret_request(
    head: &RequestHead,
    encrypted: bool,
) -> Result<Request<()>, http::Error> {
    let mut uri = uri::Parts::default();
    uri.scheme = Some(match encrypted {
        true => Scheme::HTTPS,
        false => Scheme::HTTP,
    });
    uri.authority = Some(Authority::try_from(head.authority())?);
    uri.path_and_query = Some(PathAndQuery::try_from(head.target())?);
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method().as_bytes())?;
    *request.uri_mut() = Uri::from_parts(uri)?;
    let dropped = OF_CONNECTION.with(KnownSet::of(&[Known::Host]));
    *request.headers_mut() = fields(head.fields(), dropped);
    if websocket::key_of(head).is_some() {
        *request.method_mut() = Method::CONNECT;
        request.headers_mut().remove(websocket::KEY);
        let protocol = Protocol::from_static(websocket::PROTOCOL);
        request.extensions_mut().insert(protocol);
    }
    Ok(request)
}

/// With its authority where Host says something else: then the parser compares the two.
fn write_target(
    method: &Method,
    uri: &Uri,
    with_authority: bool,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    // `path_and_query` has a slash where nothing was said, `path` has not.
    let path = match uri.path() {
        "" => "",
        _ => uri.path_and_query().map_or("", |path| path.as_str()),
    };
    if method == Method::CONNECT {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        out.extend_from_slice(authority.as_bytes());
        return Ok(());
    }
    let of_server = path == "*" && method == Method::OPTIONS;
    if !path.starts_with('/') && !of_server {
        return Err(Malformed::Path);
    }
    if let (true, Some(authority)) = (with_authority, uri.authority()) {
        let scheme = uri.scheme_str().unwrap_or("http");
        out.extend_from_slice(scheme.as_bytes());
        out.extend_from_slice(b"://");
        out.extend_from_slice(authority.as_str().as_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    Ok(())
}

/// One line for all crumbs (8.2.3).
fn write_cookie(request: &Parts, out: &mut Vec<u8>) {
    let mut crumbs = request.headers.get_all(header::COOKIE).iter();
    let Some(first) = crumbs.next() else {
        return;
    };
    out.extend_from_slice(b"cookie: ");
    out.extend_from_slice(first.as_bytes());
    for crumb in crumbs {
        out.extend_from_slice(b"; ");
        out.extend_from_slice(crumb.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

pub(super) fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(
        method: &str,
        uri: &str,
        fields: &[(&str, &str)],
        ended: bool,
    ) -> Result<(String, Shape), Malformed> {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let mut out = Vec::new();
        let shape = write_head(&parts, ended, &mut out)?;
        Ok((String::from_utf8(out).unwrap(), shape))
    }

    /// Method, target, fields, whether that is all, the head, and how the body follows.
    type Case = (
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
        bool,
        &'static str,
        Shape,
    );

    #[test]
    fn a_head_reads_as_http1() {
        let table: &[Case] = &[
            (
                "GET",
                "https://shop.example/cart?id=7",
                &[("accept", "*/*")],
                true,
                "GET /cart?id=7 HTTP/1.1\r\nhost: shop.example\r\naccept: */*\r\n\r\n",
                Shape::Empty,
            ),
            (
                "POST",
                "/",
                &[("host", "x"), ("content-length", "4")],
                false,
                "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n",
                Shape::Plain,
            ),
            (
                "POST",
                "http://x/",
                &[("host", "x"), ("te", "trailers")],
                false,
                "POST / HTTP/1.1\r\nhost: x\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n",
                Shape::Chunked,
            ),
            (
                "GET",
                "http://x/",
                &[("host", "y")],
                true,
                "GET http://x/ HTTP/1.1\r\nhost: y\r\n\r\n",
                Shape::Empty,
            ),
            (
                "GET",
                "ftp://x/",
                &[("host", "x")],
                true,
                "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
                Shape::Empty,
            ),
            (
                "GET",
                "http://x/",
                &[("host", "x"), ("host", "x")],
                true,
                "GET http://x/ HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n",
                Shape::Empty,
            ),
            (
                "GET",
                "http://x/",
                &[("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2")],
                true,
                "GET / HTTP/1.1\r\nhost: x\r\naccept: */*\r\ncookie: a=1; b=2\r\n\r\n",
                Shape::Empty,
            ),
        ];
        for (method, uri, fields, ended, head, shape) in table {
            let expected = Ok(((*head).to_owned(), *shape));
            assert_eq!(written(method, uri, fields, *ended), expected, "{uri}");
        }
    }

    #[test]
    fn what_neither_h2_nor_http1_refuses_is_malformed() {
        let result = written("GET", "*", &[], true);
        assert_eq!(result.unwrap_err(), Malformed::Path);
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.uri = Uri::from_parts(http::uri::Parts::default()).unwrap();
        let result = write_head(&parts, true, &mut Vec::new());
        assert_eq!(result.unwrap_err(), Malformed::Path, "nothing at all");
    }
}
