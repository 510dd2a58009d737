//! Whom a request passed on its way here, by X-Forwarded-For or Forwarded (RFC 7239), and what this proxy adds to the
//! latter for backends that read it.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use crate::wire::field::Known;
use crate::wire::fields::members;
use crate::wire::head::RequestHead;

/// The addresses told, in order; none for who is hidden or told in no form of an address. By Forwarded only if there
/// is no X-Forwarded-For.
pub(crate) fn hops(request: &RequestHead) -> Vec<Option<IpAddr>> {
    let fields = request.fields();
    if fields.has(Known::XForwardedFor) {
        let values = fields.values(Known::XForwardedFor);
        return values.flat_map(members).map(address).collect();
    }
    let elements = fields.values(Known::Forwarded);
    elements
        .flat_map(|value| split(value, b','))
        .map(|element| address(told_for(element)?))
        .collect()
}

/// Adds this hop's element, behind what a trusted peer told.
pub(crate) fn append(request: &mut RequestHead, client: &str, https: bool) {
    let mut element = match client.contains(':') {
        true => format!("for=\"[{client}]\""),
        false => format!("for={client}"),
    };
    if !request.authority().is_empty() {
        // Writing to a String cannot fail. An authority holds nothing that would have to be escaped.
        let _ = write!(element, ";host=\"{}\"", request.authority());
    }
    element.push_str(if https { ";proto=https" } else { ";proto=http" });
    // All of it is visible text, so it is a valid value.
    let _ = request.fields_mut().append("Forwarded", element.as_bytes());
}

/// The value of `for` in one element, without quotes.
fn told_for(element: &[u8]) -> Option<&[u8]> {
    let mut pairs = split(element, b';');
    pairs.find_map(|pair| {
        let (name, value) = pair.split_at_checked(4)?;
        let quoted = value
            .strip_prefix(b"\"")
            .and_then(|rest| rest.strip_suffix(b"\""));
        name.eq_ignore_ascii_case(b"for=")
            .then_some(quoted.unwrap_or(value))
    })
}

/// With or without a port; IPv6 in brackets or not.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse::<IpAddr>();
    let address = address.or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// The parts between `separator`s that stand outside of quotes, without blanks around them; empty ones are left out.
fn split(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value
        .split(move |&byte| {
            let parts = byte == separator && !quoted;
            quoted ^= byte == b'"' && !escaped;
            escaped = quoted && byte == b'\\' && !escaped;
            parts
        })
        .map(<[u8]>::trim_ascii)
        .filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http1::{Scan, parse_request};

    fn told(fields: &str) -> Vec<Option<String>> {
        let mut head = RequestHead::new();
        let bytes = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        parse_request(bytes.as_bytes(), &mut Scan::default(), &mut head).unwrap();
        let hops = hops(&head).into_iter();
        hops.map(|hop| hop.map(|address| address.to_string()))
            .collect()
    }

    #[test]
    fn hops_are_read_in_every_form() {
        for (fields, expected) in [
            ("", vec![]),
            (
                "X-Forwarded-For: 192.0.2.7, 2001:db8::7\r\n",
                vec![Some("192.0.2.7"), Some("2001:db8::7")],
            ),
            (
                "X-Forwarded-For: 192.0.2.7:4711, [2001:db8::7]:1\r\n",
                vec![Some("192.0.2.7"), Some("2001:db8::7")],
            ),
            (
                "X-Forwarded-For: unknown, ::ffff:192.0.2.7\r\n",
                vec![None, Some("192.0.2.7")],
            ),
            (
                "X-Forwarded-For: 192.0.2.7\r\nForwarded: for=192.0.2.8\r\n",
                vec![Some("192.0.2.7")],
            ),
            (
                "Forwarded: for=192.0.2.7;proto=https, For=\"[2001:db8::7]:4711\";by=x\r\n",
                vec![Some("192.0.2.7"), Some("2001:db8::7")],
            ),
            (
                "Forwarded: for=192.0.2.7\r\nForwarded: proto=http\r\n",
                vec![Some("192.0.2.7"), None],
            ),
            (
                "Forwarded: for=_hidden, for=unknown, for=\"a,b\\\",;for=1\"\r\n",
                vec![None, None, None],
            ),
            (
                "Forwarded: host=\"a,b;for=192.0.2.9\";for=192.0.2.7\r\n",
                vec![Some("192.0.2.7")],
            ),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|hop| hop.map(str::to_owned))
                .collect();
            assert_eq!(told(fields), expected, "{fields}");
        }
    }
}
