//! How a message's body is delimited, and what becomes of that on the way to a peer of another version.

use super::head::Version;

/// What tells the end of a body (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// There is none.
    None,
    /// That many bytes follow; never 0, which is [`BodyKind::None`].
    Length(u64),
    /// Chunks follow, then perhaps trailers.
    Chunked,
    /// The body ends with the connection (responses only).
    UntilClose,
}

/// What to do with the body's bytes on their way to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relay {
    /// Pass them as they are.
    Pass,
    /// Wrap what is read into chunks, so that the client's connection outlives the body.
    Chunk,
    /// Take the chunks off, for a client of HTTP/1.0; the body then ends with the connection.
    Dechunk,
}

impl BodyKind {
    /// How a response's body goes to a client that speaks `client`.
    pub fn relay(self, client: Version) -> Relay {
        match (self, client) {
            (BodyKind::Chunked, Version::Http10) => Relay::Dechunk,
            (BodyKind::UntilClose, Version::Http11 | Version::Http2) => Relay::Chunk,
            _ => Relay::Pass,
        }
    }

    /// Whether a client that speaks `client` can tell the end of this response without the connection's closing.
    pub fn delimited_for(self, client: Version) -> bool {
        match client {
            Version::Http11 | Version::Http2 => true,
            Version::Http10 => matches!(self, BodyKind::None | BodyKind::Length(_)),
        }
    }
}
