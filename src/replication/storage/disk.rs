//! The few file operations that durability rests on, and the real disk.
//!
//! A `Disk` is one data directory, held by one process: having the value is holding the lock. Names are flat. A new
//! file or a rename is durable after `sync_directory`, bytes are durable after `File::sync`. `memory` has the other
//! implementation, which loses everything it may lose.

use std::fs;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt as _, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Error;

/// The file by which one process at a time holds a directory.
pub(in crate::replication) const LOCK: &str = "lock";

/// So long a process that ends is waited for.
const ENDING: Duration = Duration::from_secs(1);

/// One data directory, exclusively held.
pub trait Disk: Clone + Send + 'static {
    /// An open file of it.
    type File: File;

    /// The names of all files, sorted.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new, empty file; one of that name is emptied.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// An existing file, for reading and writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Gives a file another name; one that has it is replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Takes a name away.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes all names as they are now durable.
    fn sync_directory(&self) -> io::Result<()>;
}

/// An open file.
pub trait File: Send + 'static {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset`, or fails.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`, growing the file where needed.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the bytes written so far, and the length, durable. After an error it is unknown which are.
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory of the real disk. Clones share the lock, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct OsDisk {
    directory: Arc<PathBuf>,
    _lock: Arc<fs::File>,
}

impl OsDisk {
    /// Makes the directory where it is missing, and takes its lock.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        make_directory(directory, OWNER).map_err(Error::io(
            "make the data directory",
            &directory.to_string_lossy(),
        ))?;
        let lock = take_lock(directory)?;
        Ok(OsDisk {
            directory: Arc::new(directory.to_owned()),
            _lock: Arc::new(lock),
        })
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Disk for OsDisk {
    type File = fs::File;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&*self.directory)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<fs::File> {
        fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.directory.join(name))
    }

    fn open(&self, name: &str) -> io::Result<fs::File> {
        fs::File::options()
            .read(true)
            .write(true)
            .open(self.directory.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        fs::File::open(&*self.directory)?.sync_all()
    }
}

impl File for fs::File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        // fdatasync: a segment is preallocated and zero-filled, so that there is no length to journal on most syncs.
        self.sync_data()
    }
}

/// Who may look into the data directory: what is in it holds hashes of passwords.
const OWNER: u32 = 0o700;
/// Who may look into those above it that had to be made, as far as the process's mask lets them.
const ANYBODY: u32 = 0o777;

/// Each new directory's name is durable only when its parent was synced.
fn make_directory(directory: &Path, mode: u32) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = match directory.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    make_directory(parent, ANYBODY)?;
    match fs::DirBuilder::new().mode(mode).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::File::open(parent)?.sync_all()
}

/// Who has just ended may hold it for a moment longer: what it began to write is not broken off, and a child that it is
/// starting has its files until it runs.
fn lock_soon(file: &fs::File) -> Result<(), fs::TryLockError> {
    let deadline = Instant::now() + ENDING;
    loop {
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(ENDING / 50);
            }
            locked => return locked,
        }
    }
}

fn take_lock(directory: &Path) -> Result<fs::File, Error> {
    let name = directory.join(LOCK);
    let shown = name.to_string_lossy();
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&name)
        .map_err(Error::io("open the lock", &shown))?;
    match lock_soon(&file) {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let known = file.read_to_string(&mut pid).is_ok() && pid.trim().parse::<u32>().is_ok();
            let holder = if known {
                format!(" (pid {})", pid.trim())
            } else {
                String::new()
            };
            return Err(Error::Locked {
                directory: directory.display().to_string(),
                holder,
            });
        }
        Err(fs::TryLockError::Error(source)) => return Err(Error::io("lock", &shown)(source)),
    }
    // The pid is only for the message above: that it could not be written harms nothing.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()));
    Ok(file)
}
