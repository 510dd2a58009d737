//! What a pool takes at a time, and the queue of those that wait for it.
//!
//! The one thing on the request path that threads wait for each other at, and only in a pool that has limits and is at
//! them. Who waits is woken in the order of coming, one for each request that ends.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::runtime::PoolRuntime;
use crate::config::Capacity;

/// Of one pool, over revisions.
#[derive(Debug)]
pub(super) struct Line {
    requests: AtomicU32,
    connections: AtomicU32,
    /// Connections that no request has, if they are limited.
    idle: AtomicU32,
    per_backend: AtomicU32,
    places: AtomicU32,
    waiting: AtomicU32,
    /// Requests that found all places taken, and those whose time was over in one.
    found_full: AtomicU64,
    timed_out: AtomicU64,
    freed: Notify,
}

impl Line {
    pub(super) fn new() -> Self {
        Self {
            requests: AtomicU32::new(u32::MAX),
            connections: AtomicU32::new(u32::MAX),
            idle: AtomicU32::new(0),
            per_backend: AtomicU32::new(u32::MAX),
            places: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            found_full: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
            freed: Notify::new(),
        }
    }

    /// In flight in the whole pool.
    pub(super) fn requests(&self) -> u32 {
        self.requests.load(Relaxed)
    }

    /// In flight at one backend that takes all of its share.
    pub(super) fn per_backend(&self) -> u32 {
        self.per_backend.load(SeqCst)
    }

    /// To be called when a request of the pool has ended, or when more became possible: wakes one that waits.
    pub(super) fn ended(&self) {
        // A waiter counts itself and then looks whether there is room; the ended request made room before this looks.
        if self.waiting.load(SeqCst) > 0 {
            self.freed.notify_one();
        }
    }

    /// Wakes all that wait, to look again.
    pub(super) fn changed(&self) {
        self.freed.notify_waiters();
    }
}

impl PoolRuntime {
    /// Has it take so much at a time.
    pub fn limit(&self, capacity: Option<&Capacity>) {
        let line = self.line();
        let most =
            |limit: fn(&Capacity) -> Option<u32>| capacity.and_then(limit).unwrap_or(u32::MAX);
        // A request in flight has a connection at most.
        let requests = most(|it| it.requests).min(most(|it| it.connections));
        line.requests.store(requests, Relaxed);
        line.connections.store(most(|it| it.connections), Relaxed);
        let per_backend = most(|it| it.requests_per_backend);
        if line.per_backend.swap(per_backend, SeqCst) != per_backend {
            self.all_changed();
        }
        let places = capacity.map_or(0, |it| it.queue);
        line.places.store(places, Relaxed);
        line.changed();
    }

    /// Whether the limit of the whole pool allows one more request.
    pub fn has_room(&self) -> bool {
        self.budget().active() < self.line().requests()
    }

    /// Whether its connections, taking each request in flight for one, are more than its limit allows.
    pub fn is_crowded(&self) -> bool {
        let line = self.line();
        let most = line.connections.load(Relaxed);
        most != u32::MAX && self.budget().active() + line.idle.load(SeqCst) > most
    }

    /// Counts an idle connection, if connections are limited.
    pub(super) fn idles(self: &Arc<Self>) -> Option<Idling> {
        let line = self.line();
        if line.connections.load(Relaxed) == u32::MAX {
            return None;
        }
        line.idle.fetch_add(1, SeqCst);
        Some(Idling(self.clone()))
    }

    /// Requests that wait for a place.
    pub fn waiting(&self) -> u32 {
        self.line().waiting.load(SeqCst)
    }

    /// To be called when more may be possible: those that wait look again.
    pub fn changed(&self) {
        self.line().changed();
    }

    /// A place in the queue; `None` if all are taken.
    pub fn queue(&self) -> Option<Waiting<'_>> {
        let line = self.line();
        let places = line.places.load(Relaxed);
        let enter = |waiting| (waiting < places).then_some(waiting + 1);
        let Ok(before) = line.waiting.fetch_update(SeqCst, SeqCst, enter) else {
            line.found_full.fetch_add(1, Relaxed);
            return None;
        };
        let first = before == 0;
        Some(Waiting { line, first })
    }

    /// Requests so far that found all places of the queue taken, and those whose time was over in one.
    pub fn queue_refusals(&self) -> (u64, u64) {
        let line = self.line();
        (line.found_full.load(Relaxed), line.timed_out.load(Relaxed))
    }
}

/// An idle connection of a pool that limits them, until it is dropped.
#[derive(Debug)]
pub(super) struct Idling(Arc<PoolRuntime>);

impl Drop for Idling {
    fn drop(&mut self) {
        self.0.line().idle.fetch_sub(1, SeqCst);
    }
}

/// A place in the queue, until it is dropped.
#[derive(Debug)]
pub struct Waiting<'a> {
    line: &'a Line,
    first: bool,
}

impl Waiting<'_> {
    /// Whether nobody waited before.
    pub fn is_first(&self) -> bool {
        self.first
    }

    /// To be called by one that was let in: there may be room for another.
    pub fn pass_on(&self) {
        if self.line.waiting.load(SeqCst) > 1 {
            self.line.freed.notify_one();
        }
    }

    /// To be called by one whose time is over.
    pub fn timed_out(&self) {
        self.line.timed_out.fetch_add(1, Relaxed);
    }

    /// Ends when there may be room, in the order in which they were first polled or enabled.
    pub fn freed(&self) -> Notified<'_> {
        self.line.freed.notified()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.line.waiting.fetch_sub(1, SeqCst);
    }
}
