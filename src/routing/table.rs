//! Finds the route of a request in time of the length of host and path.
//!
//! Precedence, in the words of the Kubernetes Gateway API: an exact host over a wildcard, a longer wildcard over a
//! shorter one, any over no host; then an exact path over a prefix, a longer prefix over a shorter; then the oldest
//! route, then the first by name. A host that has routes but none for the path leaves the request to the next less
//! specific host.
//!
//! Paths are compared byte for byte, as they are forwarded: `/%61dmin`, `//admin` and `/x/../admin` are not below
//! `/admin`, though a backend may think so. A route is where a request goes, not what keeps it away from a backend.

use super::host::Host;
use super::paths::{FastMap, Paths};
use crate::config::{HostPattern, Route};

/// Routes by host and path; a route is an index into what the table was built from.
#[derive(Debug, Default)]
pub(super) struct Table {
    exact: FastMap<Paths>,
    /// By what is behind `*.`.
    wildcard: FastMap<Paths>,
    /// Bytes of the longest suffix in there: no longer one is looked for.
    longest_wildcard: usize,
    any: Paths,
}

impl Table {
    /// Of routes with their indices, oldest first.
    pub(super) fn build<'a>(routes: impl Iterator<Item = (u32, &'a Route)>) -> Self {
        let mut table = Self::default();
        for (index, route) in routes {
            let path = &route.matches.path;
            if route.matches.hosts.is_empty() {
                table.any.add(path, index);
            }
            for host in &route.matches.hosts {
                let paths = match host {
                    HostPattern::Exact(host) => table.exact.entry(host.as_ref().into()),
                    HostPattern::Wildcard(suffix) => {
                        table.longest_wildcard = table.longest_wildcard.max(suffix.len());
                        table.wildcard.entry(suffix.as_ref().into())
                    }
                };
                paths.or_default().add(path, index);
            }
        }
        table
    }

    /// The route of a request.
    pub(super) fn find(&self, host: &str, path: &str) -> Option<u32> {
        let path = without_query(path);
        self.find_by_host(host, path)
            .or_else(|| self.any.find(path))
    }

    fn find_by_host(&self, host: &str, path: &str) -> Option<u32> {
        let host = Host::of(host)?;
        let exact = self
            .exact
            .get(host.as_str())
            .and_then(|paths| paths.find(path));
        if exact.is_some() || self.wildcard.is_empty() {
            return exact;
        }
        let suffixes = host
            .suffixes()
            .filter(|suffix| suffix.len() <= self.longest_wildcard);
        let mut wildcards = suffixes.filter_map(|suffix| self.wildcard.get(suffix));
        wildcards.find_map(|paths| paths.find(path))
    }
}

/// The path of a target.
pub(super) fn without_query(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}
