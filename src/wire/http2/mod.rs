//! HTTP/2 as a carrier of HTTP/1.1 messages.
//!
//! One request path knows one form of message. A stream of an HTTP/2 connection reads as the bytes of one HTTP/1.1
//! request, and takes the bytes of its answer; so whatever HTTP/2 lets into a field, a path or a trailer is held to
//! the rules of [`http1`](super::http1) before anything acts on it, and no backend sees what that codec would refuse.
//! Framing, flow control and HPACK are the h2 crate's. What RFC 9113 asks of a message, and neither of the two
//! checks, is checked here, and by who reads blocks of fields along ([`hpack`]): RFC 9113 asks for a stream error
//! (8.1.1).
//!
//! What the crate does in another way than that, and stays so: it ends the connection for an empty name without a value
//! that is to be remembered in a table, as no field could be put in its place there. A head far beyond the limit is
//! answered 431 without a word of why.
//!
//! On the other side [`Asked`] is a stream to a backend, which takes a request's bytes and reads as those of its
//! answer.

mod asked;
pub mod hpack;
mod incoming;
mod names;
mod outgoing;
mod request;
mod response;
mod served;
mod start;
mod trailers;

pub use asked::{Asked, Fault, Pulse};
pub use served::{Ends, Served};
