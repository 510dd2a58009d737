//! How a pool picks a backend, and for consistent hashing what of a request decides.

use serde::Serialize;

/// How a pool picks a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Smooth weighted round robin, exact over the node.
    #[default]
    RoundRobin,
    /// The fewest requests in flight for its weight.
    LeastConnections,
    /// By chance, in proportion to the weights.
    Random,
    /// The less loaded of two drawn by weight.
    PowerOfTwo,
    /// The faster of two drawn by weight: peak EWMA of the time to the first byte, by requests in flight.
    Ewma,
    /// Consistent hashing of something in the request.
    Maglev,
}

impl Balance {
    /// Every way there is.
    pub const ALL: [Self; 6] = [
        Self::RoundRobin,
        Self::LeastConnections,
        Self::Random,
        Self::PowerOfTwo,
        Self::Ewma,
        Self::Maglev,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastConnections => "least_connections",
            Self::Random => "random",
            Self::PowerOfTwo => "power_of_two",
            Self::Ewma => "ewma",
            Self::Maglev => "maglev",
        }
    }
}

/// What of a request decides where consistent hashing sends it: of headers and cookies what the backend gets. A request
/// without it goes anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HashOn {
    /// The first field of that name.
    Header(String),
    /// The first cookie of that name.
    Cookie(String),
    /// The path without the query.
    Path,
    /// The first parameter of that name in the query, as it was written.
    Query(String),
    /// The address of the client's connection, without the port.
    #[default]
    Address,
}
