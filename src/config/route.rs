//! A route: what a request must look like, and which pools it goes to.

use std::sync::Arc;

use serde::Serialize;

use super::resource::Spec;
use super::{HostPattern, KeyMatch, Name, Pattern, Policies, Policy, Wanted};

/// What a request must look like, and which pools it goes to. Two routes may ask for the same; the oldest wins,
/// then the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Its name, unique among routes.
    pub name: Name,
    /// What a request must look like.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Where it goes: at least one pool, each once, by weight; none only where it redirects or responds.
    pub to: Vec<Target>,
    /// The policies that it shares with other routes; each is there, in every config that was applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Name>,
    /// What it says itself of what it does besides, if anything.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Arc<Policy>>,
}

impl Route {
    /// All pools that it names itself.
    pub fn pools(&self) -> impl Iterator<Item = &Name> {
        let aside = self.policy.iter().flat_map(|policy| policy.pools());
        let aside = aside.map(|(_, pool)| pool);
        self.to.iter().map(|target| &target.pool).chain(aside)
    }

    /// What it does besides sending its requests somewhere: all that it says itself, and of what it does not, what the
    /// first of its policies says that does. An error is the name of one that is not there.
    pub fn policy_among(&self, policies: &Policies) -> Result<Option<Arc<Policy>>, &Name> {
        if self.policies.is_empty() {
            return Ok(self.policy.clone());
        }
        let mut whole = self.policy.as_deref().cloned().unwrap_or_default();
        for name in &self.policies {
            whole.take(&policies.get(name).ok_or(name)?.spec.policy);
        }
        Ok((whole != Policy::default()).then(|| Arc::new(whole)))
    }
}

impl Spec for Route {
    fn patterns(&self) -> usize {
        let policy = self.policy.as_ref();
        self.matches.patterns() + policy.map_or(0, |policy| policy.patterns())
    }
}

/// What a request must look like. The default takes every request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Match {
    /// One of these, or any host if there is none.
    pub hosts: Vec<HostPattern>,
    /// And this path.
    pub path: PathMatch,
    /// And one of these methods, or any method if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// And every one of these header fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<KeyMatch>,
    /// And every one of these query parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<KeyMatch>,
}

impl Match {
    /// Whether it asks for more than a host and a path.
    pub fn has_conditions(&self) -> bool {
        !(self.methods.is_empty() && self.headers.is_empty() && self.query.is_empty())
    }

    /// How many regular expressions are in it.
    pub fn patterns(&self) -> usize {
        let keys = self.headers.iter().chain(&self.query);
        let of_keys = keys.filter(|key| matches!(key.wanted, Wanted::Regex(_)));
        usize::from(matches!(self.path, PathMatch::Regex(_))) + of_keys.count()
    }
}

/// Which paths a route takes. The text begins with `/` and has no `?` or `#`. It is compared without what readers of
/// paths differ on: as [`routing::path`](crate::routing::path) has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathMatch {
    /// This path alone.
    Exact(String),
    /// This path and all below it, by segment: `/a` and `/a/` take `/a` and `/a/b`, not `/ab`.
    Prefix(String),
    /// Every path that matches this as a whole. Such routes are looked at one by one.
    Regex(Pattern),
}

impl PathMatch {
    /// What of `path` is behind this prefix: nothing, or the rest from a slash on. `None` of a path that is not below
    /// it as it is written, and of any other match.
    pub fn behind<'a>(&self, path: &'a str) -> Option<&'a str> {
        let Self::Prefix(prefix) = self else {
            return None;
        };
        let rest = path.strip_prefix(prefix.strip_suffix('/').unwrap_or(prefix))?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
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
