//! A route: what a request must look like, and which pools it goes to.

use serde::Serialize;

use super::policy::{ForwardAuth, Mirror};
use super::resource::Spec;
use super::{
    Fence, HostPattern, KeyMatch, Name, Pattern, Policy, RateLimit, RouteRetries, RouteTimeouts,
    Wanted,
};

/// What a request must look like, and which pools it goes to. Two routes may ask for the same; the oldest wins,
/// then the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Its name, unique among routes.
    pub name: Name,
    /// What a request must look like.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Where it goes: at least one pool, each once, by weight; none only for a redirect.
    pub to: Vec<Target>,
    /// How long a request may take; without limit unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<RouteTimeouts>,
    /// What is tried again besides what can be without harm; nothing unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<RouteRetries>,
    /// The rate it takes; without limit unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Which lock's tokens its requests must show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    /// What it does besides, if anything.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Box<Policy>>,
}

impl Route {
    /// The pool that copies of its requests go to, if any do.
    pub fn mirror(&self) -> Option<&Mirror> {
        self.policy.as_ref()?.mirror.as_ref()
    }

    /// The service that says who may use it, if one does.
    pub fn forward_auth(&self) -> Option<&ForwardAuth> {
        self.policy.as_ref()?.forward_auth.as_ref()
    }

    /// All pools that it names.
    pub fn pools(&self) -> impl Iterator<Item = &Name> {
        let mirror = self.mirror().map(|mirror| &mirror.pool);
        let auth = self.forward_auth().map(|auth| &auth.pool);
        let aside = mirror.into_iter().chain(auth);
        self.to.iter().map(|target| &target.pool).chain(aside)
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

/// Which paths a route takes. The text begins with `/`, has no `?` or `#`, and is compared byte for byte.
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
