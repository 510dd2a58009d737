//! A spec with what the log says of it: when it was made, when it last changed.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::Name;

/// The slot of the last command that changed a value; 0 before the first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a resource is made of.
pub(super) trait Spec: Serialize {
    /// How many regular expressions are in it.
    fn patterns(&self) -> usize;
}

/// One pool, route or policy of a config. Immutable once made: sizes and digests are taken then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource<T> {
    /// When it last changed.
    pub revision: Revision,
    /// When it was made.
    pub created: Revision,
    /// What users wrote, with every default.
    pub spec: T,
    /// When each nested resource, a backend of a pool, last changed.
    parts: Arc<BTreeMap<Name, Revision>>,
    /// Over all of the above.
    pub(super) digest: u64,
    /// Of the spec as canonical JSON.
    pub(super) bytes: usize,
    /// Regular expressions in it.
    pub(super) patterns: usize,
}

impl<T> Resource<T> {
    pub(super) fn new(
        spec: T,
        created: Revision,
        revision: Revision,
        parts: BTreeMap<Name, Revision>,
    ) -> Self
    where
        T: Spec,
    {
        let mut canonical = Vec::with_capacity(1024);
        // Neither the buffer nor the specs' `Serialize` has a way to fail; a short digest would be one on every node.
        let _ = serde_json::to_writer(&mut canonical, &spec);
        let mut hasher = XxHash3_64::with_seed(0);
        hasher.write(&canonical);
        for number in [created.0, revision.0]
            .into_iter()
            .chain(parts.values().map(|part| part.0))
        {
            hasher.write(&number.to_le_bytes());
        }
        Self {
            revision,
            created,
            patterns: spec.patterns(),
            spec,
            parts: Arc::new(parts),
            digest: hasher.finish(),
            bytes: canonical.len(),
        }
    }

    /// When each nested resource last changed.
    pub(super) fn parts(&self) -> &BTreeMap<Name, Revision> {
        &self.parts
    }

    /// When that nested resource last changed; `None` if it is not there.
    pub fn part(&self, id: &Name) -> Option<Revision> {
        self.parts.get(id).copied()
    }
}
