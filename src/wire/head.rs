//! The heads of requests and responses.
//!
//! A head owns a copy of the bytes it came in, so that the read buffer is free for the body while the head waits for
//! a retry; all buffers survive `clear`, so a reused head allocates nothing. What is asked often (host, path, body
//! kind, keep-alive) is decided once, at parse.

use super::body::BodyKind;
use super::field::Known;
use super::fields::{Fields, members};

const MAX_FORWARDS: &str = "max-forwards";

/// A version of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: no chunks, no 1xx, and a connection closes unless both say otherwise.
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
    /// HTTP/2: here its messages read as those of HTTP/1.1 (see [`http2`](super::http2)).
    Http2,
}

/// The form of a request's target (RFC 9112, section 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://host/path?query`; sent on as origin-form.
    Absolute,
    /// `*`, with OPTIONS only.
    Asterisk,
}

/// The head of a request.
#[derive(Debug)]
pub struct RequestHead {
    /// The request line up to the version: method, one space, target.
    pub(super) line: String,
    pub(super) method_len: usize,
    /// Where path and query start in `line`.
    pub(super) path: usize,
    /// Where the query starts in `line`, with its `?`; the line's length if there is none.
    pub(super) query: usize,
    pub(super) form: TargetForm,
    pub(super) version: Version,
    /// Host and port as received, by Host or by the target.
    pub(super) authority: String,
    /// Lower case, without port and final dot.
    pub(super) host: String,
    pub(super) fields: Fields,
    pub(super) body: BodyKind,
    pub(super) keep_alive: bool,
}

impl Default for RequestHead {
    fn default() -> Self {
        RequestHead {
            line: String::new(),
            method_len: 0,
            path: 0,
            query: 0,
            form: TargetForm::Origin,
            version: Version::Http11,
            authority: String::new(),
            host: String::new(),
            fields: Fields::default(),
            body: BodyKind::None,
            keep_alive: false,
        }
    }
}

impl RequestHead {
    /// An empty head, to be filled by the parser again and again.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the request and keeps the buffers.
    pub fn clear(&mut self) {
        self.line.clear();
        (self.method_len, self.path, self.query) = (0, 0, 0);
        self.form = TargetForm::Origin;
        self.version = Version::Http11;
        self.authority.clear();
        self.host.clear();
        self.fields.clear();
        self.body = BodyKind::None;
        self.keep_alive = false;
    }

    /// The method: any token but CONNECT, which is refused.
    pub fn method(&self) -> &str {
        &self.line[..self.method_len]
    }

    /// The target as received.
    pub fn target(&self) -> &str {
        self.line.get(self.method_len + 1..).unwrap_or("")
    }

    /// The form the target was received in.
    pub fn form(&self) -> TargetForm {
        self.form
    }

    /// The path as received, not decoded; `/` where an absolute target has none, `*` for asterisk-form.
    pub fn path(&self) -> &str {
        match &self.line[self.path..self.query] {
            "" => "/",
            path => path,
        }
    }

    /// Has another path in its place, which begins with `/` and holds nothing that a target must not.
    pub fn set_path(&mut self, path: &str) {
        self.line.replace_range(self.path..self.query, path);
        self.query = self.path + path.len();
    }

    /// The query without its `?`.
    pub fn query(&self) -> Option<&str> {
        self.line[self.query..].strip_prefix('?')
    }

    /// Path and query as they are sent on, in two parts: the second may be empty.
    pub(super) fn origin_form(&self) -> (&str, &str) {
        let missing = self.path == self.query && self.form == TargetForm::Absolute;
        match missing {
            true if self.query == self.line.len() && self.method() == "OPTIONS" => ("*", ""),
            true => ("/", &self.line[self.query..]),
            false => (&self.line[self.path..], ""),
        }
    }

    /// The client's version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Says that it came over HTTP/2, which its bytes do not tell.
    pub fn set_http2(&mut self) {
        self.version = Version::Http2;
    }

    /// The host in lower case, without port and final dot; an IPv6 address keeps its brackets. Empty only in
    /// HTTP/1.0 without Host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Host and port as received.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether what it holds of its host came of this field.
    pub(super) fn is_of_host(&self, field: &[u8]) -> bool {
        !field.is_empty() && self.authority.as_bytes() == field
    }

    /// The header fields.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The header fields, to skip and append.
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// What delimits the body; never [`BodyKind::UntilClose`].
    pub fn body(&self) -> BodyKind {
        self.body
    }

    /// Whether there is content where the method gives it no meaning (RFC 9110, 9.3.1, 9.3.2, 9.3.5, 9.3.7 and 9.3.8).
    /// A backend that does not read it takes it for the next request.
    pub fn has_unexpected_content(&self) -> bool {
        self.has_content()
            && matches!(
                self.method(),
                "GET" | "HEAD" | "DELETE" | "OPTIONS" | "TRACE"
            )
    }

