//! Idle connections to backends, of one thread: taken newest first, bounded, and dropped when they get old.
//!
//! Each data-plane thread owns one store; it is neither `Send` over awaits nor locked. It reads no clock: callers
//! pass the time, and sweep it now and then.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::line::Idling;
use super::member::Backend;

/// How many idle connections one thread keeps.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To one backend.
    pub per_backend: usize,
    /// To all of them.
    pub total: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_backend: 128,
            total: 4_096,
        }
    }
}

/// The idle connections of this thread, by [`Backend::key`].
#[derive(Debug)]
pub struct Connections<C> {
    limits: Limits,
    store: RefCell<Store<C>>,
    _one_thread: PhantomData<*const ()>,
}

#[derive(Debug)]
struct Store<C> {
    shelves: HashMap<u64, Shelf<C>, BuildHasherDefault<KeyHasher>>,
    total: usize,
}

/// The two ends of a client's connection, as the client sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The client.
    pub source: SocketAddr,
    /// What it connected to.
    pub destination: SocketAddr,
}

#[derive(Debug)]
struct Shelf<C> {
    backend: Arc<Backend>,
    /// Oldest in front.
    idle: VecDeque<Idle<C>>,
}

#[derive(Debug)]
struct Idle<C> {
    connection: C,
    until: Instant,
    /// Who the backend was told is behind it: it serves nobody else.
    told: Option<Box<Origin>>,
    _counted: Option<Idling>,
}

/// Spreads keys, which are numbers counted up here and chosen by nobody, over all bits (Knuth, 6.4).
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u64(&mut self, number: u64) {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        self.0 = (self.0 ^ number).wrapping_mul(GOLDEN).rotate_left(32);
    }
}

