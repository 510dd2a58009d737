//! What the composition root tells the data plane.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::config::Network;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::traces::Tracer;
use crate::tls::ServerTls;

/// Everything the data plane is told at its start.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// Where traffic is accepted; at least one.
    pub listeners: Vec<Listener>,
    /// Data-plane threads; at least one.
    pub threads: usize,
    /// Timers of the client side.
    pub timeouts: Timeouts,
    /// One line a request, if any.
    pub access_log: Option<AccessLog>,
    /// What is told of requests that are traced, if any are.
    pub tracer: Option<Tracer>,
    /// What the node takes as a whole.
    pub limits: NodeLimits,
}

/// What the node takes as a whole, over all threads.
#[derive(Clone, Debug, Default)]
pub struct NodeLimits {
    /// Requests in flight; more are refused.
    pub requests: Option<u32>,
    /// Connections of clients; more wait to be accepted.
    pub connections: Option<u32>,
    /// Set while requests are at nine tenths of their limit, until they are below eight.
    pub busy: Arc<AtomicBool>,
}

/// One address on which traffic is accepted.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Networks whose forwarding headers are believed.
    pub trusted: Vec<Network>,
    /// Whether answers carry `Synod-Revision`.
    pub revision_header: bool,
    /// Whether requests go on with `Forwarded` (RFC 7239) too.
    pub forwarded_header: bool,
    /// Whether requests go on with `X-Real-IP` too: whom this proxy takes for the client.
    pub real_ip_header: bool,
    /// Whether requests go on with `Client-Cert` (RFC 9440): what a client that is not trusted showed in the handshake.
    pub client_cert_header: bool,
    /// Whether connections from trusted networks begin with a PROXY header.
    pub proxy_protocol: bool,
    /// What is spoken beneath HTTP; none: nothing.
    pub tls: Option<Arc<ServerTls>>,
}

impl Listener {
    /// A listener that trusts nobody and adds no revision.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            trusted: Vec::new(),
            revision_header: false,
            forwarded_header: false,
            real_ip_header: false,
            client_cert_header: false,
            proxy_protocol: false,
            tls: None,
        }
    }
}

/// Timers of the client side. Those of the backend side are the pool's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a request head to arrive, from its first byte (from the connection, for the first one).
    pub client_headers: Duration,
    /// An idle client connection is kept this long.
    pub keep_alive: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            client_headers: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
        }
    }
}
