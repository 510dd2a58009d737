//! What WebSocket's handshake has over HTTP/1.1 (RFC 6455, section 4) and lacks over HTTP/2 (RFC 8441, section 5).
//!
//! There the stream itself says what key and accept say here: that the other side means to switch. Who carries a
//! handshake from one to the other adds them and takes them off.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::body::BodyKind;
use super::fields::members;
use super::head::RequestHead;

/// The protocol's name, for Upgrade and for `:protocol`.
pub const PROTOCOL: &str = "websocket";

/// The field of the client's proof that it means to switch.
pub const KEY: &str = "sec-websocket-key";

/// The field of the server's.
pub const ACCEPT: &str = "sec-websocket-accept";

/// Whether `name` is this protocol's.
pub fn is_named(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(PROTOCOL.as_bytes())
}

/// A key that was not used before.
pub fn new_key() -> String {
    STANDARD.encode(rand::random::<[u8; 16]>())
}

/// What a server says to `key` that switches.
pub fn accept(key: &[u8]) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finish())
}

/// The key of a handshake; none if `request` is not one.
pub fn key_of(request: &RequestHead) -> Option<&[u8]> {
    let asked = request.upgrade()?;
    let named = request.method() == "GET" && request.body() == BodyKind::None;
    (named && members(asked.as_bytes()).any(is_named)).then(|| request.fields().named(KEY))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http1::{Scan, parse_request};

    #[test]
    fn a_key_is_accepted_as_rfc_6455_has_it() {
        let accepted = accept(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accepted, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let key = new_key();
        assert_eq!(STANDARD.decode(&key).unwrap().len(), 16);
        assert_ne!(key, new_key());
    }

    #[test]
    fn a_handshake_is_a_get_with_a_key_that_asks_for_websocket() {
        for (head, key) in [
            (
                "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: a\r\n",
                Some("a"),
            ),
            (
                "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: irc, websocket\r\nSec-WebSocket-Key: a\r\n",
                Some("a"),
            ),
            (
                "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
                None,
            ),
            (
                "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: irc\r\nSec-WebSocket-Key: a\r\n",
                None,
            ),
            (
                "GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n",
                None,
            ),
            (
                "HEAD / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n",
                None,
            ),
        ] {
            let bytes = format!("{head}Host: x\r\n\r\n");
            let mut request = RequestHead::new();
            parse_request(bytes.as_bytes(), &mut Scan::default(), &mut request).unwrap();
            assert_eq!(key_of(&request), key.map(str::as_bytes), "{head}");
        }
    }
}
