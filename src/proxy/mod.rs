//! The request path.

mod options;

pub use options::{Listener, Network, ProxyOptions, Timeouts};
