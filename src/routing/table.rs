//! Finds the route of a request in time of the length of host and path.
//!
//! Precedence, in the words of the Kubernetes Gateway API: an exact host over a wildcard, a longer wildcard over a
//! shorter one, any over no host; then an exact path over a regular expression, that over a prefix, a longer one over a
//! shorter; then a route that asks for a method over one that takes any, more header fields over fewer, more query
//! parameters over fewer; then the oldest route, then the first by name. A route that does not match leaves the request
//! to the next in that order, of a shorter prefix or of a less specific host too.
//!
//! Paths are compared in the form that [`path`](super::path) gives them.

use std::sync::Arc;

use super::asked::Asked;
use super::exchange::{Change, exchanges};
use super::hashed::Hashed;
use super::host::Host;
use super::path::comparable;
use super::paths::Paths;
use super::snapshot::RouteEntry;
use super::steps::step;
use crate::config::HostPattern;

/// Routes by host and path. A clone shares what it has in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    exact: Hashed<Arc<Paths>>,
    /// By what is behind `*.`.
    wildcard: Hashed<Arc<Paths>>,
    /// Bytes of the longest suffix that was in there: no longer one is looked for.
    longest_wildcard: usize,
    any: Arc<Paths>,
}

impl Table {
    /// Takes routes out and puts others in. What comes of it depends on the routes alone, not on the way to them.
    pub(super) fn change(&mut self, changes: &[Change]) {
        for ((host, path), exchange) in exchanges(changes) {
            let Some(host) = host else {
                Arc::make_mut(&mut self.any).exchange(path, &exchange);
                continue;
            };
            let (hosts, text) = match host {
                HostPattern::Exact(host) => (&mut self.exact, host),
                HostPattern::Wildcard(suffix) => {
                    self.longest_wildcard = self.longest_wildcard.max(suffix.len());
                    (&mut self.wildcard, suffix)
                }
            };
            let paths = Arc::make_mut(hosts.get_or_default(text));
            paths.exchange(path, &exchange);
            if paths.is_empty() {
                hosts.remove(text);
            }
        }
        if self.wildcard.is_empty() {
            self.longest_wildcard = 0;
        }
    }

    /// The route of a request.
    pub(super) fn find(&self, asked: &Asked<'_>) -> Option<&Arc<RouteEntry>> {
        let path = &*comparable(asked.path);
        let asked = &Asked { path, ..*asked };
        self.find_by_host(asked).or_else(|| self.any.find(asked))
    }

    fn find_by_host(&self, asked: &Asked<'_>) -> Option<&Arc<RouteEntry>> {
        if self.exact.is_empty() && self.wildcard.is_empty() {
            return None;
        }
        let host = Host::of(asked.host)?;
        step();
        let exact = self.exact.get(host.as_str());
        let exact = exact.and_then(|paths| paths.find(asked));
        if exact.is_some() || self.wildcard.is_empty() {
            return exact;
        }
        let suffixes = host
            .suffixes()
            .filter(|suffix| suffix.len() <= self.longest_wildcard);
        let mut wildcards = suffixes.filter_map(|suffix| {
            step();
            self.wildcard.get(suffix)
        });
        wildcards.find_map(|paths| paths.find(asked))
    }
}
