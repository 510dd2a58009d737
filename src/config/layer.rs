//! The resources of one kind while a transaction writes them: what was written so far, over the old ones.

use std::collections::{BTreeMap, BTreeSet};

use super::{Name, Resources};

/// What was written so far, over the old resources.
pub(super) struct Layer<'a, T> {
    base: &'a Resources<T>,
    /// By name; `None` for those removed. Boxed: a map has room for several from the first on, and specs are large.
    written: BTreeMap<Name, Option<Box<Written<T>>>>,
}

/// A spec, and its place in the transaction: faults about what it names point below that.
struct Written<T> {
    spec: T,
    at: String,
}

impl<'a, T> Layer<'a, T> {
    /// Nothing is written yet.
    pub(super) fn over(base: &'a Resources<T>) -> Self {
        let written = BTreeMap::new();
        Self { base, written }
    }

    /// How many are looked at to look at all: old ones and written ones.
    pub(super) fn len(&self) -> usize {
        self.base.len() + self.written.len()
    }

    /// The spec as it is now.
    pub(super) fn get(&self, name: &Name) -> Option<&T> {
        match self.written.get(name) {
            Some(written) => written.as_ref().map(|written| &written.spec),
            None => self.base.get(name).map(|resource| &resource.spec),
        }
    }

    /// The spec as it is now, to write in.
    pub(super) fn get_mut(&mut self, name: &Name) -> Option<&mut T>
    where
        T: Clone,
    {
        if !self.written.contains_key(name) {
            let spec = self.base.get(name)?.spec.clone();
            self.put(name.clone(), spec, String::new());
        }
        let written = self.written.get_mut(name)?.as_mut();
        written.map(|written| &mut written.spec)
    }

    /// Writes a spec, which stands at `at`.
    pub(super) fn put(&mut self, name: Name, spec: T, at: String) {
        let written = Box::new(Written { spec, at });
        self.written.insert(name, Some(written));
    }

    /// Removes it, if it is there.
    pub(super) fn remove(&mut self, name: &Name) {
        self.written.insert(name.clone(), None);
    }

    /// Removes all that are not among these.
    pub(super) fn keep<V>(&mut self, kept: &BTreeMap<Name, V>) {
        let is_kept = |name: &Name| kept.contains_key(name);
        let old = self.base.keys().filter(|name| !is_kept(name)).cloned();
        self.written.retain(|name, _| is_kept(name));
        self.written.extend(old.map(|name| (name, None)));
    }

    /// What was written, each with its place.
    pub(super) fn written(&self) -> impl Iterator<Item = (&T, &str)> {
        let written = self.written.values().flatten();
        written.map(|written| (&written.spec, written.at.as_str()))
    }

    /// What was removed.
    pub(super) fn removed(&self) -> BTreeSet<Name> {
        let removed = self.written.iter().filter(|(_, spec)| spec.is_none());
        removed.map(|(name, _)| name.clone()).collect()
    }

    /// Whether anything written differs from what was there.
    pub(super) fn differs(&self) -> bool
    where
        T: PartialEq,
    {
        let old = |name| self.base.get(name).map(|resource| &resource.spec);
        self.written.keys().any(|name| self.get(name) != old(name))
    }

    /// The specs written by name, `None` for those removed.
    pub(super) fn into_specs(self) -> impl Iterator<Item = (Name, Option<T>)> {
        let written = self.written.into_iter();
        written.map(|(name, written)| (name, written.map(|written| written.spec)))
    }
}
