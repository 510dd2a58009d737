//! The replicated value: pools, routes and policies at one revision. Pure: no clock, no randomness, no IO, and the same
//! result of the same input on every node.
//!
//! What users write is read by [`spec`], which tells every fault at once. A [`Transaction`] turns one [`Config`]
//! into the next by [`Config::apply`]: admission runs it before a command is proposed, the state machine when it
//! was decided, and both get the same answer. Nothing behind the parser checks again.

mod fault;
pub(crate) mod friendly;
pub mod limits;
mod name;

mod balance;
mod capacity;
mod health;
mod host;
mod key;
mod layer;
pub mod level;
mod network;
mod outlier;
mod pattern;
mod persistent;
pub mod policy;
mod pool;
mod resource;
mod resources;
mod route;
mod short;
mod sticky;
mod tls;

mod address;
mod apply;
mod build;
mod diff;
mod draft;
mod image;
mod merge;
mod references;
mod rejection;
#[cfg(test)]
pub(crate) mod samples;
pub mod spec;
#[cfg(test)]
mod tests;
mod transaction;
mod unambiguous;
mod undo;
mod whole;
mod write;

use std::hash::Hasher;

use serde::Serialize;
use serde_json::{Value, json};
use twox_hash::XxHash3_64;

pub use address::{Address, BadAddress};
pub use apply::{Effect, Next};
pub use balance::{Balance, HashOn};
pub use capacity::Capacity;
pub(crate) use diff::diff_text;
pub use diff::{Change, diff};
pub use fault::{Fault, Faults, Pointer};
pub use health::{GrpcProbe, Health, HttpProbe, Probe, Statuses};
pub use host::HostPattern;
pub use key::{KeyMatch, Wanted};
pub use name::{BadName, Name};
pub use network::{BadNetwork, Network};
pub use outlier::Outlier;
pub use pattern::Pattern;
pub use persistent::{Difference, PersistentMap};
pub use policy::{Fence, Policy, RateLimit, RouteRetries, RouteTimeouts, SharedPolicy};
pub use pool::{Backend, Pool, PoolTimeouts, Protocol, ProxyProtocol, Retries, State};
pub use rejection::Rejection;
pub use resource::{Resource, Revision};
pub use resources::{ResourceDifference, Resources};
pub use route::{Match, PathMatch, Route, Target};
pub use sticky::{SameSite, Sticky, StickyKey};
pub use tls::{Authority, BackendTls, TlsVersion, Trust};
pub use transaction::{Action, BadPath, Expected, Operation, ResourcePath, Transaction};
pub use unambiguous::Unambiguous;
pub(crate) use undo::Undo;

/// Pools by name.
pub type Pools = Resources<Pool>;
/// Routes by name.
pub type Routes = Resources<Route>;
/// What routes share, by name.
pub type Policies = Resources<SharedPolicy>;

/// Everything the data plane is told, at one revision. Every pool and policy that is named is in it. A clone is cheap,
/// and what a change did not touch is shared with the config before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The slot of the command that last changed it; 0 before the first.
    pub revision: Revision,
    /// All pools.
    pub pools: Pools,
    /// All routes.
    pub routes: Routes,
    /// All policies that routes share.
    pub policies: Policies,
    /// What cookies of sticky pools are made with: there from the first change on, and never another one. No content,
    /// so neither written for users nor undone.
    pub sticky_key: Option<StickyKey>,
}

impl Config {
    /// When that resource last changed; `None` if it is not there.
    pub fn revision_of(&self, path: &ResourcePath) -> Option<Revision> {
        match path {
            ResourcePath::Config => Some(self.revision),
            ResourcePath::Pool(pool) => self.pools.get(pool).map(|resource| resource.revision),
            ResourcePath::Backend(pool, id) => self.pools.get(pool)?.part(id),
            ResourcePath::Route(route) => self.routes.get(route).map(|resource| resource.revision),
            ResourcePath::Policy(policy) => Some(self.policies.get(policy)?.revision),
        }
    }

    /// `{"pools": [spec, ...], "routes": [spec, ...]}`, by name: what a put of the whole config takes. `policies` are
    /// there if there are any.
    pub fn to_json(&self) -> Value {
        fn specs<T: Serialize>(resources: &Resources<T>) -> Vec<Value> {
            resources
                .values()
                .map(|resource| spec::to_json(&resource.spec))
                .collect()
        }
        let mut config = json!({ "pools": specs(&self.pools), "routes": specs(&self.routes) });
        if !self.policies.is_empty() {
            config["policies"] = specs(&self.policies).into();
        }
        config
    }

    /// Whether the specs are equal, whatever the revisions.
    pub fn same_content(&self, other: &Self) -> bool {
        self.pools.same_content(&other.pools)
            && self.routes.same_content(&other.routes)
            && self.policies.same_content(&other.policies)
    }

    /// Over everything in it, revisions too: equal on every node that holds the same.
    pub fn digest(&self) -> u64 {
        fn feed<T>(hasher: &mut XxHash3_64, resources: &Resources<T>) {
            hasher.write(&(resources.len() as u64).to_le_bytes());
            hasher.write(&resources.totals().digest.to_le_bytes());
        }
        let mut hasher = XxHash3_64::with_seed(self.revision.0);
        feed(&mut hasher, &self.pools);
        feed(&mut hasher, &self.routes);
        // Whoever has none goes on as from before there were any. (`a_digest_outlives_the_build_that_made_it`)
        if !self.policies.is_empty() {
            feed(&mut hasher, &self.policies);
        }
        if let Some(StickyKey(key)) = &self.sticky_key {
            hasher.write(key);
        }
        hasher.finish()
    }
}
