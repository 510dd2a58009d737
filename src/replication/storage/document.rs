//! Small files that are written whole and replaced whole.
//!
//! A document is sealed with its format and a checksum. Replacing one is: a temporary file, sync, rename, sync of the
//! directory; so that a crash leaves the old or the new one, and damage is always told from absence.

use std::io;

use super::{Disk, Error, File};

const MAGIC: &[u8; 8] = b"synoddoc";
const HEADER: usize = 8 + 4 + 4 + 4;
/// Far above any document; a length beyond it is damage, and is not allocated.
const MAX_DOCUMENT: u64 = 64 << 20;
/// What a temporary file's name ends with. Such a file is never read: at start it is removed.
pub(super) const TEMPORARY: &str = ".tmp";

/// Reads the document `name`. `None` where there is no such file; what does not verify is an error.
pub fn load<D: Disk>(disk: &D, name: &str, known: u32) -> Result<Option<Vec<u8>>, Error> {
    let file = match disk.open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", name)(error)),
    };
    let damaged = |reason: &str| Error::damaged(name, reason);
    let size = file.size().map_err(Error::io("measure", name))?;
    if size > MAX_DOCUMENT {
        return Err(damaged("it is too long"));
    }
    let mut sealed = vec![0; size as usize];
    file.read_at(0, &mut sealed)
        .map_err(Error::io("read", name))?;
    match unseal(&sealed) {
        Ok((version, _)) if version > known => Err(Error::Version {
            file: name.to_owned(),
            found: version,
            known,
        }),
        Ok((_, content)) => Ok(Some(content.to_vec())),
        Err(reason) => Err(damaged(reason)),
    }
}

/// Replaces the document `name` durably: when this returns, a crash leaves `content`.
pub fn store<D: Disk>(disk: &D, name: &str, version: u32, content: &[u8]) -> Result<(), Error> {
    let temporary = format!("{name}{TEMPORARY}");
    let written = disk.create(&temporary).and_then(|mut file| {
        file.write_at(0, &seal(version, content))?;
        file.sync()
    });
    written.map_err(Error::io("write", &temporary))?;
    disk.rename(&temporary, name)
        .map_err(Error::io("rename", &temporary))?;
    disk.sync_directory()
        .map_err(Error::io("sync the directory of", name))
}

/// The bytes of a document: magic, format, length, checksum of all else, content.
pub(super) fn seal(version: u32, content: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEADER + content.len());
    sealed.extend_from_slice(MAGIC);
    sealed.extend_from_slice(&version.to_le_bytes());
    sealed.extend_from_slice(&(content.len() as u32).to_le_bytes());
    sealed.extend_from_slice(&checksum(version, content).to_le_bytes());
    sealed.extend_from_slice(content);
    sealed
}

/// Format and content of a sealed document; bytes behind it are not looked at.
pub(super) fn unseal(sealed: &[u8]) -> Result<(u32, &[u8]), &'static str> {
    let Some((header, rest)) = sealed.split_at_checked(HEADER) else {
        return Err("it is too short");
    };
    let number = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    if &header[..8] != MAGIC {
        return Err("it does not begin as it must");
    }
    let (version, length, sum) = (number(8), number(12), number(16));
    let Some(content) = rest.get(..length as usize) else {
        return Err("it is cut short");
    };
    if checksum(version, content) != sum {
        return Err("its checksum does not match");
    }
    Ok((version, content))
}

fn checksum(version: u32, content: &[u8]) -> u32 {
    let head = crc32c::crc32c(&version.to_le_bytes());
    crc32c::crc32c_append(
        crc32c::crc32c_append(head, &(content.len() as u32).to_le_bytes()),
        content,
    )
}
