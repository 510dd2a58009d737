//! A map by text that a request looks things up in, and whose clones share what they have in common.
//!
//! Its keys come from the config. Requests only look things up, so they cannot make it degenerate, and the hash can be
//! a fast one. Only this process sees its values, so it needs not be one on all nodes.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::config::PersistentMap;

/// A map that is made once, with the same hash.
pub(super) type FastMap<V> = HashMap<Box<str>, V, BuildHasherDefault<FastHasher>>;

/// A map by text, ordered by the hash, so that looking up compares numbers and one text.
#[derive(Debug)]
pub(super) struct Hashed<V>(PersistentMap<Key, V>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    hash: u64,
    text: Arc<str>,
}

impl Key {
    fn of(text: &str) -> Self {
        Self {
            hash: hash(text),
            text: text.into(),
        }
    }
}

impl<V> Hashed<V> {
    /// The value of that text.
    pub(super) fn get(&self, text: &str) -> Option<&V> {
        if self.0.is_empty() {
            return None;
        }
        let hash = hash(text);
        self.0.find(|key| (key.hash, &*key.text).cmp(&(hash, text)))
    }

    /// How many values it has.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives those values that no other map has.
    pub(super) fn into_unshared(self) -> impl Iterator<Item = V> {
        self.0.into_unshared()
    }
}

impl<V: Clone + Default> Hashed<V> {
    /// The value of that text, the default if there was none, to write in.
    pub(super) fn get_or_default(&mut self, text: &str) -> &mut V {
        self.0.get_or_insert_with(Key::of(text), V::default)
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, text: &str) {
        self.0.remove(&Key::of(text));
    }
}

impl<V> Clone for Hashed<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<V> Default for Hashed<V> {
    fn default() -> Self {
        Self(PersistentMap::default())
    }
}

fn hash(text: &str) -> u64 {
    BuildHasherDefault::<FastHasher>::default().hash_one(text)
}

/// Eight bytes a step by a folded multiplication. Only this process sees its values, so it needs not be one on all
/// nodes.
#[derive(Debug, Default)]
pub(super) struct FastHasher(u64);

impl FastHasher {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0xf39c_c060_5ced_c835) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for FastHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words
            .iter()
            .for_each(|word| self.mix(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        // The length with the last bytes: a zero at the end is not the same as none.
        self.mix(u64::from_le_bytes(last));
        self.mix(bytes.len() as u64 + 1);
    }

    /// The end mark of a string, of which there is one.
    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
