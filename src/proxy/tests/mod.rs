//! The request path through real sockets: scripted backends, raw clients.

mod harness;
mod plain;
