//! HTTP messages and codecs, for both sides of the proxy.
//!
//! [`head`] and [`body`] are the model that every protocol shares; [`http1`] is the codec of the request path. They are
//! sans-IO: bytes in, bytes and decisions out. [`http2`] carries the same messages in streams of one connection. Only
//! [`stream`] knows of sockets; nothing here knows of clocks or threads, and who reads, when, and how long it may take
//! is the proxy's business. [`websocket`] knows what a handshake has in one version of HTTP and not in the other,
//! [`grpc`] what its media types are.

pub mod body;
pub mod field;
pub mod fields;
pub mod grpc;
pub mod head;
pub mod http1;
pub mod http2;
pub mod stream;
pub mod websocket;

#[cfg(test)]
mod oracle;
