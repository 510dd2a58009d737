//! The audit trail: who changed what, when and why. Bounded; the oldest go first.
//!
//! Each entry is chained to the one before: its digest is the SHA-256 of the digest before (32 zero bytes before the
//! first) followed by its record, the compact JSON `{"revision","stamp","author","comment","changes"}`. Only changes
//! are kept; an older config is the newest one with later changes taken back.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Stamp;
use super::borrowed::{self, Field, Value};
use super::queue::Queue;
use crate::config::{Change, Config, Revision, Undo, diff_text, limits};

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
    /// SHA-256 over the digest before and this entry's record.
    pub digest: [u8; 32],
    /// What, as JSON: a tree of values would take many times the room.
    changes: Box<str>,
    /// Of its record.
    bytes: usize,
}

impl Entry {
    /// What changed.
    pub fn changes(&self) -> Vec<Change> {
        // It was written from such a list; an empty one is the total answer to what cannot be.
        serde_json::from_str(&self.changes).unwrap_or_default()
    }

    /// The paths of what changed, without reading what it was and is: that may be large.
    pub fn paths(&self) -> Vec<Cow<'_, str>> {
        let changes: Vec<Path<'_>> = serde_json::from_str(&self.changes).unwrap_or_default();
        changes.into_iter().map(|change| change.path).collect()
    }

    /// Bytes of its record.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// As an `EntryImage`.
    fn image(&self) -> [Field<'_>; 7] {
        [
            (1, Value::Number(self.revision.0)),
            (2, Value::Number(self.stamp.0)),
            (3, Value::Bytes(self.author.as_bytes())),
            (4, Value::Bytes(self.comment.as_bytes())),
            (5, Value::Bytes(&self.digest)),
            (6, Value::Bytes(self.changes.as_bytes())),
            (7, Value::Number(self.bytes as u64)),
        ]
    }
}

/// Of a [`Change`].
#[derive(Deserialize)]
struct Path<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
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
    /// Oldest first.
    entries: Queue<Arc<Entry>>,
    /// The config after the last of them.
    newest: Arc<Config>,
    /// The revision of the last entry dropped; 0 if none was.
    compacted: Revision,
    /// Of all records.
    bytes: usize,
    /// Of the last entry ever made.
    digest: [u8; 32],
}

impl History {
    /// All that is kept, newest first.
    pub fn newest_first(&self) -> impl ExactSizeIterator<Item = &Arc<Entry>> {
        self.entries.iter().rev()
    }

    /// What is kept of the revisions behind this one, oldest first.
    pub fn after(&self, revision: Revision) -> impl Iterator<Item = &Arc<Entry>> {
        let first = self
            .entries
            .partition_point(|entry| entry.revision <= revision);
        self.entries.iter_from(first)
    }

    /// Of the last entry ever made, and through it of all: 32 zero bytes before the first.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The newest revision that is no longer kept; 0 if all are. A config is known from this revision on, an entry
    /// only after it.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// The entry that made exactly this revision.
    pub fn entry(&self, revision: Revision) -> At<&Arc<Entry>> {
        let found = self
            .entries
            .partition_point(|entry| entry.revision < revision);
        match self.entries.get(found) {
            Some(entry) if entry.revision == revision => At::Found(entry),
            _ if revision > Revision(0) && revision <= self.compacted => At::Compacted,
            _ => At::Unknown,
        }
    }

    /// What the command that made exactly this revision changed.
    pub fn diff(&self, revision: Revision) -> At<Vec<Change>> {
        match self.entry(revision) {
            At::Found(entry) => At::Found(entry.changes()),
            At::Compacted => At::Compacted,
            At::Unknown => At::Unknown,
        }
    }

    /// The config as it was at this revision; of a number between two, as the earlier one left it. Costs as much as
    /// there are changes since: take a clone of the history, and ask that.
    pub fn config_at(&self, revision: Revision) -> At<Config> {
        if revision > self.newest.revision {
            return At::Unknown;
        }
        if revision < self.compacted {
            return At::Compacted;
        }
        let mut undo = Undo::new(&self.newest);
        for entry in self
            .newest_first()
            .take_while(|entry| entry.revision > revision)
        {
            entry
                .changes()
                .into_iter()
                .for_each(|change| undo.take_back(change));
        }
        let made = self
            .entries
            .iter()
            .rev()
            .map(|entry| entry.revision)
            .find(|made| *made <= revision);
        At::Found(undo.finish(made.unwrap_or(self.compacted)))
    }

