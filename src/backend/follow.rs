//! Has what a snapshot knows of its members follow what becomes of them: who may be picked, and how loaded they are.
//!
//! Health, load and limits belong to the backends; the members of a balancer hold views of them that are told of each
//! change (`balance::members`). Those of the revision in force are told, of all tiers of the pool.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, fence};

use arc_swap::ArcSwapOption;

use super::balance::{Balancer, Members};
use super::member::Backend;
use super::runtime::PoolRuntime;

/// Who is told. Not a second way to learn of a config: nobody picks from these but by a snapshot.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// Whether there are any: spares small pools the look.
    any: AtomicBool,
    /// Whether any go by load, of which each request is a change.
    by_load: AtomicBool,
    tiers: ArcSwapOption<Box<[Arc<Members>]>>,
}

impl PoolRuntime {
    /// Has these follow in place of those before: the balancers of all tiers of one revision, each with the members of
    /// those before it. Called when that revision is about to be published and its members are open; with none, when
    /// the pool is removed, for they hold backends that hold this.
    ///
    /// A change and this are each a write and then a read of what the other writes, so one of them sees the other: a
    /// change either is told, or is there when all members are taken in.
    pub fn follow<'a>(&self, tiers: impl IntoIterator<Item = &'a Balancer>) {
        let following = self.following();
        let mut measures = false;
        let mut next = Vec::new();
        for balancer in tiers {
            measures |= balancer.measures_latency();
            next.push(balancer.shared().clone());
        }
        self.measure_latency(measures);
        for before in following.tiers.load_full().iter().flat_map(|it| it.iter()) {
            before.set_followed(false);
        }
        let slots = next.last().map_or(0, |widest| {
            widest.give_slots();
            widest.len()
        });
        next.retain(|members| members.has_trees());
        next.iter().for_each(|members| members.learn_slots(slots));
        let by_load = next.iter().any(|members| members.go_by_load());
        let some = (!next.is_empty()).then(|| Arc::new(next.into_boxed_slice()));
        following.tiers.store(some.clone());
        following.any.store(some.is_some(), SeqCst);
        following.by_load.store(by_load, SeqCst);
        self.all_changed();
        for members in some.iter().flat_map(|it| it.iter()) {
            members.set_followed(true);
        }
    }

    /// To be called after a change of the requests in flight at `backend` that leaves it room, and had left it some.
    pub(super) fn load_changed(&self, backend: &Backend) {
        if self.following().by_load.load(SeqCst) {
            self.tell(|members| members.load_changed(backend));
        }
    }

    /// To be called after a change of whether `backend` may be picked.
    pub(super) fn eligibility_changed(&self, backend: &Backend) {
        if self.following().any.load(SeqCst) {
            self.tell(|members| members.eligibility_changed(backend));
        }
    }

    /// To be called after a change of what decides for all backends whether they may be picked.
    pub(super) fn all_changed(&self) {
        if self.following().any.load(SeqCst) {
            self.tell(|members| members.refresh_all());
        }
    }

    fn tell(&self, change: impl Fn(&Members)) {
        fence(SeqCst);
        if let Some(tiers) = &*self.following().tiers.load() {
            tiers.iter().for_each(|members| change(members));
        }
    }
}
