//! An ordered map whose clones share what they have in common.
//!
//! The entries lie in chunks, each behind a pointer of its own. A clone is one pointer; a change to it copies the list
//! of chunks and one chunk, so about the square root of the size at most; and what lies between two maps, of which one
//! came from the other, is found by looking only into chunks that are not the same.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::mem;
use std::sync::Arc;

/// Entries of a chunk, at most.
const MOST: usize = 32;

/// An ordered map whose clones share what they have in common.
pub struct PersistentMap<K, V> {
    /// In order, and none is empty.
    chunks: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// One key under which two maps differ.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference<'a, K, V> {
    /// The key.
    pub key: &'a K,
    /// What the older map has there.
    pub before: Option<&'a V>,
    /// What the newer one has.
    pub after: Option<&'a V>,
}

impl<K, V> PersistentMap<K, V> {
    /// Without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether both are the same memory, so that they cannot differ.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks)
    }

    /// All entries, in the order of their keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let entries = self.chunks.iter().flat_map(|chunk| chunk.iter());
        entries.map(|(key, value)| (key, value))
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The value of the key that is equal by `order`, which tells how a key lies to the one looked for.
    pub fn find(&self, order: impl Fn(&K) -> Ordering) -> Option<&V> {
        let (chunk, place) = self.place(order);
        let place = place.ok()?;
        Some(&self.chunks[chunk][place].1)
    }

    /// In which chunk a key is or would be, and where in there.
    fn place(&self, order: impl Fn(&K) -> Ordering) -> (usize, Result<usize, usize>) {
        let not_behind = |chunk: &Chunk<K, V>| order(&chunk[0].0) != Ordering::Greater;
        let at = self.chunks.partition_point(not_behind).saturating_sub(1);
        let place = match self.chunks.get(at) {
            Some(chunk) => chunk.binary_search_by(|(key, _)| order(key)),
            None => Err(0),
        };
        (at, place)
    }

    /// Gives those values that no other map has.
    pub fn into_unshared(self) -> impl Iterator<Item = V> {
        let chunks = Arc::into_inner(self.chunks).unwrap_or_default();
        let chunks = chunks.into_iter().filter_map(Arc::into_inner);
        chunks.flatten().map(|(_, value)| value)
    }
}

impl<K: Ord, V> PersistentMap<K, V> {
    /// The value of that key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.find(|other| other.borrow().cmp(key))
    }

    /// Whether the key is there.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// What differs between this and `newer`, by key; `same` says which values do not. Takes time in the number of
    /// chunks, and of the entries of those that are not shared.
    pub fn differences<'a>(
        &'a self,
        newer: &'a Self,
        same: impl Fn(&V, &V) -> bool,
    ) -> Vec<Difference<'a, K, V>> {
        let mut differences = Vec::new();
        let (mut old, mut new) = (Walk::of(self), Walk::of(newer));
        loop {
            while old.passes_with(&mut new) {}
            let order = match (old.peek(), new.peek()) {
                (None, None) => return differences,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            let before = old.take_if(order.is_le());
            let after = new.take_if(order.is_ge());
            if before
                .zip(after)
                .is_none_or(|((_, old), (_, new))| !same(old, new))
            {
                differences.extend(before.or(after).map(|(key, _)| Difference {
                    key,
                    before: before.map(|(_, value)| value),
                    after: after.map(|(_, value)| value),
                }));
            }
        }
    }
}

impl<K: Ord + Clone, V: Clone> PersistentMap<K, V> {
    /// Puts an entry, and gives the value that the key had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (at, place) = self.place(|other| other.cmp(&key));
        let chunks = Arc::make_mut(&mut self.chunks);
        let is_last = at + 1 >= chunks.len();
        let Some(chunk) = chunks.get_mut(at) else {
            chunks.push(Arc::new(vec![(key, value)]));
            self.len = 1;
            return None;
        };
        let entries = Arc::make_mut(chunk);
        let place = match place {
            Ok(place) => return Some(mem::replace(&mut entries[place].1, value)),
            Err(place) => place,
        };
        self.len += 1;
        if entries.len() < MOST {
            entries.insert(place, (key, value));
        } else if is_last && place == MOST {
            // What comes in order fills its chunks.
            chunks.push(Arc::new(vec![(key, value)]));
        } else {
            let mut upper = entries.split_off(MOST / 2);
            match place.checked_sub(MOST / 2) {
                Some(place) => upper.insert(place, (key, value)),
                None => entries.insert(place, (key, value)),
            }
            chunks.insert(at + 1, Arc::new(upper));
        }
        None
    }

    /// Takes an entry out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (at, place) = self.place(|other| other.borrow().cmp(key));
        let place = place.ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let entries = Arc::make_mut(&mut chunks[at]);
        let (_, value) = entries.remove(place);
        self.len -= 1;
        if entries.is_empty() {
            chunks.remove(at);
        } else {
            join(chunks, at);
            at.checked_sub(1)
                .into_iter()
                .for_each(|at| join(chunks, at));
        }
        Some(value)
    }

    /// The value of that key, to write in; `make` makes it if the key is not there.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if self.place(|other| other.cmp(&key)).1.is_err() {
            self.insert(key.clone(), make());
        }
        let (at, place) = self.place(|other| other.cmp(&key));
        let entries = Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[at]);
        let (Ok(place) | Err(place)) = place;
        &mut entries[place].1
    }
}

/// Makes one chunk of two neighbours that have become small: any two of them hold half a chunk together.
fn join<K: Clone, V: Clone>(chunks: &mut Vec<Chunk<K, V>>, at: usize) {
    if let [one, next, ..] = &chunks[at..]
        && one.len() + next.len() <= MOST / 2
    {
        let next = Arc::unwrap_or_clone(chunks.remove(at + 1));
        Arc::make_mut(&mut chunks[at]).extend(next);
    }
}

