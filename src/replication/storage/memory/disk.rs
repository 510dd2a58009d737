//! The medium as a process sees it.

use std::io;
use std::sync::MutexGuard;

use rand::RngExt;

use super::medium::{Content, Medium, SECTOR, counts_down};
use super::{Disk, File, Memory};

/// The directory as one boot of a process holds it.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    pub(super) memory: Memory,
    pub(super) boot: u64,
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
        let before = medium.rename(name, Some(file));
        medium.nameless.extend(before);
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
        let file = medium.names.get(from).copied();
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        medium.rename(from, None);
        let before = medium.rename(to, Some(file));
        medium.nameless.extend(before);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut medium = self.alive()?;
        let file = medium.names.get(name).copied();
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        medium.rename(name, None);
        medium.nameless.push(file);
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut medium = self.alive()?;
        if !medium.sync_goes_well() {
            return Err(io::Error::other("simulated sync error"));
        }
        medium.sync_names();
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
            for sector in std::mem::take(&mut content.dirty).ascending() {
                if rng.random_bool(0.5) {
                    content.persist(sector);
                }
            }
            Err(io::Error::other("simulated sync error"))
        })
    }
}
