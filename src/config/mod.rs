//! The replicated value: pools and routes at one revision. Pure: no clock, no randomness, no IO, and the same
//! result of the same input on every node.
//!
//! What users write is read by [`spec`], which tells every fault at once. A [`Transaction`] turns one [`Config`]
//! into the next by [`Config::apply`]: admission runs it before a command is proposed, the state machine when it
//! was decided, and both get the same answer. Nothing behind the parser checks again.

mod fault;
mod friendly;
pub mod limits;
mod name;

mod health;
mod host;
mod pool;
mod resource;
mod route;

mod apply;
mod build;
mod diff;
mod draft;
mod merge;
mod references;
mod rejection;
#[cfg(test)]
pub(crate) mod samples;
pub mod spec;
#[cfg(test)]
mod tests;
mod transaction;
mod undo;
mod whole;
mod write;

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use twox_hash::XxHash3_64;

pub use apply::{Effect, Next};
pub use diff::{Change, diff};
pub use fault::{Fault, Faults, Pointer};
pub use health::{Health, HttpProbe, Probe, Statuses};
pub use host::HostPattern;
pub use name::{BadName, Name};
pub use pool::{Address, Backend, Balance, Pool, PoolTimeouts, Retries, State};
pub use rejection::Rejection;
pub use resource::{Resource, Revision};
pub use route::{Match, PathMatch, Route, Target};
pub use transaction::{Action, BadPath, Expected, Operation, ResourcePath, Transaction};
pub(crate) use undo::Undo;

/// Resources of one kind, by name.
pub type Resources<T> = BTreeMap<Name, Arc<Resource<T>>>;
/// Pools by name.
pub type Pools = Resources<Pool>;
/// Routes by name.
pub type Routes = Resources<Route>;

/// Everything the data plane is told, at one revision. Every pool a route names is in it. A clone is two pointers,
/// and what a change did not touch is the same allocation as before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The slot of the command that last changed it; 0 before the first.
    pub revision: Revision,
    /// All pools.
    pub pools: Arc<Pools>,
    /// All routes.
    pub routes: Arc<Routes>,
}

impl Config {
    /// When that resource last changed; `None` if it is not there.
    pub fn revision_of(&self, path: &ResourcePath) -> Option<Revision> {
        match path {
            ResourcePath::Config => Some(self.revision),
            ResourcePath::Pool(pool) => self.pools.get(pool).map(|resource| resource.revision),
            ResourcePath::Backend(pool, id) => self.pools.get(pool)?.part(id),
            ResourcePath::Route(route) => self.routes.get(route).map(|resource| resource.revision),
        }
    }

    /// `{"pools": [spec, ...], "routes": [spec, ...]}`, by name: what a put of the whole config takes.
    pub fn to_json(&self) -> Value {
        fn specs<T: Serialize>(resources: &Resources<T>) -> Vec<Value> {
            resources
                .values()
                .map(|resource| spec::to_json(&resource.spec))
                .collect()
        }
        json!({ "pools": specs(&self.pools), "routes": specs(&self.routes) })
    }

    /// Whether the specs are equal, whatever the revisions.
    pub fn same_content(&self, other: &Self) -> bool {
        fn same<T: PartialEq>(a: &Resources<T>, b: &Resources<T>) -> bool {
            a.len() == b.len()
                && a.values()
                    .zip(b.values())
                    .all(|(a, b)| Arc::ptr_eq(a, b) || a.spec == b.spec)
        }
        same(&self.pools, &other.pools) && same(&self.routes, &other.routes)
    }

    /// Over everything in it, revisions too: equal on every node that holds the same.
    pub fn digest(&self) -> u64 {
        fn feed<T>(hasher: &mut XxHash3_64, resources: &Resources<T>) {
            hasher.write(&(resources.len() as u64).to_le_bytes());
            for resource in resources.values() {
                hasher.write(&resource.digest.to_le_bytes());
            }
        }
        let mut hasher = XxHash3_64::with_seed(self.revision.0);
        feed(&mut hasher, &self.pools);
        feed(&mut hasher, &self.routes);
        hasher.finish()
    }
}
