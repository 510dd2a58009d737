//! A pool: a named set of backends, how requests are spread over it, and how long and how often to try.

use std::time::Duration;

use serde::Serialize;

use super::resource::Spec;
use super::{
    Address, BackendTls, Balance, Capacity, HashOn, Health, Name, Outlier, Probe, Sticky, friendly,
};

/// A named set of backends. It may be empty: routes to it then answer 503.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// Its name, unique among pools.
    pub name: Name,
    /// How a backend is picked.
    pub balance: Balance,
    /// What consistent hashing looks at; there is one if `balance` is `maglev`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<HashOn>,
    /// Whether consistent hashing passes over a backend with more than 125 % of its share in flight; likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounded_load: Option<bool>,
    /// In the order they were written, ids unique.
    pub backends: Vec<Backend>,
    /// How long to wait for what.
    pub timeouts: PoolTimeouts,
    /// How often to try again.
    pub retries: Retries,
    /// Whether connections to its backends begin with a PROXY header, and of which version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whether TLS is spoken to its backends, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// What is spoken with its backends.
    #[serde(skip_serializing_if = "is_http1")]
    pub protocol: Protocol,
    /// How its backends are checked; not at all unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// When a backend is ejected for what requests meet there.
    pub outlier: Outlier,
    /// Within what time a backend that comes up comes to take its whole share; at once unless said.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "friendly::serialize_option"
    )]
    pub slow_start: Option<Duration>,
    /// How much it takes at a time; without limit unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Capacity>,
    /// By which cookie it keeps clients at the backend they had; not at all unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
}

impl Spec for Pool {
    fn patterns(&self) -> usize {
        0
    }
}

impl Pool {
    /// An empty pool with every default.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            balance: Balance::default(),
            hash: None,
            bounded_load: None,
            backends: Vec::new(),
            timeouts: PoolTimeouts::default(),
            retries: Retries::default(),
            proxy_protocol: None,
            tls: None,
            protocol: Protocol::Http1,
            health: None,
            outlier: Outlier::default(),
            slow_start: None,
            limits: None,
            sticky: None,
        }
    }

    /// What its checks speak.
    pub fn check_protocol(&self) -> Protocol {
        match self.health.as_ref().map(|health| &health.probe) {
            Some(Probe::Grpc(_)) => Protocol::Http2,
            _ => self.protocol,
        }
    }

    /// The backend of that id.
    pub fn backend(&self, id: &Name) -> Option<&Backend> {
        self.backends.iter().find(|backend| backend.id == *id)
    }
}

/// One address in a pool, with an id that stays when the address moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backend {
    /// Its id, unique in the pool.
    pub id: Name,
    /// Where it listens.
    pub address: Address,
    /// Its share, 0 to 65,535; 0 gets nothing. 1 unless said.
    pub weight: u16,
    /// Whether it takes requests.
    pub state: State,
    /// 0 for one of the first tier; one of a higher tier is a backup, used while too few of the tiers before it are up.
    #[serde(skip_serializing_if = "is_first")]
    pub backup: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_first(tier: &u8) -> bool {
    *tier == 0
}

/// What is spoken with a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1, a request at a time on each connection.
    #[default]
    Http1,
    /// HTTP/2, by ALPN where TLS is spoken, else by prior knowledge (RFC 9113, 3.3): requests share connections.
    Http2,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_http1(protocol: &Protocol) -> bool {
    *protocol == Protocol::Http1
}

/// A version of the PROXY protocol, by which a backend is told who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyProtocol {
    /// The header of a connection that is the proxy's own: of a check, say.
    pub fn own(self) -> &'static [u8] {
        match self {
            Self::V1 => b"PROXY UNKNOWN\r\n",
            Self::V2 => b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        }
    }
}

/// Whether a backend takes requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Takes requests.
    #[default]
    Ready,
    /// Finishes what it has, takes nothing new but of clients that stick to it.
    Drain,
    /// Takes nothing, and is not checked either.
    Maint,
}

/// How long a pool waits for its backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolTimeouts {
    /// For a connection. 2 s.
    #[serde(serialize_with = "friendly::serialize")]
    pub connect: Duration,
    /// From the sent request to the head of the response. 60 s.
    #[serde(serialize_with = "friendly::serialize")]
    pub response_headers: Duration,
    /// As long as a body, request's or response's, may stand still: not a byte of it comes or goes. 5 min.
    #[serde(serialize_with = "friendly::serialize")]
    pub stream_idle: Duration,
    /// An unused connection is kept this long. 60 s.
    #[serde(serialize_with = "friendly::serialize")]
    pub idle: Duration,
    /// A tunnel (an upgraded connection, such as a WebSocket) in which nothing moves is kept this long. 1 h.
    #[serde(serialize_with = "friendly::serialize")]
    pub tunnel_idle: Duration,
}

impl Default for PoolTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            response_headers: Duration::from_secs(60),
            stream_idle: Duration::from_mins(5),
            idle: Duration::from_secs(60),
            tunnel_idle: Duration::from_hours(1),
        }
    }
}

/// How often a pool tries again, and out of which budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retries {
    /// Tries in all, the first one counted. 3.
    pub attempts: u32,
    /// Retries allowed, in percent of the requests in flight. 20.
    pub budget_percent: u32,
    /// Retries per second allowed however few the requests are. 10.
    pub budget_min_per_second: u32,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 3,
            budget_percent: 20,
            budget_min_per_second: 10,
        }
    }
}
