//! A simulated disk that loses whatever a real one may lose.
//!
//! Writes go to a cache; `sync` copies them to the medium in sectors. A power failure keeps an arbitrary subset of the
//! unsynced sectors and of the unsynced names; the death of the process keeps the cache. A failed sync forgets its
//! dirty sectors, as ext4, XFS and Btrfs do: the cache still shows them, no later sync writes them. All choices come
//! from a seed. Used by the conformance suite and the simulation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Disk, Error, File};
use medium::Medium;

mod disk;
mod medium;

pub use disk::{MemoryDisk, MemoryFile};

/// The medium: it outlives the processes that boot on it.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Mutex<Medium>>);

impl Memory {
    /// An empty medium.
    pub fn new(seed: u64) -> Self {
        Memory(Arc::new(Mutex::new(Medium {
            rng: StdRng::seed_from_u64(seed),
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            renamed: BTreeSet::new(),
            nameless: Vec::new(),
            next_file: 0,
            boot: 0,
            held: false,
            capacity: None,
            syncs: 0,
            sync_fails_in: None,
            write_fails_in: None,
        })))
    }

    /// A copy of all that the medium holds, as an image of a virtual machine is; nobody holds it.
    pub fn image(&self) -> Memory {
        let mut medium = self.medium();
        Memory(Arc::new(Mutex::new(Medium {
            rng: StdRng::seed_from_u64(medium.rng.random()),
            files: medium.files.clone(),
            names: medium.names.clone(),
            durable_names: medium.durable_names.clone(),
            renamed: medium.renamed.clone(),
            nameless: medium.nameless.clone(),
            held: false,
            ..*medium
        })))
    }

    /// Takes the lock, as a starting process does.
    pub fn boot(&self) -> Result<MemoryDisk, Error> {
        let mut medium = self.medium();
        if medium.held {
            return Err(Error::Locked {
                directory: "memory".to_owned(),
                holder: String::new(),
            });
        }
        medium.held = true;
        medium.boot += 1;
        Ok(MemoryDisk {
            memory: self.clone(),
            boot: medium.boot,
        })
    }

    /// The process dies: its lock and handles go, what it wrote stays in the cache.
    pub fn kill(&self) {
        let mut medium = self.medium();
        medium.held = false;
        medium.boot += 1;
        medium.sync_fails_in = None;
        medium.write_fails_in = None;
    }

    /// The power fails: of what was not synced an arbitrary part is kept.
    pub fn crash(&self) {
        self.kill();
        self.medium().lose_power();
    }

    /// The sync after `n` good ones fails.
    pub fn fail_sync_after(&self, n: u64) {
        self.medium().sync_fails_in = Some(n);
    }

    /// The write after `n` good ones fails, with half of its sectors done.
    pub fn fail_write_after(&self, n: u64) {
        self.medium().write_fails_in = Some(n);
    }

    /// No sync or write is to fail any more.
    pub fn heal(&self) {
        let mut medium = self.medium();
        medium.sync_fails_in = None;
        medium.write_fails_in = None;
    }

    /// Bytes that all files together may grow to; `None` is no limit.
    pub fn limit(&self, capacity: Option<u64>) {
        self.medium().capacity = capacity;
    }

    /// Syncs done so far, of files and of the directory.
    pub fn syncs(&self) -> u64 {
        self.medium().syncs
    }

    /// The names as a process sees them.
    pub fn names(&self) -> Vec<String> {
        self.medium().names.keys().cloned().collect()
    }

    /// How long a process sees a file.
    pub fn size(&self, name: &str) -> Option<u64> {
        let medium = self.medium();
        let file = medium.names.get(name)?;
        let content = medium.files.get(file)?;
        Some(content.cached.len() as u64)
    }

    /// What a process sees in a file.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let medium = self.medium();
        let file = medium.names.get(name)?;
        medium.files.get(file).map(|content| content.cached.clone())
    }

    /// Replaces bytes on the medium behind everyone's back.
    pub fn damage(&self, name: &str, offset: usize, bytes: &[u8]) {
        let mut medium = self.medium();
        let Some(content) = medium
            .names
            .get(name)
            .copied()
            .and_then(|file| medium.files.get_mut(&file))
        else {
            return;
        };
        for image in [&mut content.cached, &mut content.durable] {
            if let Some(target) = image.get_mut(offset..offset + bytes.len()) {
                target.copy_from_slice(bytes);
            }
        }
    }

    /// Cuts a file short behind everyone's back.
    pub fn cut(&self, name: &str, length: usize) {
        let mut medium = self.medium();
        let file = medium.names.get(name).copied();
        if let Some(content) = file.and_then(|file| medium.files.get_mut(&file)) {
            content.cached.truncate(length);
            content.durable.truncate(length);
        }
    }

    /// Takes a file away behind everyone's back.
    pub fn lose(&self, name: &str) {
        let mut medium = self.medium();
        let file = medium.names.remove(name);
        medium.nameless.extend(file);
        medium.durable_names.remove(name);
    }

    fn medium(&self) -> MutexGuard<'_, Medium> {
        // A panicking simulation leaves the medium readable for its report.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
