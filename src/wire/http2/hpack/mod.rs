//! Reads along what a peer's blocks of fields say (RFC 7541), as far as the h2 crate passes over what it says, or makes
//! more of it than RFC 9113 does.
//!
//! That crate decodes a block and drops pseudo-header fields of trailers, those of a request in an answer, and the
//! fragment of a path, and passes on white space around a value, all of which make a message malformed (RFC 9113, 8.1,
//! 8.2.1 and 8.3). And it ends the connection for a name or a value that none may be (8.2.1 and 8.3.2), which is
//! malformed likewise, and concerns its stream alone: that is told of, and the block is written anew with bytes that
//! are allowed in the place of those that are not. What the table holds stays as large as it was. What else it finds
//! malformed (8.2.2 and 8.3) it forgets, or ends the connection for, where a block comes in several frames: so that is
//! found here, too.
//!
//! Here nothing is kept of the fields but what finds these, and how large a list of them is: the sizes in the table of
//! those that were sent before, and what kind they are of.

mod block;
mod huffman;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use block::{Block, Kind, Name};

/// What the table holds at most: as many bytes as SETTINGS says, which is the default.
const TABLE: usize = 4_096;

/// What an entry of the table counts beside its text (RFC 7541, 4.1).
const OVERHEAD: usize = 32;

/// Bits of the index that a literal begins with, by whether the table takes it.
const REMEMBERED: u32 = 6;
const NOT_REMEMBERED: u32 = 4;

/// Lengths of the names in the static table (RFC 7541, appendix A).
#[rustfmt::skip]
const STATIC: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14, 16, 13,
    12, 6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3, 16,
];

/// Where it has that name, counted from 0.
const TRANSFER_ENCODING: usize = 56;

/// Whose messages the fields are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Those of who asks.
    Request,
    /// Those of who answers.
    Response,
}

/// The block cannot be decoded, and neither can any behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable;

/// What was found in a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// A pseudo-header field.
    pub pseudo: bool,
    /// What no message of this side has: a name or a value that no field has, white space at the start or end of a
    /// value, a path with a fragment behind it, a scheme that is none of HTTP, a field of a connection, a pseudo-header
    /// field of the other side, twice or behind other fields.
    pub malformed: bool,
    /// A status that another one is to follow.
    pub interim: bool,
}

/// Of a block that was read, the fields that change the table, as they are written.
pub fn remembered(block: &[u8]) -> Vec<&[u8]> {
    let (mut fields, mut none) = (Vec::new(), Vec::new());
    let mut reader = Block::new(block, &mut none);
    while let Some(first) = reader.first() {
        let start = reader.at();
        if reader.pass_field().is_err() {
            break;
        }
        if matches!(first, 0x20..0x80) {
            fields.push(&block[start..reader.at()]);
        }
    }
    fields
}

/// The fields that one side of a connection sends, read along.
#[derive(Debug)]
pub struct Fields {
    side: Side,
    /// Newest in front.
    table: VecDeque<Entry>,
    /// Of the whole table.
    size: usize,
    /// That the peer says it uses less.
    most: Option<usize>,
    /// Of what the last block says.
    list: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    name: Name,
    size: usize,
    malformed: bool,
    interim: bool,
}

impl Fields {
    /// Before the first block.
    pub fn of(side: Side) -> Self {
        Self {
            side,
            table: VecDeque::new(),
            size: 0,
            most: None,
            list: 0,
        }
    }

    /// Bytes of the list of fields that the last block stands for (RFC 9113, 6.5.2), without what values are in the
    /// static table.
    pub fn list(&self) -> usize {
        self.list
    }

    /// Reads a whole block. Every block of the connection is to be read, in order. If it holds what would end the
    /// connection, it is appended to `mended` with something else there.
    ///
    /// # Errors
    /// When it cannot be decoded, or what is mended would leave another table behind.
    pub fn read(&mut self, block: &[u8], mended: &mut Vec<u8>) -> Result<Found, Undecodable> {
        let mut block = Block::new(block, mended);
        let mut found = Found::default();
        let (mut begun, mut pseudo, mut other) = (false, 0, false);
        self.list = 0;
        while let Some(first) = block.first() {
            let entry = match first {
                0x80.. => self.entry(block.number(7)?)?,
                0x40.. => {
                    let entry = self.literal(&mut block, REMEMBERED)?;
                    self.add(entry);
                    entry
                }
                0x20.. if begun => return Err(Undecodable),
                0x20.. => {
                    self.resize(block.number(5)?)?;
                    continue;
                }
                _ => self.literal(&mut block, NOT_REMEMBERED)?,
            };
            begun = true;
            self.list += entry.size;
            found.malformed |= entry.malformed || !entry.name.kind.is_of(self.side);
            found.interim |= entry.interim;
            match entry.name.kind.pseudo() {
                0 => other = true,
                bit => {
                    found.malformed |= other || pseudo & bit != 0;
                    pseudo |= bit;
                }
            }
        }
        found.pseudo = pseudo != 0;
        block.end();
        Ok(found)
    }

    /// What is in the tables at `index`.
    fn entry(&self, index: usize) -> Result<Entry, Undecodable> {
        let at = index.checked_sub(1).ok_or(Undecodable)?;
        let Some(length) = STATIC.get(at) else {
            let entry = self.table.get(at - STATIC.len());
            return entry.copied().ok_or(Undecodable);
        };
        let kind = match at {
            1 | 2 => Kind::Method,
            3 | 4 => Kind::Path,
            5 | 6 => Kind::Scheme,
            7..14 => Kind::Status,
            0 => Kind::Authority,
            TRANSFER_ENCODING => Kind::Connection,
            _ => Kind::Other,
        };
        let length = usize::from(*length);
        Ok(Entry {
            name: Name {
                kind,
                length,
                malformed: false,
            },
            size: length + OVERHEAD,
            malformed: false,
            interim: false,
        })
    }

    fn literal(&self, block: &mut Block<'_>, bits: u32) -> Result<Entry, Undecodable> {
        let start = block.at();
        let index = block.number(bits)?;
        let name = match index {
            0 => block.name()?,
            index => self.entry(index)?.name,
        };
        let value = block.value(name.kind)?;
        if index == 0 && name.malformed || value.ends_all {
            let is_as_long = block.mend(start, bits, name, value)?;
            if bits == REMEMBERED && !is_as_long {
                return Err(Undecodable);
            }
        }
        Ok(Entry {
            name: Name {
                // In the place of an empty one there is one of a byte, for whoever refers to it.
                length: name.length.max(1),
                malformed: name.malformed || value.renames,
                ..name
            },
            size: name.length + value.length + OVERHEAD,
            malformed: name.malformed || value.malformed,
            interim: value.interim,
        })
    }

    fn add(&mut self, entry: Entry) {
        self.table.push_front(entry);
        self.size += entry.size;
        self.evict();
    }

    fn resize(&mut self, most: usize) -> Result<(), Undecodable> {
        if most > TABLE {
            return Err(Undecodable);
        }
        self.most = Some(most);
        self.evict();
        Ok(())
    }

    fn evict(&mut self) {
        while self.size > self.most.unwrap_or(TABLE)
            && let Some(oldest) = self.table.pop_back()
        {
            self.size -= oldest.size;
        }
    }
}
