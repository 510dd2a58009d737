//! A route: what a request must look like, and which pools it goes to.

use serde::Serialize;

use super::{HostPattern, Name};

/// What a request must look like, and which pools it goes to. Two routes may ask for the same; the oldest wins,
/// then the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Its name, unique among routes.
    pub name: Name,
    /// What a request must look like.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Where it goes: at least one pool, each once, by weight.
    pub to: Vec<Target>,
}

/// What a request must look like. The default takes every request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Match {
    /// One of these, or any host if there is none.
    pub hosts: Vec<HostPattern>,
    /// And this path.
    pub path: PathMatch,
}

/// Which paths a route takes. The text begins with `/`, has no `?` or `#`, and is compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathMatch {
    /// This path alone.
    Exact(String),
    /// This path and all below it, by segment: `/a` and `/a/` take `/a` and `/a/b`, not `/ab`.
    Prefix(String),
}

impl Default for PathMatch {
    fn default() -> Self {
        Self::Prefix("/".to_owned())
    }
}

/// One pool of a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Its name; the pool is there, in every config that was applied.
    pub pool: Name,
    /// Its share, 0 to 65,535; 0 gets nothing. 1 unless said.
    pub weight: u16,
}
