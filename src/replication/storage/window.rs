//! Reads a segment front to back in large pieces.

use super::{Error, File};

/// How much is read at once; a restart streams the log in pieces of this size.
const PIECE: usize = 1 << 20;

/// Bytes of a file by offset.
pub(super) trait Window {
    /// Length of the whole.
    fn size(&self) -> u64;
    /// The bytes from `offset` on; they must lie within the size.
    fn bytes(&mut self, offset: u64, length: usize) -> Result<&[u8], Error>;
}

/// A window over a file that keeps the last piece read.
pub(super) struct Pieces<'a, F> {
    file: &'a F,
    name: &'a str,
    size: u64,
    start: u64,
    piece: Vec<u8>,
}

impl<'a, F: File> Pieces<'a, F> {
    pub(super) fn new(file: &'a F, name: &'a str) -> Result<Self, Error> {
        let size = file.size().map_err(Error::io("measure", name))?;
        Ok(Pieces {
            file,
            name,
            size,
            start: 0,
            piece: Vec::new(),
        })
    }
}

impl<F: File> Window for Pieces<'_, F> {
    fn size(&self) -> u64 {
        self.size
    }

    fn bytes(&mut self, offset: u64, length: usize) -> Result<&[u8], Error> {
        let held = self.start..self.start + self.piece.len() as u64;
        if offset < held.start || offset + length as u64 > held.end {
            let wanted = (length.max(PIECE) as u64).min(self.size.saturating_sub(offset));
            self.piece.resize(wanted as usize, 0);
            self.start = offset;
            self.file
                .read_at(offset, &mut self.piece)
                .map_err(Error::io("read", self.name))?;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.piece[from..from + length])
    }
}
