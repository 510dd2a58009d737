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
pub(in crate::backend) use members::Members;
pub use smooth::Sequence;

use std::sync::Arc;

use ewma::Ewma;
use least_connections::LeastConnections;
use maglev::Maglev;
use power_of_two::PowerOfTwo;
use random::Random;
use round_robin::RoundRobin;

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
pub struct Balancer {
    members: Arc<Members>,
    by: By,
}

/// Tells the index of a member.
#[derive(Debug)]
enum By {
    RoundRobin(RoundRobin),
    LeastConnections(LeastConnections),
    Random(Random),
    PowerOfTwo(PowerOfTwo),
    Ewma(Ewma),
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
        if balance == Balance::Maglev {
            members = maglev::in_order(members);
        }
        let by = match balance {
            Balance::RoundRobin => By::RoundRobin(RoundRobin::new(&members, runtime)),
            Balance::LeastConnections => By::LeastConnections(LeastConnections::new(runtime)),
            Balance::Random => By::Random(Random::new(&members)),
            Balance::PowerOfTwo => By::PowerOfTwo(PowerOfTwo::new(&members)),
            Balance::Ewma => By::Ewma(Ewma::new(&members)),
            Balance::Maglev => By::Maglev(Maglev::new(&members, bounded_load, runtime)),
        };
        let members = match balance {
            Balance::LeastConnections => Members::by_load(members),
            Balance::Maglev if bounded_load => Members::weighed(members),
            _ => Members::new(members),
        };
        Self {
            members: Arc::new(members),
            by,
        }
    }

    /// A member that is available now and whose key is not among `tried`; `None` if there is none. `hash` is of what
    /// the pool hashes, if it does.
    pub fn pick(&self, hash: u64, tried: &[u64]) -> Option<&Arc<Backend>> {
        let members = &*self.members;
        let index = match &self.by {
            By::RoundRobin(by) => by.pick(members, tried),
            By::LeastConnections(by) => by.pick(members, tried),
            By::Random(by) => by.pick(members, tried),
            By::PowerOfTwo(by) => by.pick(members, tried),
            By::Ewma(by) => by.pick(members, tried),
            By::Maglev(by) => by.pick(members, hash, tried),
        };
        Some(&members[index?].backend)
    }

    /// Those it picks from.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether any of them that is not among `tried` is available, be it with room or without.
    pub fn any_available(&self, tried: &[u64]) -> bool {
        self.members.any_available(tried)
    }

    /// Whether any of them is available and has room.
    pub fn any_open(&self) -> bool {
        self.members.from(0, &[]).is_some()
    }

    /// Whether it goes by how long answers take.
    pub(in crate::backend) fn measures_latency(&self) -> bool {
        matches!(self.by, By::Ewma(_))
    }

    pub(in crate::backend) fn shared(&self) -> &Arc<Members> {
        &self.members
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
