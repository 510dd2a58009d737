//! Reads along what a client's blocks of fields say (RFC 7541), as far as the h2 crate passes over what it says.
//!
//! That crate decodes a block and drops pseudo-header fields of trailers and the fragment of a path, both of which make
//! a message malformed (RFC 9113, 8.1 and 8.3.1). Here nothing is kept of the fields but what finds these two: the
//! sizes in the table of those that were sent before, and what kind they are of. A block that cannot be decoded is for
//! the crate to refuse.

mod huffman;

use std::collections::VecDeque;

/// What the table holds at most: as many bytes as SETTINGS says, which is the default.
const TABLE: usize = 4_096;

/// What an entry of the table counts beside its text (RFC 7541, 4.1).
const OVERHEAD: usize = 32;

/// Lengths of the names in the static table (RFC 7541, appendix A).
#[rustfmt::skip]
const STATIC: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14, 16, 13,
    12, 6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3, 16,
];

/// The block cannot be decoded, and neither can any behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable;

/// What was found in a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// A pseudo-header field.
    pub pseudo: bool,
    /// A path with a fragment behind it.
    pub fragment: bool,
}

/// The fields of one connection, read along.
#[derive(Debug, Default)]
pub struct Fields {
    /// Newest in front.
    table: VecDeque<Entry>,
    /// Of the whole table.
    size: usize,
    /// That the client says it uses less.
    most: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    name: Name,
    size: usize,
    fragment: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    kind: Kind,
    length: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Path,
    Pseudo,
    Other,
}

