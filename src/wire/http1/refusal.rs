//! Why a message is refused: one variant a broken rule, the answer it calls for, and the words for log and header.

use std::fmt;

/// A message that is not passed on, and the answer to its sender's peer.
///
/// After a request's refusal the connection ends: where its next request would start is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    reason: Reason,
    side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Backend,
}

impl Refusal {
    pub(super) fn of(side: Side, reason: Reason) -> Refusal {
        Refusal { reason, side }
    }

    /// The rule that was broken.
    pub fn reason(self) -> Reason {
        self.reason
    }

    /// The status of the answer to the client: 502 for a backend's fault.
    pub fn status(self) -> u16 {
        match self.side {
            Side::Client => self.reason.status(),
            Side::Backend => 502,
        }
    }

    /// The error type of RFC 9209, section 2.3, for the `proxy-status` field.
    pub fn proxy_status(self) -> &'static str {
        match (self.side, self.reason) {
            (Side::Client, _) => "http_request_error",
            (Side::Backend, Reason::HeadTooLarge | Reason::TooManyFields) => {
                "http_response_header_section_size"
            }
            (Side::Backend, Reason::UnknownCoding | Reason::ChunkedNotFinal) => {
                "http_response_transfer_coding"
            }
            (Side::Backend, Reason::Truncated) => "http_response_incomplete",
            (Side::Backend, _) => "http_protocol_error",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $status:literal $token:literal,)*) => {
        /// The rule that a message broke.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// The status to answer a request with.
            pub fn status(self) -> u16 {
                match self { $(Reason::$name => $status,)* }
            }

            /// One word for logs and metrics.
            pub fn token(self) -> &'static str {
                match self { $(Reason::$name => $token,)* }
            }
        }
    };
}

reasons! {
    /// A line that ends in LF without CR.
    BareLf = 400 "bare_lf",
    /// A CR that no LF follows.
    BareCr = 400 "bare_cr",
    /// NUL or another control character.
    ControlByte = 400 "control_byte",
    /// A blank line, or blank space, where the start line should be.
    NoStartLine = 400 "no_start_line",
    /// A start line that is not three parts with one space between.
    BadStartLine = 400 "bad_start_line",
    /// A method that is no token.
    BadMethod = 400 "bad_method",
    /// A method longer than any in use.
    MethodTooLong = 501 "method_too_long",
    /// CONNECT: this is no forward proxy.
    Connect = 405 "connect",
    /// A version that is no version of HTTP.
    BadVersion = 400 "bad_version",
    /// A version of HTTP that this connection does not speak.
    UnsupportedVersion = 505 "unsupported_version",
    /// A target in none of the forms that its method allows.
    BadTarget = 400 "bad_target",
    /// A character that a target must not hold as it is: `#`, one outside of ASCII, or, before the query, `"`, `<`
    /// and `>`.
    TargetByte = 400 "target_byte",
    /// A target of more than [`MAX_TARGET`](super::MAX_TARGET) bytes.
    TargetTooLong = 414 "target_too_long",
    /// A head of more than [`MAX_HEAD`](super::MAX_HEAD) bytes.
    HeadTooLarge = 431 "head_too_large",
    /// More than [`MAX_FIELDS`](super::MAX_FIELDS) fields.
    TooManyFields = 431 "too_many_fields",
    /// A line that begins with white space: a folded field.
    FoldedField = 400 "folded_field",
    /// White space between a field's name and its colon.
    SpaceBeforeColon = 400 "space_before_colon",
    /// A field name that is empty or no token, or a line without colon.
    BadFieldName = 400 "bad_field_name",
    /// No Host in HTTP/1.1.
    NoHost = 400 "no_host",
    /// Host more than once.
    RepeatedHost = 400 "repeated_host",
    /// A host that is no name or address, or a port that is no number below 65,536.
    BadHost = 400 "bad_host",
    /// An absolute target whose host is not the one in Host.
    HostMismatch = 400 "host_mismatch",
    /// Content-Length and Transfer-Encoding in one message.
    LengthAndCoding = 400 "length_and_coding",
    /// A field that could be taken for Content-Length or Transfer-Encoding, and is neither (requests only; a response
    /// goes on without it).
    FalseFraming = 400 "false_framing",
    /// Content-Length more than once, equal or not.
    RepeatedLength = 400 "repeated_length",
    /// A Content-Length that is no number, or beyond 2^63 - 1.
    BadLength = 400 "bad_length",
    /// Transfer-Encoding in HTTP/1.0, which has none.
    CodingInHttp10 = 400 "coding_in_http10",
    /// `chunked` more than once or before another coding, or no coding at all.
    ChunkedNotFinal = 400 "chunked_not_final",
    /// A transfer-coding other than `chunked`.
    UnknownCoding = 501 "unknown_coding",
    /// An expectation other than `100-continue`.
    UnknownExpectation = 417 "unknown_expectation",
    /// A Connection field that names more options than any message has fields.
    TooManyOptions = 400 "too_many_options",
    /// A status that is not three digits from 100 on.
    BadStatus = 400 "bad_status",
    /// A chunk size that is no hexadecimal number of at most 15 digits.
    BadChunkSize = 400 "bad_chunk_size",
    /// A chunk extension that breaks its grammar.
    BadChunkExtension = 400 "bad_chunk_extension",
    /// Chunk extensions beyond their bound.
    ChunkExtensionTooLong = 400 "chunk_extension_too_long",
    /// Chunk data without CRLF behind it.
    BadChunkEnd = 400 "bad_chunk_end",
    /// A trailer section beyond its bound.
    TrailersTooLarge = 431 "trailers_too_large",
    /// A field that must not stand in a trailer section: framing, for one hop only, or, of a request, routing.
    ForbiddenTrailer = 400 "forbidden_trailer",
    /// The connection ended within a body.
    Truncated = 400 "truncated",
    /// A head that the quick reader refuses and no rule above explains.
    Malformed = 400 "malformed",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}