/// A place on the way through a map.
struct Walk<'a, K, V> {
    chunks: std::slice::Iter<'a, Chunk<K, V>>,
    /// What is left of the chunk under way.
    rest: &'a [(K, V)],
}

impl<'a, K, V> Walk<'a, K, V> {
    fn of(map: &'a PersistentMap<K, V>) -> Self {
        let chunks = map.chunks.iter();
        Self { chunks, rest: &[] }
    }

    fn peek(&mut self) -> Option<&'a (K, V)> {
        if self.rest.is_empty() {
            self.rest = self.chunks.next()?;
        }
        self.rest.first()
    }

    fn take_if(&mut self, taken: bool) -> Option<&'a (K, V)> {
        let entry = self.rest.first().filter(|_| taken)?;
        self.rest = &self.rest[1..];
        Some(entry)
    }

    /// Passes the next chunk if both come to the same one.
    fn passes_with(&mut self, other: &mut Self) -> bool {
        let (Some(own), Some(others)) = (
            self.chunks.as_slice().first(),
            other.chunks.as_slice().first(),
        ) else {
            return false;
        };
        let passes = self.rest.is_empty() && other.rest.is_empty() && Arc::ptr_eq(own, others);
        if passes {
            self.chunks.next();
            other.chunks.next();
        }
        passes
    }
}

impl<K, V> Clone for PersistentMap<K, V> {
    fn clone(&self) -> Self {
        Self {
            chunks: self.chunks.clone(),
            len: self.len,
        }
    }
}

impl<K, V> Default for PersistentMap<K, V> {
    fn default() -> Self {
        Self {
            chunks: Arc::default(),
            len: 0,
        }
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for PersistentMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && (self.is_same(other) || self.iter().eq(other.iter()))
    }
}

impl<K: Eq, V: Eq> Eq for PersistentMap<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for PersistentMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A put of a value, or a removal.
    type Step = (u16, Option<u8>);

    fn take(step: &Step, map: &mut PersistentMap<u16, u8>, model: &mut BTreeMap<u16, u8>) {
        let (key, value) = *step;
        match value {
            Some(value) => assert_eq!(map.insert(key, value), model.insert(key, value)),
            None => assert_eq!(map.remove(&key), model.remove(&key)),
        }
    }

    fn assert_equal(map: &PersistentMap<u16, u8>, model: &BTreeMap<u16, u8>) {
        assert!(map.iter().eq(model.iter()));
        assert_eq!(map.len(), model.len());
        let sizes = map.chunks.iter().map(|chunk| chunk.len());
        assert!(sizes.clone().all(|size| (1..=MOST).contains(&size)));
        let mut pairs = sizes.clone().zip(sizes.skip(1));
        assert!(pairs.all(|(one, next)| one + next > MOST / 2));
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // Mostly puts, over a few chunks, and now and then so few keys that all of them go again.
        let keys = prop_oneof![Just(1_000_u16), Just(300), Just(20)];
        keys.prop_flat_map(|keys| vec((0..keys, prop::option::weighted(0.7, 0..4_u8)), 0..800))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_holds_what_an_ordered_map_holds_and_its_clones_stay_as_they_were(
            first in steps(), then in steps(),
        ) {
            let (mut map, mut model) = (PersistentMap::new(), BTreeMap::new());
            first.iter().for_each(|step| take(step, &mut map, &mut model));
            let (kept, kept_model) = (map.clone(), model.clone());
            then.iter().for_each(|step| take(step, &mut map, &mut model));
            assert_equal(&map, &model);
            assert_equal(&kept, &kept_model);

            let found: Vec<_> = kept.differences(&map, PartialEq::eq);
            let keys: BTreeSet<&u16> = kept_model.keys().chain(model.keys()).collect();
            let expected: Vec<_> = keys
                .into_iter()
                .map(|key| Difference { key, before: kept_model.get(key), after: model.get(key) })
                .filter(|it| it.before != it.after)
                .collect();
            prop_assert_eq!(found, expected);
        }
    }

    /// The keys up to `end`, each with itself.
    fn up_to(end: u16) -> PersistentMap<u16, u16> {
        (0..end).fold(PersistentMap::new(), |mut map, key| {
            map.insert(key, key);
            map
        })
    }

    #[test]
    fn a_change_shares_all_but_one_chunk() {
        let before = up_to(10_000);
        assert_eq!(before.chunks.len(), 10_000_usize.div_ceil(MOST));
        let mut after = before.clone();
        *after.get_or_insert_with(5_000, || 0) = 1;
        let pairs = before.chunks.iter().zip(after.chunks.iter());
        let apart = pairs.filter(|(one, other)| !Arc::ptr_eq(one, other));
        assert_eq!(apart.count(), 1);
        assert_eq!(
            (before.get(&5_000), after.get(&5_000)),
            (Some(&5_000), Some(&1))
        );
    }

    #[test]
    fn chunks_go_with_their_entries() {
        let mut map = up_to(10_000);
        for key in (0..10_000).filter(|key| key % 1_000 > 0) {
            map.remove(&key);
        }
        assert_eq!((map.len(), map.chunks.len()), (10, 1));
    }

    #[test]
    fn only_values_that_nothing_shares_are_given_away() {
        let one = up_to(300);
        let mut other = one.clone();
        other.insert(0, 7);
        let given: Vec<u16> = other.into_unshared().collect();
        assert_eq!((given.len(), given[0]), (MOST, 7));
        assert_eq!(one.into_unshared().count(), 300);
    }
}