impl Fields {
    /// Reads a whole block. Every block of the connection is to be read, in order.
    ///
    /// # Errors
    /// When it cannot be decoded.
    pub fn read(&mut self, block: &[u8]) -> Result<Found, Undecodable> {
        let mut block = Block(block);
        let mut found = Found::default();
        while let Some(&first) = block.0.first() {
            let entry = match first {
                0x80.. => self.entry(block.number(7)?)?,
                0x40.. => {
                    let entry = self.literal(&mut block, 6)?;
                    self.add(entry);
                    entry
                }
                0x20.. => {
                    self.resize(block.number(5)?)?;
                    continue;
                }
                _ => self.literal(&mut block, 4)?,
            };
            found.pseudo |= entry.name.kind != Kind::Other;
            found.fragment |= entry.fragment;
        }
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
            3 | 4 => Kind::Path,
            0..14 => Kind::Pseudo,
            _ => Kind::Other,
        };
        let length = usize::from(*length);
        Ok(Entry {
            name: Name { kind, length },
            size: 0,
            fragment: false,
        })
    }

    fn literal(&self, block: &mut Block<'_>, bits: u32) -> Result<Entry, Undecodable> {
        let name = match block.number(bits)? {
            0 => block.name()?,
            index => self.entry(index)?.name,
        };
        let (length, fragment) = block.value(name.kind == Kind::Path)?;
        Ok(Entry {
            name,
            size: name.length + length + OVERHEAD,
            fragment,
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

/// What is left of a block.
struct Block<'a>(&'a [u8]);

impl<'a> Block<'a> {
    fn byte(&mut self) -> Result<u8, Undecodable> {
        let (&first, rest) = self.0.split_first().ok_or(Undecodable)?;
        self.0 = rest;
        Ok(first)
    }

    /// A number that begins in the last `bits` of the next byte (RFC 7541, 5.1).
    fn number(&mut self, bits: u32) -> Result<usize, Undecodable> {
        let full = (1 << bits) - 1;
        let mut number = usize::from(self.byte()?) & full;
        if number < full {
            return Ok(number);
        }
        // More than four bytes behind it are more than any length or index has.
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            number += usize::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Undecodable)
    }

    /// The bytes of a string, and whether they are coded.
    fn string(&mut self) -> Result<(&'a [u8], bool), Undecodable> {
        let coded = self.0.first().is_some_and(|first| *first >= 0x80);
        let length = self.number(7)?;
        let (string, rest) = self.0.split_at_checked(length).ok_or(Undecodable)?;
        self.0 = rest;
        Ok((string, coded))
    }

    fn name(&mut self) -> Result<Name, Undecodable> {
        const PATH: &[u8] = b":path";
        let (mut start, mut length) = ([0; PATH.len()], 0);
        let (string, coded) = self.string()?;
        let mut give = |byte| {
            if let Some(place) = start.get_mut(length) {
                *place = byte;
            }
            length += 1;
        };
        match coded {
            true => huffman::decode(string, give),
            false => string.iter().for_each(|byte| give(*byte)),
        }
        let kind = match start[0] {
            b':' if length == PATH.len() && start == PATH => Kind::Path,
            b':' => Kind::Pseudo,
            _ => Kind::Other,
        };
        Ok(Name { kind, length })
    }

    /// The length of a value, and whether it holds the sign in front of a fragment, if that is asked.
    fn value(&mut self, asked: bool) -> Result<(usize, bool), Undecodable> {
        let (string, coded) = self.string()?;
        if !coded {
            return Ok((string.len(), asked && string.contains(&b'#')));
        }
        let (mut length, mut fragment) = (0, false);
        huffman::decode(string, |byte| {
            length += 1;
            fragment |= byte == b'#';
        });
        Ok((length, asked && fragment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Found = Found {
        pseudo: false,
        fragment: false,
    };
    const PSEUDO: Found = Found {
        pseudo: true,
        ..NONE
    };
    const FRAGMENT: Found = Found {
        pseudo: true,
        fragment: true,
    };

    fn literal(first: u8, name: &str, value: &str) -> Vec<u8> {
        let mut bytes = vec![first];
        for text in [name, value] {
            assert!(text.len() < 127);
            bytes.push(text.len() as u8);
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    #[test]
    fn the_examples_of_the_rfc_are_read_with_their_tables() {
        // RFC 7541, C.4: requests with codes, of which the later ones point to what the earlier ones added.
        let mut fields = Fields::default();
        let blocks: [(&[u8], usize); 3] = [
            (
                &[
                    0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0,
                    0xab, 0x90, 0xf4, 0xff,
                ],
                57,
            ),
            (
                &[
                    0x82, 0x86, 0x84, 0xbe, 0x58, 0x86, 0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf,
                ],
                110,
            ),
            (
                &[
                    0x82, 0x87, 0x85, 0xbf, 0x40, 0x88, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d,
                    0x7f, 0x89, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf,
                ],
                164,
            ),
        ];
        for (block, size) in blocks {
            assert_eq!(fields.read(block), Ok(PSEUDO));
            assert_eq!(fields.size, size);
        }
    }

    #[test]
    fn a_path_with_a_fragment_is_found_in_any_guise() {
        let coded = [0x04, 0x83, 0x63, 0xfe, 0xbf];
        for (block, expected) in [
            (literal(0, ":path", "/a#b"), FRAGMENT),
            (literal(0x10, ":path", "#"), FRAGMENT),
            (literal(0x40, ":path", "/a#b"), FRAGMENT),
            (coded.to_vec(), FRAGMENT),
            (literal(0, ":path", "/a"), PSEUDO),
            (literal(0, ":paths", "#"), PSEUDO),
            (literal(0, "path", "#"), NONE),
            (literal(0, "", "#"), NONE),
        ] {
            assert_eq!(Fields::default().read(&block), Ok(expected), "{block:x?}");
        }
        let mut fields = Fields::default();
        assert_eq!(fields.read(&literal(0x40, ":path", "/a#b")), Ok(FRAGMENT));
        assert_eq!(fields.read(&literal(0x40, "a", "#")), Ok(NONE));
        assert_eq!(fields.read(&[0xbf]), Ok(FRAGMENT), "what is remembered");
        assert_eq!(fields.read(&[0xbe]), Ok(NONE));
        // Of its name alone, with another value.
        assert_eq!(fields.read(&[0x0f, 0x30, 0x01, b'/']), Ok(PSEUDO));
    }

    #[test]
    fn what_the_table_has_no_room_for_is_forgotten() {
        let mut fields = Fields::default();
        fields.read(&literal(0x40, ":path", "/")).unwrap();
        // 38 bytes each.
        for _ in 0..107 {
            fields.read(&literal(0x40, "a", "12345")).unwrap();
        }
        let oldest = [0xff, 41];
        assert_eq!(fields.read(&oldest), Ok(NONE));
        assert_eq!(fields.table.len(), 107);
        assert_eq!(fields.read(&[0xff, 42]), Err(Undecodable));
        assert_eq!(
            fields.read(&[0x3f, 38 + 38 - 31]),
            Ok(NONE),
            "a smaller one"
        );
        assert_eq!((fields.table.len(), fields.size), (2, 76));
        assert_eq!(fields.read(&[0x20]), Ok(NONE));
        assert_eq!(fields.read(&literal(0x40, "a", "")), Ok(NONE));
        assert_eq!((fields.table.len(), fields.size), (0, 0));
        assert_eq!(
            fields.read(&[0x3f, 0xe2, 0x1f]),
            Err(Undecodable),
            "more than was allowed"
        );
    }

    #[test]
    fn what_is_cut_off_or_out_of_bounds_is_undecodable() {
        for block in [
            &[0x80][..],
            &[0xff],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0x00],
            &[0xbe],
            &[0x40],
            &[0x40, 1],
            &[0x40, 1, b'a'],
            &[0x40, 1, b'a', 2, b'b'],
            &[0x40, 0x7f],
            &[0x7f, 0x20, 1, b'x'],
        ] {
            assert_eq!(
                Fields::default().read(block),
                Err(Undecodable),
                "{block:x?}"
            );
        }
    }
}
