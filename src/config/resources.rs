//! The resources of one kind, and what the limits and the digest of a config need of all of them: kept up with each
//! change, so that no change looks at the others.

use std::borrow::Borrow;
use std::ops::Deref;
use std::sync::Arc;

use super::persistent::{Difference, PersistentMap};
use super::{Name, Resource};

/// Resources of one kind, by name. A clone is cheap and shares what does not change.
#[derive(Debug, PartialEq, Eq)]
pub struct Resources<T> {
    by_name: PersistentMap<Name, Arc<Resource<T>>>,
    totals: Totals,
}

/// Sums over resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Of their digests, wrapping: equal for equal resources, whichever way they came together.
    pub(super) digest: u64,
    /// As canonical JSON.
    pub(super) bytes: usize,
    /// Nested resources.
    pub(super) parts: usize,
    /// Regular expressions.
    pub(super) patterns: usize,
}

/// What differs between two states of the resources of one kind.
pub type ResourceDifference<'a, T> = Difference<'a, Name, Arc<Resource<T>>>;

impl<T> Resources<T> {
    /// Puts a resource in the place of the one that had its name.
    pub(super) fn insert(&mut self, name: Name, resource: Arc<Resource<T>>) -> bool {
        self.totals.add(&resource);
        let before = self.by_name.insert(name, resource);
        before
            .iter()
            .for_each(|before| self.totals.subtract(before));
        before.is_some()
    }

    /// Takes a resource out, if it is there.
    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, name: &Q)
    where
        Name: Borrow<Q>,
    {
        let before = self.by_name.remove(name);
        before
            .iter()
            .for_each(|before| self.totals.subtract(before));
    }

    /// Over all of them.
    pub(super) fn totals(&self) -> Totals {
        self.totals
    }
}

impl<T: PartialEq> Resources<T> {
    /// What differs between these and `newer`, by name: content or revisions.
    ///
    /// Equal revisions are equal content in one log; the specs are compared for a config that came another way.
    pub fn differences<'a>(&'a self, newer: &'a Self) -> Vec<ResourceDifference<'a, T>> {
        self.by_name.differences(newer, |a, b| {
            Arc::ptr_eq(a, b)
                || (a.revision == b.revision && a.created == b.created && a.spec == b.spec)
        })
    }

    /// Whether the specs are equal, whatever the revisions.
    pub(super) fn same_content(&self, other: &Self) -> bool {
        let same =
            |a: &Arc<Resource<T>>, b: &Arc<Resource<T>>| Arc::ptr_eq(a, b) || a.spec == b.spec;
        self.by_name.differences(other, same).is_empty()
    }
}

impl<T> Deref for Resources<T> {
    type Target = PersistentMap<Name, Arc<Resource<T>>>;

    fn deref(&self) -> &Self::Target {
        &self.by_name
    }
}

impl<T> Clone for Resources<T> {
    fn clone(&self) -> Self {
        Self {
            by_name: self.by_name.clone(),
            totals: self.totals,
        }
    }
}

impl<T> Default for Resources<T> {
    fn default() -> Self {
        Self {
            by_name: PersistentMap::default(),
            totals: Totals::default(),
        }
    }
}

impl Totals {
    fn add<T>(&mut self, resource: &Resource<T>) {
        self.digest = self.digest.wrapping_add(resource.digest);
        self.bytes += resource.bytes;
        self.parts += resource.parts().len();
        self.patterns += resource.patterns;
    }

    fn subtract<T>(&mut self, resource: &Resource<T>) {
        self.digest = self.digest.wrapping_sub(resource.digest);
        self.bytes -= resource.bytes;
        self.parts -= resource.parts().len();
        self.patterns -= resource.patterns;
    }
}
