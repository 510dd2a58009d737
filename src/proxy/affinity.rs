//! What of a request decides where a pool that hashes sends it, as a number that is the same on every node.

use std::net::IpAddr;

use twox_hash::XxHash3_64;

use super::asked::believes_in;
use super::connection::Client;
use super::forward::Job;
use super::record::client_of;
use crate::backend::balance::draw;
use crate::config::HashOn;
use crate::routing::PoolEntry;
use crate::wire::field::Known;
use crate::wire::head::RequestHead;

/// For the balancer of `pool`; 0 if it asks for nothing. A request without what is asked for goes anywhere.
///
/// Of the fields that the backend gets: what the route or the service of `forward_auth` says of a client holds, and not
/// what the client says of itself.
pub(crate) fn hash(pool: &PoolEntry, job: &Job<'_>) -> u64 {
    let Some(on) = &pool.hash else {
        return 0;
    };
    let request = &job.exchange.request;
    let hash = match on {
        HashOn::Header(name) if !believes_in(job.client, name) => None,
        HashOn::Header(name) => request.fields().sent(name).next().map(XxHash3_64::oneshot),
        HashOn::Cookie(name) => {
            value_in(request.fields().sent("cookie"), name).map(XxHash3_64::oneshot)
        }
        HashOn::Path | HashOn::Query(_) | HashOn::Address => hash_of(on, job.client, request),
    };
    hash.unwrap_or_else(draw)
}

/// Of what `on` names in the request as it came; `None` if it is not there, or if the client says it and may not.
pub(crate) fn hash_of(on: &HashOn, client: &Client, request: &RequestHead) -> Option<u64> {
    if *on == HashOn::Address {
        let client = client_of(request, client.peer, &client.listener);
        return Some(match client {
            IpAddr::V4(address) => XxHash3_64::oneshot(&address.octets()),
            IpAddr::V6(address) => XxHash3_64::oneshot(&address.octets()),
        });
    }
    if matches!(on, HashOn::Header(name) if !believes_in(client, name)) {
        return None;
    }
    key(on, request).map(XxHash3_64::oneshot)
}

fn key<'a>(on: &HashOn, request: &'a RequestHead) -> Option<&'a [u8]> {
    match on {
        HashOn::Header(name) => request.fields().named(name),
        HashOn::Cookie(name) => cookie(request, name),
        HashOn::Path => Some(request.path().as_bytes()),
        HashOn::Query(name) => {
            let mut parameters = request.query()?.split('&');
            let value = parameters.find_map(|one| value_of(one.as_bytes(), b'=', name));
            value.filter(|value| !value.is_empty())
        }
        HashOn::Address => None,
    }
}

/// The first cookie of that name that came (RFC 6265, 5.4); an empty one is none.
pub(crate) fn cookie<'a>(request: &'a RequestHead, name: &str) -> Option<&'a [u8]> {
    value_in(request.fields().values(Known::Cookie), name)
}

fn value_in<'a>(cookies: impl Iterator<Item = &'a [u8]>, name: &str) -> Option<&'a [u8]> {
    let mut pairs = cookies.flat_map(|field| field.split(|byte| *byte == b';'));
    let value = pairs.find_map(|pair| value_of(pair.trim_ascii(), b'=', name));
    value.filter(|value| !value.is_empty())
}

fn value_of<'a>(pair: &'a [u8], equals: u8, name: &str) -> Option<&'a [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(&[equals])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http1::{Parsed, Scan, parse_request};

    fn request(target: &str, fields: &str) -> RequestHead {
        let mut head = RequestHead::new();
        let text = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let parsed = parse_request(text.as_bytes(), &mut Scan::default(), &mut head);
        assert!(matches!(parsed, Ok(Parsed::Head { .. })));
        head
    }

    #[test]
    fn the_key_is_what_the_pool_names() {
        let fields = "X-User: ann\r\nx-user: bob\r\nCookie: aa=0; a=1;a=2\r\nCookie: b=3; e=\r\n";
        let head = request("/p/q?ab=0&a=1&a=2&e=&n", fields);
        let named = |kind: fn(String) -> HashOn, name: &str| {
            let key = key(&kind(name.to_owned()), &head);
            key.map(|key| String::from_utf8_lossy(key).into_owned())
        };
        for (kind, name, expected) in [
            (
                HashOn::Header as fn(String) -> HashOn,
                "x-user",
                Some("ann"),
            ),
            (HashOn::Header, "x-use", None),
            (HashOn::Cookie, "a", Some("1")),
            (HashOn::Cookie, "b", Some("3")),
            (HashOn::Cookie, "e", None),
            (HashOn::Cookie, "c", None),
            (HashOn::Query, "a", Some("1")),
            (HashOn::Query, "e", None),
            (HashOn::Query, "n", None),
        ] {
            assert_eq!(named(kind, name).as_deref(), expected, "{name}");
        }
        assert_eq!(key(&HashOn::Path, &head), Some(&b"/p/q"[..]));
    }
}
