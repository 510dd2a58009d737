//! Which answers are made smaller on their way.

use serde::Serialize;

/// Which answers are compressed for clients that take that (RFC 9110, 12.5.3). What a backend has compressed already,
/// says is not to be transformed, or answers as a part stays as it is, and so does gRPC, and what is beyond 256 answers
/// that a thread compresses at a time. What is compressed is flushed
/// whenever the backend pauses, so streams of events arrive as they are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compress {
    /// The codings, the best first. Brotli and gzip unless said.
    pub codings: Vec<Coding>,
    /// Of these media types; `text/*` is all that begin so.
    pub types: Vec<String>,
    /// An answer that is known to be shorter stays as it is. 1,024.
    pub min_bytes: u64,
}

/// A coding of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Coding {
    /// Brotli (RFC 7932).
    #[serde(rename = "br")]
    Brotli,
    /// Gzip (RFC 1952).
    #[serde(rename = "gzip")]
    Gzip,
}

impl Coding {
    /// As it stands in header fields.
    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

impl Compress {
    /// The types compressed unless others are said.
    pub const TYPES: [&'static str; 10] = [
        "text/*",
        "application/javascript",
        "application/json",
        "application/ld+json",
        "application/manifest+json",
        "application/problem+json",
        "application/wasm",
        "application/xhtml+xml",
        "application/xml",
        "image/svg+xml",
    ];

    /// Whether answers of this Content-Type are compressed.
    pub fn takes(&self, content_type: &[u8]) -> bool {
        let end = content_type.iter().position(|byte| *byte == b';');
        let media = content_type[..end.unwrap_or(content_type.len())].trim_ascii();
        self.types
            .iter()
            .any(|known| match known.strip_suffix('*') {
                Some(start) => media
                    .get(..start.len())
                    .is_some_and(|media| media.eq_ignore_ascii_case(start.as_bytes())),
                None => media.eq_ignore_ascii_case(known.as_bytes()),
            })
    }
}
