//! A policy with a name, for as many routes as name it.

use serde::Serialize;

use super::Policy;
use crate::config::Name;
use crate::config::resource::Spec;

/// What several routes do besides sending their requests somewhere. It may have all that a route's own may, but for
/// `redirect` and `rewrite`, which go by the route's path, and `fence`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SharedPolicy {
    /// Its name, unique among policies.
    pub name: Name,
    /// What it says.
    #[serde(flatten)]
    pub policy: Policy,
}

impl SharedPolicy {
    /// One that says nothing.
    pub fn new(name: Name) -> Self {
        let policy = Policy::default();
        Self { name, policy }
    }
}

impl Spec for SharedPolicy {
    fn patterns(&self) -> usize {
        self.policy.patterns()
    }
}
