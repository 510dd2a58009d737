//! How the backends of a pool are checked, and from which share of them on they are used whatever the checks say.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::friendly;

/// A pool with a smaller share of its backends up uses those that are down too, unless it says another one.
pub(super) const PANIC_PERCENT: u32 = 50;

/// The active checks of a pool. A pool without them takes its backends to be up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// What is asked.
    #[serde(flatten)]
    pub probe: Probe,
    /// From one check to the next, give or take 15 %; half of it while results contradict what is held. 2 s.
    #[serde(serialize_with = "friendly::serialize")]
    pub interval: Duration,
    /// For a whole check, connecting included. 1 s.
    #[serde(serialize_with = "friendly::serialize")]
    pub timeout: Duration,
    /// Good checks in a row that bring a backend up. 2.
    pub rise: u32,
    /// Failed checks in a row that take a backend down. 3.
    pub fall: u32,
    /// With a smaller share of its backends up, the pool uses those that are down too (panic), and with none known
    /// those that no check has told of; 0 switches that off. 50.
    pub panic_percent: u32,
}

impl Health {
    /// With every default.
    pub fn new(probe: Probe) -> Self {
        Self {
            probe,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
            panic_percent: PANIC_PERCENT,
        }
    }
}

/// A kind of check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// A request, without content and in what the pool speaks, whose answer must fit.
    Http(HttpProbe),
    /// A connection that must be accepted.
    Tcp {},
    /// A question to the health service of gRPC (grpc.health.v1), over HTTP/2 whatever the pool speaks.
    Grpc(GrpcProbe),
}

/// What is asked by gRPC. Good is the answer SERVING.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GrpcProbe {
    /// Whose health is asked for; empty for that of the server as a whole.
    pub service: String,
}

/// What is asked by HTTP, and which answer is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpProbe {
    /// The target of the request.
    pub path: String,
    /// GET unless said.
    #[serde(skip_serializing_if = "is_get")]
    pub method: String,
    /// The Host field; the backend's address unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Fields it has besides, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Good statuses. 200-399.
    pub status: Vec<Statuses>,
    /// What the first bytes of the body must contain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

fn is_get(method: &str) -> bool {
    method == "GET"
}

impl HttpProbe {
    /// Whether an answer with this status is good.
    pub fn accepts(&self, status: u16) -> bool {
        let mut ranges = self.status.iter();
        ranges.any(|range| (range.first..=range.last).contains(&status))
    }
}

/// A range of statuses, both ends in it. Written `200` or `"200-399"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses {
    /// The least.
    pub first: u16,
    /// The greatest.
    pub last: u16,
}

impl Statuses {
    /// 200-399.
    pub const DEFAULT: Self = Self {
        first: 200,
        last: 399,
    };
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.first == self.last {
            true => serializer.serialize_u16(self.first),
            false => serializer.collect_str(self),
        }
    }
}
