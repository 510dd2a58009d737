//! The request path through real sockets: scripted backends, raw clients.

mod faults;
mod harness;
mod headers;
mod interim;
mod plain;
mod refusals;
mod swap;
