//! Picks a member of a pool: one file an algorithm, one property suite over all.
//!
//! A balancer is built with the snapshot from the members that may get requests at all (ready, weight above 0; for
//! consistent hashing, all with a weight). It keeps no state of its own: rotation and load live with the pool and its
//! backends, over all snapshots. A pick takes no lock, allocates nothing, and looks at no more than the logarithm of
//! the members, in whatever state they are (`members`). To add an algorithm: a file here, a variant here and in
//! `config`.

mod cursor;

mod smooth;

mod round_robin;

mod least_connections;

mod turn;

mod members;

mod tree;

mod sums;

mod lightest;

mod draw;

mod random;

mod power_of_two;

mod ewma;

mod maglev;

pub use cursor::Cursor;
pub use draw::draw;
pub use ewma::Ewma;
pub use least_connections::LeastConnections;
pub use maglev::Maglev;
pub(in crate::backend) use members::Members;
pub use power_of_two::PowerOfTwo;
pub use random::Random;
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
    /// By chance.
    Random(Random),
    /// The less loaded of two.
    PowerOfTwo(PowerOfTwo),
    /// The faster of two.
    Ewma(Ewma),
    /// Consistent hashing.
    Maglev(Maglev),
}

impl Balancer {
    /// A balancer over `members`; those of weight 0 are left out. `bounded_load` is of consistent hashing alone, as
    /// is that members may be among them that this revision keeps closed.
    pub fn build(
        balance: Balance,
        bounded_load: bool,
        mut members: Vec<Member>,
        runtime: &Arc<PoolRuntime>,
    ) -> Self {
        members.retain(|member| member.weight > 0);
        match balance {
            Balance::RoundRobin => Self::RoundRobin(RoundRobin::new(members, runtime)),
            Balance::LeastConnections => {
                Self::LeastConnections(LeastConnections::new(members, runtime))
            }
            Balance::Random => Self::Random(Random::new(members)),
            Balance::PowerOfTwo => Self::PowerOfTwo(PowerOfTwo::new(members)),
            Balance::Ewma => Self::Ewma(Ewma::new(members)),
            Balance::Maglev => Self::Maglev(Maglev::new(members, bounded_load, runtime)),
        }
    }

    /// A member that is available now and whose key is not among `tried`; `None` if there is none. `hash` is of what
    /// the pool hashes, if it does.
    pub fn pick(&self, hash: u64, tried: &[u64]) -> Option<&Arc<Backend>> {
        match self {
            Self::RoundRobin(balancer) => balancer.pick(tried),
            Self::LeastConnections(balancer) => balancer.pick(tried),
            Self::Random(balancer) => balancer.pick(tried),
            Self::PowerOfTwo(balancer) => balancer.pick(tried),
            Self::Ewma(balancer) => balancer.pick(tried),
            Self::Maglev(balancer) => balancer.pick(hash, tried),
        }
    }

    /// Those it picks from.
    pub fn members(&self) -> &[Member] {
        self.shared()
    }

    /// Whether any of them that is not among `tried` is available, be it with room or without.
    pub fn any_available(&self, tried: &[u64]) -> bool {
        self.shared().any_available(tried)
    }

    /// Whether any of them is available and has room.
    pub fn any_open(&self) -> bool {
        self.shared().from(0, &[]).is_some()
    }

    pub(in crate::backend) fn shared(&self) -> &Arc<Members> {
        match self {
            Self::RoundRobin(balancer) => balancer.members(),
            Self::LeastConnections(balancer) => balancer.members(),
            Self::Random(balancer) => balancer.members(),
            Self::PowerOfTwo(balancer) => balancer.members(),
            Self::Ewma(balancer) => balancer.members(),
            Self::Maglev(balancer) => balancer.members(),
        }
    }
}

impl Member {
    /// Whether a request that was at `tried` may go here now.
    fn open_to(&self, tried: &[u64]) -> bool {
        self.backend.is_open() && !tried.contains(&self.backend.key)
    }

    /// As [`open_to`](Self::open_to); if it warms, by `chance` as often as its pace says. Who finds nobody this way is
    /// to ask again without chance.
    fn open_to_by(&self, tried: &[u64], chance: impl FnOnce() -> u64) -> bool {
        self.backend.is_open_by(chance) && !tried.contains(&self.backend.key)
    }

    /// Its weight as far as it has warmed, in hundredths.
    fn share(&self) -> u64 {
        u64::from(self.weight) * u64::from(self.backend.pace())
    }
}

#[cfg(test)]
mod tests;
