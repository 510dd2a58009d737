//! What a revision means for the health of backends: who begins unknown, and when a pool panics.
//!
//! Panic is Envoy's: with too few backends up, the others would only be overrun, and more likely the checks are wrong,
//! so those that are down get requests too. Drained, weightless and unknown ones never do.

use super::SnapshotCell;
use super::snapshot::{PoolEntry, PoolMember};
use crate::backend::Health;
use crate::config::{Name, State};

impl PoolMember {
    /// Whether the backend is checked, if its pool has checks.
    pub fn is_checked(&self) -> bool {
        self.state != State::Maint
    }
}

impl PoolEntry {
    /// Brings the health of its backends in line with whether they are checked. A backend that takes requests already
    /// when its checks begin goes on until they tell; any other has to pass one first.
    pub fn settle_health(&self) {
        for member in self.members() {
            let checked = self.spec().health.is_some();
            member.backend.change_health(|held, open| match held {
                _ if !checked => Health::Unchecked,
                _ if !member.is_checked() => Health::Unknown,
                Health::Unchecked if !open => Health::Unknown,
                held => held,
            });
        }
    }

    /// Whether the share of its eligible backends that is up is too small to be relied on. Those whose health is not
    /// known yet count neither way.
    fn lacks_healthy(&self) -> bool {
        let Some(health) = &self.spec().health else {
            return false;
        };
        let eligible = self.members().iter().filter(|member| member.eligible());
        let (mut known, mut up) = (0_u64, 0_u64);
        for held in eligible.map(|member| member.backend.health()) {
            known += u64::from(held != Health::Unknown);
            up += u64::from(held.is_up());
        }
        up * 100 < known * u64::from(health.panic_percent)
    }
}

/// Judges anew whether that pool is to panic. To be called after a change of the health of any of its backends, and
/// of the pool.
pub fn judge_panic(cell: &SnapshotCell, pool: &Name) {
    let Some(runtime) = cell
        .load()
        .pool(pool.as_str())
        .map(|pool| pool.runtime.clone())
    else {
        return;
    };
    // Loaded again by whoever's turn it is: the last to judge must not do so by an older snapshot.
    let judge = || {
        let snapshot = cell.load();
        let pool = snapshot.pool(pool.as_str());
        pool.is_some_and(|pool| pool.lacks_healthy())
    };
    if runtime.judge_panic(judge) {
        match runtime.panics() {
            true => {
                tracing::warn!(%pool, "too few backends are up: those that are down are used too")
            }
            false => {
                tracing::info!(%pool, "enough backends are up again: those that are down are not used")
            }
        }
    }
}
