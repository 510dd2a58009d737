//! HTTP/1 for a proxy: strict, sans-IO.
//!
//! A message that two parsers could understand in two ways is refused, never repaired: nothing ambiguous reaches a
//! backend. What is accepted goes on as it came, but for the fields that a proxy must change. No function here
//! panics on any bytes, and none allocates once its buffers are warm. The proxy's side reads like this:
//!
//! ```
//! use synod::wire::{body::{BodyKind, Relay}, head::{RequestHead, ResponseHead}};
//! use synod::wire::http1::{self, BodyReader, Forward, Parsed, Return, Scan};
//!
//! // Read, and parse until the head is complete. `scan` remembers how far the buffer is known.
//! let mut buffer = b"POST /cart?id=7 HTTP/1.1\r\nHost: Shop.example:8080\r\nContent-Length: 4\r\n\r\nmilk".to_vec();
//! let (mut scan, mut head) = (Scan::default(), RequestHead::new());
//! let len = match http1::parse_request(&buffer, &mut scan, &mut head)? {
//!     Parsed::Head { len } => len,
//!     Parsed::Incomplete => unreachable!("read more, and call again with all of it"),
//! };
//! buffer.drain(..len);
//!
//! // Route by what the head says.
//! assert_eq!((head.method(), head.host(), head.path()), ("POST", "shop.example", "/cart"));
//! assert_eq!(head.body(), BodyKind::Length(4));
//!
//! // Write the head for the backend.
//! let mut out = Vec::new();
//! let forward = Forward {
//!     client: "192.0.2.7", https: false, real_ip: "", certificate: "", trusted: false,
//!     host: "10.0.0.7:8080", request_id: "5f2a", traceparent: "", upgrade: false,
//!     instead: http1::Instead::default(),
//! };
//! http1::encode_request(&head, &forward, &mut out);
//! assert!(out.starts_with(b"POST /cart?id=7 HTTP/1.1\r\nHost: Shop.example:8080\r\nContent-Length: 4\r\n"));
//!
//! // Pump the body: `consumed` bytes belong to it and go on as they are.
//! let mut body = BodyReader::request(head.body());
//! let step = body.advance(&buffer)?;
//! assert!(step.done && step.consumed == 4);
//! out.extend_from_slice(&buffer[..step.consumed]);
//!
//! // The backend's answer; its method tells whether a body follows.
//! let reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
//! let (mut scan, mut response) = (Scan::default(), ResponseHead::new());
//! let Parsed::Head { len } = http1::parse_response(reply, &mut scan, head.method(), &mut response)? else {
//!     unreachable!("it is complete");
//! };
//! let mut back = Vec::new();
//! http1::encode_response(&response, &Return { client: head.version(), close: false, upgrade: false }, &mut back);
//! let mut body = BodyReader::response(response.body());
//! let step = body.relay(&reply[len..], response.body().relay(head.version()), &mut back)?;
//! assert!(step.done);
//! assert!(back.ends_with(b"\r\n\r\n2\r\nhi\r\n0\r\n\r\n"));
//! # Ok::<(), http1::Refusal>(())
//! ```

mod answer;
mod body;
mod chunked;
mod encode;
mod framing;
mod hop;
mod parse;
mod question;
mod quick;
mod refusal;
mod scan;
mod strict;
mod target;

#[cfg(test)]
mod tests;

pub use answer::{Answer, encode_answer};
pub use body::{BodyReader, Step};
pub use chunked::{Part, write_chunk, write_last_chunk};
pub use encode::{Forward, Instead, Return, encode_request, encode_response};
pub use parse::{Parsed, parse_request, parse_response};
pub use question::encode_question;
pub use refusal::{Reason, Refusal};
pub use scan::Scan;

/// Header fields of one message.
pub const MAX_FIELDS: usize = 100;

/// Bytes of a head, start line and blank line included. A read buffer must be able to grow to this.
pub const MAX_HEAD: usize = 64 * 1024;

/// Bytes of a request's target.
pub const MAX_TARGET: usize = 8 * 1024;

/// Bytes of a request's method.
pub const MAX_METHOD: usize = 64;

/// Bytes of a message's first line.
const MAX_START_LINE: usize = MAX_TARGET + MAX_METHOD + " HTTP/1.1 \r\n".len();
