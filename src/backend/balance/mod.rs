//! Picks a member of a pool: one file an algorithm, one property suite over all.
//!
//! A balancer is built with the snapshot from the members that may get requests at all (ready, weight above 0). It
//! keeps no state of its own: rotation and load live with the pool and its backends, over all snapshots. A pick
//! takes no lock and allocates nothing. To add an algorithm: a file here, a variant here and in `config`.

mod cursor;

mod smooth;

mod round_robin;

mod least_connections;

mod turn;

mod load_tree;

pub use cursor::Cursor;
pub use least_connections::LeastConnections;
pub(in crate::backend) use load_tree::LoadTree;
pub use round_robin::RoundRobin;
pub use smooth::Sequence;

use std::sync::Arc;

use super::member::Backend;
use super::runtime::PoolRuntime;
use crate::config::Balance;

/// A backend with its share in one snapshot. The weight is above 0.
#[derive(Debug, Clone)]
pub struct Member {
    /// The backend.
    pub backend: Arc<Backend>,
    /// Its share.
    pub weight: u16,
}

/// The pool's way to pick.
#[derive(Debug)]
pub enum Balancer {
    /// Smooth weighted round robin.
    RoundRobin(RoundRobin),
    /// Fewest requests in flight for its weight.
    LeastConnections(LeastConnections),
}

impl Balancer {
    /// A balancer over `members`; those of weight 0 are left out.
    pub fn build(balance: Balance, mut members: Vec<Member>, runtime: &Arc<PoolRuntime>) -> Self {
        members.retain(|member| member.weight > 0);
        match balance {
            Balance::RoundRobin => Self::RoundRobin(RoundRobin::new(members, runtime)),
            Balance::LeastConnections => {
                Self::LeastConnections(LeastConnections::new(members, runtime))
            }
        }
    }

    /// A member that is available now and whose key is not among `tried`; `None` if there is none.
    pub fn pick(&self, tried: &[u64]) -> Option<&Arc<Backend>> {
        match self {
            Self::RoundRobin(balancer) => balancer.pick(tried),
            Self::LeastConnections(balancer) => balancer.pick(tried),
        }
    }

    /// Called when the snapshot is about to be published: what this balancer keeps in view of its members follows
    /// them from now on, in place of the one before.
    pub fn attach(&self) {
        match self {
            Self::RoundRobin(balancer) => balancer.attach(),
            Self::LeastConnections(balancer) => balancer.attach(),
        }
    }

    /// Those it picks from.
    pub fn members(&self) -> &[Member] {
        match self {
            Self::RoundRobin(balancer) => balancer.members(),
            Self::LeastConnections(balancer) => balancer.members(),
        }
    }
}

impl Member {
    /// Whether a request that was at `tried` may go here now.
    fn open_to(&self, tried: &[u64]) -> bool {
        self.backend.is_available() && !tried.contains(&self.backend.key)
    }
}

#[cfg(test)]
mod tests;