    /// Bytes that [`History::write_image`] makes.
    pub(super) fn image_length(&self) -> usize {
        let entry =
            |entry: &Arc<Entry>| borrowed::nested_length(1, borrowed::length(&entry.image()));
        let entries: usize = self.entries.iter().map(entry).sum();
        entries + borrowed::length(&self.end())
    }

    /// Writes a `HistoryImage`: as a checkpoint keeps it, but for the newest config, which the machine holds too.
    pub(super) fn write_image(&self, out: &mut Vec<u8>) {
        for entry in self.entries.iter() {
            let image = entry.image();
            borrowed::begin(1, borrowed::length(&image), out);
            borrowed::write(&image, out);
        }
        borrowed::write(&self.end(), out);
    }

    /// What its image says behind the entries.
    fn end(&self) -> [Field<'_>; 2] {
        [
            (2, Value::Number(self.compacted.0)),
            (3, Value::Bytes(&self.digest)),
        ]
    }

    /// What `image` was made of; `newest` is the config after its last entry.
    pub(super) fn from_image(
        image: HistoryImage,
        newest: Arc<Config>,
    ) -> Result<Self, &'static str> {
        let digest = |bytes: &[u8]| {
            <[u8; 32]>::try_from(bytes).map_err(|_| "a digest of history is not 32 bytes")
        };
        let mut history = Self {
            entries: Queue::default(),
            newest,
            compacted: Revision(image.compacted),
            bytes: 0,
            digest: digest(&image.digest)?,
        };
        let mut before = history.compacted;
        for entry in image.entries {
            let revision = Revision(entry.revision);
            if revision <= before || revision > history.newest.revision {
                return Err("the revisions of history are out of order");
            }
            before = revision;
            history.bytes += entry.bytes as usize;
            history.entries.push_back(Arc::new(Entry {
                revision,
                stamp: Stamp(entry.stamp),
                author: entry.author,
                comment: entry.comment,
                digest: digest(&entry.digest)?,
                changes: entry.changes.into(),
                bytes: entry.bytes as usize,
            }));
        }
        Ok(history)
    }

    /// Notes that `config` follows the newest.
    pub(super) fn push(&mut self, config: Arc<Config>, stamp: Stamp, author: &str, comment: &str) {
        let changes = diff_text(&self.newest, &config);
        let author = cut(author, limits::AUTHOR_BYTES);
        let comment = cut(comment, limits::COMMENT_BYTES);
        let head = json(&Head {
            revision: config.revision.0,
            stamp: stamp.0,
            author,
            comment,
        });
        // The changes, written once, are its last field.
        let record = [
            head.strip_suffix('}').unwrap_or(&head),
            ",\"changes\":",
            &changes,
            "}",
        ];
        let digest = Sha256::new().chain_update(self.digest);
        let digest = record
            .iter()
            .fold(digest, |digest, part| digest.chain_update(part));
        let digest: [u8; 32] = digest.finalize().into();
        let bytes = record.iter().map(|part| part.len()).sum();
        let entry = Entry {
            revision: config.revision,
            stamp,
            author: author.to_owned(),
            comment: comment.to_owned(),
            digest,
            changes: changes.into(),
            bytes,
        };
        self.newest = config;
        self.digest = digest;
        self.bytes += entry.bytes;
        self.entries.push_back(Arc::new(entry));
        while let Some(oldest) = self.entries.front()
            && (self.entries.len() > limits::REVISIONS || self.bytes > limits::HISTORY_BYTES)
        {
            self.compacted = oldest.revision;
            self.bytes -= oldest.bytes;
            self.entries.drop_front();
        }
    }
}

/// History in a checkpoint.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HistoryImage {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<EntryImage>,
    #[prost(uint64, tag = "2")]
    compacted: u64,
    #[prost(bytes = "bytes", tag = "3")]
    digest: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EntryImage {
    #[prost(uint64, tag = "1")]
    revision: u64,
    #[prost(uint64, tag = "2")]
    stamp: u64,
    #[prost(string, tag = "3")]
    author: String,
    #[prost(string, tag = "4")]
    comment: String,
    #[prost(bytes = "bytes", tag = "5")]
    digest: Bytes,
    #[prost(string, tag = "6")]
    changes: String,
    #[prost(uint64, tag = "7")]
    bytes: u64,
}

/// The record that an entry's digest is over, but for its last field.
#[derive(Serialize)]
struct Head<'a> {
    revision: u64,
    stamp: u64,
    author: &'a str,
    comment: &'a str,
}

fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value)
        .expect("records have string keys and nothing that fails to serialise")
}

/// The first characters of `text` that fit into `bytes`.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
