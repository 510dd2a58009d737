//! HTTP messages and codecs, for both sides of the proxy.
//!
//! [`head`] and [`body`] are the model that every protocol shares; [`http1`] is the codec of the request path. All of
//! it is sans-IO: bytes in, bytes and decisions out. Nothing here knows of sockets, clocks or threads; who reads,
//! when, and how long it may take is the proxy's business.

pub mod body;
pub mod field;
pub mod fields;
pub mod head;
pub mod http1;

#[cfg(test)]
mod oracle;
