//! The medium: what is cached, what is durable, and what a power failure leaves of the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rand::RngExt;
use rand::rngs::StdRng;

pub(super) const SECTOR: usize = 512;

#[derive(Debug)]
pub(super) struct Medium {
    pub(super) rng: StdRng,
    pub(super) files: BTreeMap<u64, Content>,
    /// Names as the running process sees them, and as the medium has them.
    pub(super) names: BTreeMap<String, u64>,
    pub(super) durable_names: BTreeMap<String, u64>,
    /// The names that may be others on the medium, and the files that have lost theirs: a directory's sync looks at
    /// nothing else.
    pub(super) renamed: BTreeSet<String>,
    pub(super) nameless: Vec<u64>,
    pub(super) next_file: u64,
    /// Which boot holds the lock; handles of earlier ones are dead.
    pub(super) boot: u64,
    pub(super) held: bool,
    pub(super) capacity: Option<u64>,
    pub(super) syncs: u64,
    pub(super) sync_fails_in: Option<u64>,
    pub(super) write_fails_in: Option<u64>,
}

/// One file, by its number: names may change or go.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) cached: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) dirty: Sectors,
}

/// Some sectors of a file, as bits.
#[derive(Clone, Debug, Default)]
pub(super) struct Sectors(Vec<u64>);

impl Medium {
    pub(super) fn lose_power(&mut self) {
        let keep = [0.0, 0.2, 0.5, 0.8, 1.0][self.rng.random_range(0..5)];
        for name in std::mem::take(&mut self.renamed) {
            let (now, before) = (
                self.names.get(&name).copied(),
                self.durable_names.get(&name).copied(),
            );
            if now != before && self.rng.random_bool(keep) {
                match now {
                    Some(file) => self.durable_names.insert(name, file),
                    None => self.durable_names.remove(&name),
                };
            }
        }
        self.names = self.durable_names.clone();
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.files.retain(|file, _| named.contains(file));
        self.nameless.clear();
        for content in self.files.values_mut() {
            for sector in std::mem::take(&mut content.dirty).ascending() {
                if self.rng.random_bool(keep) {
                    content.persist(sector);
                }
            }
            content.cached.clone_from(&content.durable);
        }
    }

    /// A name is that of another file from now on, or of none.
    pub(super) fn rename(&mut self, name: &str, file: Option<u64>) -> Option<u64> {
        if !self.renamed.contains(name) {
            self.renamed.insert(name.to_owned());
        }
        match (self.names.get_mut(name), file) {
            (Some(before), Some(file)) => Some(std::mem::replace(before, file)),
            (None, Some(file)) => self.names.insert(name.to_owned(), file),
            (_, None) => self.names.remove(name),
        }
    }

    /// The names are on the medium as they are now; files without one are gone.
    pub(super) fn sync_names(&mut self) {
        for name in std::mem::take(&mut self.renamed) {
            match self.names.get(&name) {
                Some(file) => self.durable_names.insert(name, *file),
                None => self.durable_names.remove(&name),
            };
        }
        for file in std::mem::take(&mut self.nameless) {
            // After a power failure in the middle of a renaming it may have both names.
            if !self.names.values().any(|named| *named == file) {
                self.files.remove(&file);
            }
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.files
            .values()
            .map(|content| content.cached.len() as u64)
            .sum()
    }

    pub(super) fn sync_goes_well(&mut self) -> bool {
        self.syncs += 1;
        counts_down(&mut self.sync_fails_in)
    }
}

impl Content {
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.cached.len() < end {
            self.cached.resize(end, 0);
        }
        self.cached[offset..end].copy_from_slice(bytes);
        self.dirty.add(offset / SECTOR..end.div_ceil(SECTOR));
    }

    pub(super) fn persist(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.cached.len());
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(&self.cached[start..end]);
    }

    pub(super) fn sync(&mut self) {
        let grows = self.cached.len().saturating_sub(self.durable.len());
        self.durable.reserve(grows);
        for sector in std::mem::take(&mut self.dirty).ascending() {
            self.persist(sector);
        }
    }
}

impl Sectors {
    fn add(&mut self, sectors: Range<usize>) {
        let words = sectors.end.div_ceil(64);
        if self.0.len() < words {
            self.0.resize(words, 0);
        }
        for sector in sectors {
            self.0[sector / 64] |= 1 << (sector % 64);
        }
    }

    pub(super) fn ascending(self) -> impl Iterator<Item = usize> {
        let words = self.0.into_iter().enumerate();
        words.flat_map(|(nth, mut word)| {
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros() as usize;
                word &= word.checked_sub(1)?;
                Some(nth * 64 + bit)
            })
        })
    }
}

/// Whether a fault that strikes after so many times stays away this time.
pub(super) fn counts_down(left: &mut Option<u64>) -> bool {
    match left {
        Some(0) => {
            *left = None;
            false
        }
        Some(n) => {
            *n -= 1;
            true
        }
        None => true,
    }
}
