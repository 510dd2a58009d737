//! A simulated disk that loses whatever a real one may lose.
//!
//! Writes go to a cache; `sync` copies them to the medium in sectors. A power failure keeps an arbitrary subset of the
//! unsynced sectors and of the unsynced names; the death of the process keeps the cache. A failed sync forgets its
//! dirty sectors, as ext4, XFS and Btrfs do: the cache still shows them, no later sync writes them. All choices come
//! from a seed. Used by the conformance suite and the simulation.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Disk, Error, File};

const SECTOR: usize = 512;

/// The medium: it outlives the processes that boot on it.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Mutex<Medium>>);

#[derive(Debug)]
struct Medium {
    rng: StdRng,
    files: BTreeMap<u64, Content>,
    /// Names as the running process sees them, and as the medium has them.
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    next_file: u64,
    /// Which boot holds the lock; handles of earlier ones are dead.
    boot: u64,
    held: bool,
    capacity: Option<u64>,
    syncs: u64,
    sync_fails_in: Option<u64>,
    write_fails_in: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    cached: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

impl Memory {
    /// An empty medium.
    pub fn new(seed: u64) -> Self {
        Memory(Arc::new(Mutex::new(Medium {
            rng: StdRng::seed_from_u64(seed),
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
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

    /// Takes a file away behind everyone's back.
    pub fn lose(&self, name: &str) {
        let mut medium = self.medium();
        medium.names.remove(name);
        medium.durable_names.remove(name);
    }

    fn medium(&self) -> MutexGuard<'_, Medium> {
        // A panicking simulation leaves the medium readable for its report.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Medium {
    fn lose_power(&mut self) {
        let keep = [0.0, 0.2, 0.5, 0.8, 1.0][self.rng.random_range(0..5)];
        let changed: BTreeSet<String> = self
            .names
            .keys()
            .chain(self.durable_names.keys())
            .cloned()
            .collect();
        for name in changed {
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
        for content in self.files.values_mut() {
            for sector in std::mem::take(&mut content.dirty) {
                if self.rng.random_bool(keep) {
                    content.persist(sector);
                }
            }
            content.cached = content.durable.clone();
        }
    }

    fn used(&self) -> u64 {
        self.files
            .values()
            .map(|content| content.cached.len() as u64)
            .sum()
    }

    fn sync_goes_well(&mut self) -> bool {
        self.syncs += 1;
        counts_down(&mut self.sync_fails_in)
    }
}

impl Content {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.cached.len() < end {
            self.cached.resize(end, 0);
        }
        self.cached[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    fn persist(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.cached.len());
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(&self.cached[start..end]);
    }

    fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.persist(sector);
        }
    }
}

fn counts_down(left: &mut Option<u64>) -> bool {
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

/// The directory as one boot of a process holds it.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    memory: Memory,
    boot: u64,
}

/// An open file of a `MemoryDisk`.
#[derive(Debug)]
pub struct MemoryFile {
    disk: MemoryDisk,
    file: u64,
}

impl MemoryDisk {
    fn alive(&self) -> io::Result<MutexGuard<'_, Medium>> {
        let medium = self.memory.medium();
        if medium.boot == self.boot {
            Ok(medium)
        } else {
            Err(io::Error::other("the process that opened this is dead"))
        }
    }

    fn handle(&self, file: u64) -> MemoryFile {
        MemoryFile {
            disk: self.clone(),
            file,
        }
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.alive()?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<MemoryFile> {
        let mut medium = self.alive()?;
        let file = medium.next_file;
        medium.next_file += 1;
        medium.files.insert(file, Content::default());
        medium.names.insert(name.to_owned(), file);
        Ok(self.handle(file))
    }

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        let found = self.alive()?.names.get(name).copied();
        found
            .map(|file| self.handle(file))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut medium = self.alive()?;
        let file = medium.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        medium.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut medium = self.alive()?;
        medium
            .names
            .remove(name)
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut medium = self.alive()?;
        if !medium.sync_goes_well() {
            return Err(io::Error::other("simulated sync error"));
        }
        medium.durable_names = medium.names.clone();
        let named: BTreeSet<u64> = medium.names.values().copied().collect();
        medium.files.retain(|file, _| named.contains(file));
        Ok(())
    }
}

impl MemoryFile {
    fn with<R>(&self, f: impl FnOnce(&mut Medium, u64) -> io::Result<R>) -> io::Result<R> {
        let mut medium = self.disk.alive()?;
        if !medium.files.contains_key(&self.file) {
            return Err(io::ErrorKind::NotFound.into());
        }
        f(&mut medium, self.file)
    }
}

impl File for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        self.with(|medium, file| Ok(medium.files[&file].cached.len() as u64))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.with(|medium, file| {
            let start = offset as usize;
            let bytes = medium.files[&file].cached.get(start..start + buffer.len());
            buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|medium, file| {
            let grows = (offset + bytes.len() as u64)
                .saturating_sub(medium.files[&file].cached.len() as u64);
            if medium
                .capacity
                .is_some_and(|capacity| grows > 0 && medium.used() + grows > capacity)
            {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let good = counts_down(&mut medium.write_fails_in);
            let done = if good {
                bytes.len()
            } else {
                bytes.len() / 2 / SECTOR * SECTOR
            };
            if let Some(content) = medium.files.get_mut(&file) {
                content.write(offset as usize, &bytes[..done]);
            }
            if good {
                Ok(())
            } else {
                Err(io::Error::other("simulated write error"))
            }
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.with(|medium, file| {
            let good = medium.sync_goes_well();
            let Medium { files, rng, .. } = medium;
            let Some(content) = files.get_mut(&file) else {
                return Ok(());
            };
            if good {
                content.sync();
                return Ok(());
            }
            for sector in std::mem::take(&mut content.dirty) {
                if rng.random_bool(0.5) {
                    content.persist(sector);
                }
            }
            Err(io::Error::other("simulated sync error"))
        })
    }
}
