//! What a revision means for the health of backends: who begins unknown, when backups are used, when a pool panics.
//!
//! Panic is Envoy's: with too few backends up, the others would only be overrun, and more likely the checks are wrong,
//! so those that are down or ejected get requests too. Unknown ones do where no check has told of any other yet, as in
//! a pool that has just been made: to refuse all requests is not safer. Drained and weightless ones never do.

use std::time::Instant;

use super::SnapshotCell;
use super::snapshot::{PoolEntry, PoolMember};
use crate::backend::{Backend, Health, PoolRuntime, Recourse};
use crate::config::{Name, State};

/// What the health of its backends makes of a pool.
struct Standing {
    /// The last tier in use.
    tier: usize,
    recourse: Recourse,
}

/// Backends of a tier that the config gives a share.
#[derive(Clone, Default)]
struct Tier {
    up: u64,
    /// Up or not.
    known: u64,
    unknown: u64,
}

impl Tier {
    fn count(&mut self, backend: &Backend) {
        match backend.health() {
            Health::Unknown => self.unknown += 1,
            _ => self.known += 1,
        }
        self.up += u64::from(backend.is_up());
    }
}

impl PoolMember {
    /// Whether the backend is checked, if its pool has checks.
    pub fn is_checked(&self) -> bool {
        self.state != State::Maint
    }
}

impl PoolEntry {
    /// To be called before a backend that got nothing gets requests: has it warm, if the pool says so.
    pub fn came_up(&self, backend: &Backend) {
        if self.spec().slow_start.is_some() {
            backend.warm_up(Instant::now());
        }
    }

    /// Brings the health of its backends in line with whether they are checked. A backend that takes requests already
    /// when its checks begin goes on until they tell; any other has to pass one first, as long as
    /// any of the pool is known.
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

    /// The tiers that are needed, as few as have enough backends up, by the share of those of the first tier; and what
    /// is used besides. If all have not, all are used, and the pool panics. Those whose health is not known yet count
    /// neither way. Where no other is they are used, and go on until enough are up, so that the first of them that is
    /// does not take all alone. With a share of 0 neither they nor those that are down are used.
    fn standing(&self) -> Standing {
        let spec = self.spec();
        let of_checks = spec.health.as_ref().map(|health| health.panic_percent);
        let enough = u64::from(of_checks.unwrap_or(spec.outlier.panic_percent));
        let mut tiers = vec![Tier::default(); self.backups.len() + 1];
        for member in self.members().iter().filter(|member| member.eligible()) {
            tiers[member.tier].count(&member.backend);
        }
        let sum = |of: fn(&Tier) -> u64| tiers.iter().map(of).sum::<u64>();
        let (up, known, unknown) = (sum(|it| it.up), sum(|it| it.known), sum(|it| it.unknown));
        let all_of_first = tiers[0].known + tiers[0].unknown;
        let goes_on = self.recourse() == Recourse::Unknown && up * 100 < all_of_first * enough;
        if enough > 0 && unknown > 0 && (known == 0 || goes_on) {
            let nobody = |tier: &&Tier| tier.up + tier.unknown == 0;
            return Standing {
                // The first that has anybody to use.
                tier: tiers.iter().take_while(nobody).count(),
                recourse: Recourse::Unknown,
            };
        }
        let mut so_far = 0;
        let suffices = |tier: &Tier| {
            so_far += tier.up;
            so_far > 0 && so_far * 100 >= tiers[0].known * enough
        };
        match tiers.iter().position(suffices) {
            Some(tier) => Standing {
                tier,
                recourse: Recourse::None,
            },
            None => Standing {
                tier: self.backups.len(),
                recourse: match enough > 0 && known > 0 {
                    true => Recourse::Down,
                    false => Recourse::None,
                },
            },
        }
    }

    /// Has its limits and rules hold from now on, and its backends followed by what picks among them.
    pub fn attach(&self) {
        let enough = self.spec().outlier.enough_in_a_row();
        self.runtime.suspect_after(enough);
        let limits = self.spec().limits.as_ref();
        let backends = self.members().iter().map(|member| &member.backend);
        backends.for_each(|backend| backend.set_limited(limits.is_some()));
        self.runtime.limit(limits);
        self.runtime
            .follow([&self.balancer].into_iter().chain(&self.backups));
    }

    /// Puts the tiers that are needed in use; tells what else is to be.
    fn judge(&self) -> Recourse {
        let Standing { tier, recourse } = self.standing();
        let before = self.runtime.use_tiers(tier);
        if before != tier {
            tracing::info!(pool = %self.name, tier, before, "tiers of backends up to this one are used");
        }
        self.runtime.changed();
        recourse
    }

    /// Judges it before its snapshot is in force, so that a request that meets it first finds whom it may use.
    pub fn judge_ahead(&self) {
        tell(&self.name, &self.runtime, || self.judge());
    }

    /// Whether one more of its eligible backends may be ejected, and another one then still be up.
    pub fn can_eject(&self, backend: &Backend) -> bool {
        let eligible = || self.members().iter().filter(|member| member.eligible());
        let ejected = eligible().filter(|member| member.backend.is_ejected());
        let mut others = eligible().filter(|member| member.backend.key != backend.key);
        ejected.count() < self.spec().outlier.most_of(eligible().count())
            && others.any(|member| member.backend.is_up())
    }
}

/// Judges anew which backends of that pool are used besides those that are up. To be called after a change of the
/// health of any of them, and of the pool.
pub fn judge(cell: &SnapshotCell, pool: &Name) {
    let Some(runtime) = cell
        .load()
        .pool(pool.as_str())
        .map(|pool| pool.runtime.clone())
    else {
        return;
    };
    // Loaded again by whoever's turn it is: the last to judge must not do so by an older snapshot.
    tell(pool, &runtime, || {
        let snapshot = cell.load();
        let pool = snapshot.pool(pool.as_str());
        pool.map_or(Recourse::None, |pool| pool.judge())
    });
}

/// Has the pool judged, and tells what that changes.
fn tell(pool: &Name, runtime: &PoolRuntime, judge: impl FnOnce() -> Recourse) {
    let (before, now) = runtime.judge(judge);
    match (before, now) {
        (before, now) if before == now => {}
        (_, Recourse::Down) => {
            tracing::warn!(%pool, "too few backends are up: those that are down are used too");
        }
        (_, Recourse::Unknown) => {
            tracing::info!(%pool, "no backend is up: those that no check has told of yet are used");
        }
        (_, Recourse::None) => {
            tracing::info!(%pool, "enough backends are up: only these are used");
        }
    }
}