impl<C> Connections<C> {
    /// An empty store.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            store: RefCell::new(Store {
                shelves: HashMap::default(),
                total: 0,
            }),
            _one_thread: PhantomData,
        }
    }

    /// The connection to `backend` that fell idle last, if it is still within its time.
    pub fn take(&self, backend: &Backend, now: Instant) -> Option<C> {
        let mut store = self.store.borrow_mut();
        let Store { shelves, total } = &mut *store;
        let shelf = shelves.get_mut(&backend.key)?;
        // Left from when the pool still told its backends who is behind a connection.
        while shelf.idle.pop_back_if(|idle| idle.told.is_some()).is_some() {
            *total -= 1;
        }
        let newest = shelf.idle.pop_back()?;
        *total -= 1;
        (now < newest.until).then_some(newest.connection)
    }

    /// As [`take`](Self::take), of those whose backend was told of `origin`. Looks at each, of which there are few.
    pub fn take_told(&self, backend: &Backend, origin: &Origin, now: Instant) -> Option<C> {
        let mut store = self.store.borrow_mut();
        let shelf = store.shelves.get_mut(&backend.key)?;
        let fits = |idle: &Idle<C>| idle.told.as_deref() == Some(origin);
        let at = shelf.idle.iter().rposition(fits)?;
        let newest = shelf.idle.remove(at)?;
        store.total -= 1;
        (now < newest.until).then_some(newest.connection)
    }

    /// Keeps `connection` for at most `idle`, unless its backend no longer admits requests or the store is full; the
    /// oldest to the same backend makes room.
    pub fn put(&self, backend: &Arc<Backend>, connection: C, now: Instant, idle: Duration) {
        self.put_told(backend, None, connection, now, idle);
    }

    /// As [`put`](Self::put), of one whose backend was told of `told`.
    pub fn put_told(
        &self,
        backend: &Arc<Backend>,
        told: Option<Origin>,
        connection: C,
        now: Instant,
        idle: Duration,
    ) {
        let unwanted = !backend.admits() || backend.runtime().is_crowded();
        if unwanted || idle.is_zero() || self.limits.per_backend == 0 {
            return;
        }
        let mut store = self.store.borrow_mut();
        let full = store.total >= self.limits.total;
        let shelf = store.shelves.entry(backend.key).or_insert_with(|| Shelf {
            backend: backend.clone(),
            idle: VecDeque::new(),
        });
        let mut dropped = None;
        if full || shelf.idle.len() >= self.limits.per_backend {
            dropped = shelf.idle.pop_front();
            if dropped.is_none() {
                return;
            }
        }
        let until = now + idle;
        shelf.idle.push_back(Idle {
            connection,
            until,
            told: told.map(Box::new),
            _counted: backend.runtime().idles(),
        });
        if dropped.is_none() {
            store.total += 1;
        }
    }

    /// Drops what is past its time, and everything to backends that no longer admit requests. Returns how many went.
    pub fn sweep(&self, now: Instant) -> usize {
        let mut store = self.store.borrow_mut();
        let before = store.total;
        store.shelves.retain(|_, shelf| {
            if shelf.backend.admits() {
                shelf.idle.retain(|idle| now < idle.until);
                while shelf.backend.runtime().is_crowded() && shelf.idle.pop_front().is_some() {}
            } else {
                shelf.idle.clear();
            }
            !shelf.idle.is_empty()
        });
        store.total = store.shelves.values().map(|shelf| shelf.idle.len()).sum();
        before - store.total
    }

    /// Drops the oldest connections to the pool of `backend` as long as it has more than its limit allows.
    pub fn make_room(&self, backend: &Backend) {
        let crowded = || backend.runtime().is_crowded();
        if !crowded() {
            return;
        }
        let mut store = self.store.borrow_mut();
        let Store { shelves, total } = &mut *store;
        let shelves = shelves.values_mut();
        for shelf in shelves.filter(|shelf| shelf.backend.pool == backend.pool) {
            while crowded() && shelf.idle.pop_front().is_some() {
                *total -= 1;
            }
        }
    }

    /// Drops everything to `backend`: one of its connections was found dead, the others may be too.
    pub fn drop_all(&self, backend: &Backend) {
        let mut store = self.store.borrow_mut();
        if let Some(shelf) = store.shelves.remove(&backend.key) {
            store.total -= shelf.idle.len();
        }
    }

    /// Drops everything.
    pub fn clear(&self) {
        let mut store = self.store.borrow_mut();
        store.shelves.clear();
        store.total = 0;
    }

    /// Idle connections in the store.
    pub fn len(&self) -> usize {
        self.store.borrow().total
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Registry;
    use crate::config::Name;

    const IDLE: Duration = Duration::from_secs(60);

    fn backend(id: &str) -> Arc<Backend> {
        let name = |text| Name::new(text).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let backend = Registry::scratch().backend(&name("web"), &name(id), address);
        backend.open();
        backend
    }

    fn store() -> Connections<u32> {
        Connections::new(Limits {
            per_backend: 3,
            total: 5,
        })
    }

    #[test]
    fn the_newest_is_taken_first_and_only_of_its_backend() {
        let (store, now) = (store(), Instant::now());
        let (one, other) = (backend("one"), backend("other"));
        (1..=2).for_each(|c| store.put(&one, c, now, IDLE));
        assert_eq!(store.take(&other, now), None);
        assert_eq!(store.take(&one, now), Some(2));
        assert_eq!(store.take(&one, now), Some(1));
        assert_eq!(store.take(&one, now), None);
    }

    #[test]
    fn what_was_told_of_one_client_serves_no_other() {
        let (store, now, one) = (store(), Instant::now(), backend("one"));
        let origin = |port| Origin {
            source: SocketAddr::from(([192, 0, 2, 7], port)),
            destination: SocketAddr::from(([192, 0, 2, 1], 80)),
        };
        store.put_told(&one, Some(origin(1)), 1, now, IDLE);
        store.put_told(&one, Some(origin(2)), 2, now, IDLE);
        assert_eq!(store.take_told(&one, &origin(3), now), None);
        assert_eq!(store.take_told(&one, &origin(1), now), Some(1));
        assert_eq!(store.take(&one, now), None);
        store.put(&one, 3, now, IDLE);
        assert_eq!(store.take_told(&one, &origin(1), now), None);
        assert_eq!(store.take(&one, now), Some(3));
        assert!(store.is_empty());
    }

    #[test]
    fn what_was_idle_for_its_time_is_not_reused() {
        let (store, now, one) = (store(), Instant::now(), backend("one"));
        store.put(&one, 1, now, IDLE);
        assert_eq!(store.take(&one, now + IDLE), None);
        assert!(store.is_empty());
        store.put(&one, 2, now, IDLE);
        assert_eq!(
            store.take(&one, now + IDLE - Duration::from_millis(1)),
            Some(2)
        );
    }

    #[test]
    fn the_oldest_makes_room_within_the_bounds() {
        let (store, now) = (store(), Instant::now());
        let (one, other, third) = (backend("one"), backend("other"), backend("third"));
        (1..=4).for_each(|c| store.put(&one, c, now, IDLE));
        assert_eq!(store.len(), 3);
        (5..=7).for_each(|c| store.put(&other, c, now, IDLE));
        store.put(&third, 8, now, IDLE);
        assert_eq!(store.len(), 5);
        assert_eq!(
            store.take(&third, now),
            None,
            "a full store takes none in for a backend that has none"
        );
        assert_eq!(store.take(&other, now), Some(7));
        assert_eq!(store.take(&other, now), Some(6));
        assert_eq!(store.take(&other, now), None);
        assert_eq!(
            (0..3)
                .filter_map(|_| store.take(&one, now))
                .collect::<Vec<_>>(),
            [4, 3, 2]
        );
    }

    #[test]
    fn a_sweep_drops_the_expired_and_those_to_closed_backends() {
        let (store, now) = (store(), Instant::now());
        let (one, other) = (backend("one"), backend("other"));
        store.put(&one, 1, now, IDLE);
        store.put(&one, 2, now + IDLE, IDLE);
        store.put(&other, 3, now + IDLE, IDLE);
        other.close();
        assert_eq!(store.sweep(now + IDLE), 2);
        assert_eq!(store.take(&one, now + IDLE), Some(2));
        store.put(&other, 4, now, IDLE);
        assert!(store.is_empty(), "nothing is kept to a closed backend");
    }

    #[test]
    fn all_of_a_backend_can_be_dropped() {
        let (store, now) = (store(), Instant::now());
        let (one, other) = (backend("one"), backend("other"));
        (1..=2).for_each(|c| store.put(&one, c, now, IDLE));
        store.put(&other, 3, now, IDLE);
        store.drop_all(&one);
        assert_eq!((store.len(), store.take(&one, now)), (1, None));
        store.clear();
        assert!(store.is_empty());
    }
}
