//! A pool: a named set of backends, how requests are spread over it, and how long and how often to try.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::{Health, Name, friendly};

/// A named set of backends. It may be empty: routes to it then answer 503.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// Its name, unique among pools.
    pub name: Name,
    /// How a backend is picked.
    pub balance: Balance,
    /// In the order they were written, ids unique.
    pub backends: Vec<Backend>,
    /// How long to wait for what.
    pub timeouts: PoolTimeouts,
    /// How often to try again.
    pub retries: Retries,
    /// How its backends are checked; not at all unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

impl Pool {
    /// An empty pool with every default.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            balance: Balance::default(),
            backends: Vec::new(),
            timeouts: PoolTimeouts::default(),
            retries: Retries::default(),
            health: None,
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
}

/// Where a backend listens: today an IP address and a port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Address(SocketAddr);

impl Address {
    /// Of an IP address and port.
    pub fn new(address: SocketAddr) -> Self {
        Self(address)
    }

    /// As an IP address and port.
    pub fn socket_addr(self) -> SocketAddr {
        self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How a pool picks a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Smooth weighted round robin, exact over the node.
    #[default]
    RoundRobin,
    /// The fewest requests in flight for its weight.
    LeastConnections,
}

/// Whether a backend takes requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Takes requests.
    #[default]
    Ready,
    /// Finishes what it has, takes nothing new.
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
    /// Between two pieces of a body. 5 min.
    #[serde(serialize_with = "friendly::serialize")]
    pub stream_idle: Duration,
    /// An unused connection is kept this long. 60 s.
    #[serde(serialize_with = "friendly::serialize")]
    pub idle: Duration,
}

impl Default for PoolTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            response_headers: Duration::from_secs(60),
            stream_idle: Duration::from_mins(5),
            idle: Duration::from_secs(60),
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