    fn has_content(&self) -> bool {
        !matches!(self.body, BodyKind::None | BodyKind::Length(0))
    }

    /// Whether another request may come on this connection: the client means to send one, and nobody before this proxy
    /// can have taken the content of this one for it, as of a GET or HEAD over HTTP/1 (RFC 9110, 9.3.1).
    pub fn keep_alive(&self) -> bool {
        let blurred = matches!(self.method(), "GET" | "HEAD") && self.has_content();
        self.keep_alive && (!blurred || self.version == Version::Http2)
    }

    /// Whether the client waits for a 100 before it sends the body. Never so in HTTP/1.0 (RFC 9110, 10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.version >= Version::Http11
            && self
                .fields
                .values(Known::Expect)
                .any(|value| value.eq_ignore_ascii_case(b"100-continue"))
    }

    /// How often it may still be forwarded. Told for the methods that this bounds only: OPTIONS and TRACE (RFC 9110,
    /// 7.6.2).
    pub fn max_forwards(&self) -> Option<u64> {
        if !matches!(self.method(), "OPTIONS" | "TRACE") {
            return None;
        }
        let value = std::str::from_utf8(self.fields.named(MAX_FORWARDS)?).ok()?;
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        // What is beyond any number here is bounded by the greatest.
        digits.then(|| value.parse().unwrap_or(u64::MAX))
    }

    /// Has it go on with `left` more forwardings allowed.
    pub fn set_max_forwards(&mut self, left: u64) {
        self.fields.skip_named(MAX_FORWARDS);
        // Digits are a valid value.
        let _ = self
            .fields
            .append("Max-Forwards", left.to_string().as_bytes());
    }

    /// The protocol the client asks to change to, such as `websocket`.
    ///
    /// Not told for `h2c`: a proxy that passes that upgrade on loses sight of the requests behind it.
    pub fn upgrade(&self) -> Option<&str> {
        if !self.fields.has(Known::Upgrade) {
            return None;
        }
        let value = asked_upgrade(self.version, &self.fields)?;
        let mut protocols = members(value.as_bytes()).peekable();
        protocols.peek()?;
        let hidden = protocols.any(|name| name.len() >= 2 && name[..2].eq_ignore_ascii_case(b"h2"));
        (!hidden).then_some(value)
    }
}

/// The head of a response.
#[derive(Debug)]
pub struct ResponseHead {
    pub(super) status: u16,
    pub(super) version: Version,
    pub(super) reason: Vec<u8>,
    pub(super) fields: Fields,
    pub(super) body: BodyKind,
    pub(super) keep_alive: bool,
}

impl Default for ResponseHead {
    fn default() -> Self {
        ResponseHead {
            status: 0,
            version: Version::Http11,
            reason: Vec::new(),
            fields: Fields::default(),
            body: BodyKind::None,
            keep_alive: false,
        }
    }
}

impl ResponseHead {
    /// An empty head, to be filled by the parser again and again.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the response and keeps the buffers.
    pub fn clear(&mut self) {
        self.status = 0;
        self.version = Version::Http11;
        self.reason.clear();
        self.fields.clear();
        self.body = BodyKind::None;
        self.keep_alive = false;
    }

    /// The status, 100 to 999.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The words behind the status, as received.
    pub fn reason(&self) -> &[u8] {
        &self.reason
    }

    /// Whether the final response is still to come: any 1xx but 101.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// The backend's version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Says that it came over HTTP/2, which its bytes do not tell.
    pub fn set_http2(&mut self) {
        self.version = Version::Http2;
    }

    /// The header fields.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The header fields, to skip and append.
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// What delimits the body; [`BodyKind::None`] for 1xx (101 too: what follows is a tunnel), 204, 304 and answers
    /// to HEAD.
    pub fn body(&self) -> BodyKind {
        self.body
    }

    /// Says that the body goes on in chunks, and in another form than it came: its length is not told.
    pub fn set_chunked(&mut self) {
        self.body = BodyKind::Chunked;
        self.fields.skip(Known::ContentLength);
    }

    /// Whether the backend's connection can be used again once the body has ended.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// The protocol changed to by a 101, or to be changed to by a 426, where the head says so.
    pub fn upgrade(&self) -> Option<&str> {
        matches!(self.status, 101 | 426)
            .then(|| asked_upgrade(self.version, &self.fields))
            .flatten()
    }
}

/// The Upgrade field, where Connection names it (RFC 9110, 7.8: it is ignored in HTTP/1.0).
fn asked_upgrade(version: Version, fields: &Fields) -> Option<&str> {
    let value = fields.value(Known::Upgrade)?;
    let named = fields
        .values(Known::Connection)
        .flat_map(members)
        .any(|name| name.eq_ignore_ascii_case(b"upgrade"));
    (version >= Version::Http11 && named)
        .then(|| std::str::from_utf8(value).ok())
        .flatten()
}
