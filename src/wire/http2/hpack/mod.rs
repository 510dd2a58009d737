//! Reads along what a client's blocks of fields say (RFC 7541), as far as the h2 crate passes over what it says, or
//! makes more of it than RFC 9113 does.
//!
//! That crate decodes a block and drops pseudo-header fields of trailers and the fragment of a path, both of which make
//! a message malformed (RFC 9113, 8.1 and 8.3.1). And it ends the connection for a name or a value that none may be
//! (8.2.1), which is malformed likewise, and concerns its stream alone: that is told of, and bytes that are allowed take
//! the place of those that are not, so that it goes on. Their length stays, and so does what the table holds.
//!
//! Here nothing is kept of the fields but what finds these: the sizes in the table of those that were sent before, and
//! what kind they are of. A block that cannot be decoded is for the crate to refuse.

mod huffman;

use std::collections::VecDeque;

use crate::wire::fields::{is_token_byte, is_value_byte};

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
    /// A name or a value that no field has.
    pub invalid: bool,
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
    invalid: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    kind: Kind,
    length: usize,
    invalid: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Path,
    Method,
    Pseudo,
    Other,
}

impl Kind {
    /// What a value of its kind may hold, as far as the connection depends on it.
    fn allows(self, byte: u8) -> bool {
        match self {
            Self::Path | Self::Pseudo => true,
            Self::Method => is_token_byte(byte),
            Self::Other => is_value_byte(byte),
        }
    }
}

fn is_name_byte(byte: u8) -> bool {
    is_token_byte(byte) && !byte.is_ascii_uppercase()
}

impl Fields {
    /// Reads a whole block, and mends in it what is invalid. Every block of the connection is to be read, in order.
    ///
    /// # Errors
    /// When it cannot be decoded.
    pub fn read(&mut self, block: &mut [u8]) -> Result<Found, Undecodable> {
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
            found.invalid |= entry.invalid;
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
            1 | 2 => Kind::Method,
            3 | 4 => Kind::Path,
            0..14 => Kind::Pseudo,
            _ => Kind::Other,
        };
        let length = usize::from(*length);
        Ok(Entry {
            name: Name {
                kind,
                length,
                invalid: false,
            },
            size: 0,
            fragment: false,
            invalid: false,
        })
    }

    fn literal(&self, block: &mut Block<'_>, bits: u32) -> Result<Entry, Undecodable> {
        let name = match block.number(bits)? {
            0 => block.name()?,
            index => self.entry(index)?.name,
        };
        let value = block.value(name.kind)?;
        Ok(Entry {
            name,
            size: name.length + value.length + OVERHEAD,
            fragment: value.fragment && name.kind == Kind::Path,
            invalid: name.invalid || value.invalid,
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
struct Block<'a>(&'a mut [u8]);

struct Value {
    length: usize,
    /// Whether it holds the sign in front of one.
    fragment: bool,
    invalid: bool,
}

impl<'a> Block<'a> {
    fn byte(&mut self) -> Result<u8, Undecodable> {
        let left = std::mem::take(&mut self.0);
        let (first, rest) = left.split_first_mut().ok_or(Undecodable)?;
        self.0 = rest;
        Ok(*first)
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
    fn string(&mut self) -> Result<(&'a mut [u8], bool), Undecodable> {
        let coded = self.0.first().is_some_and(|first| *first >= 0x80);
        let length = self.number(7)?;
        let left = std::mem::take(&mut self.0);
        let (string, rest) = left.split_at_mut_checked(length).ok_or(Undecodable)?;
        self.0 = rest;
        Ok((string, coded))
    }

    fn name(&mut self) -> Result<Name, Undecodable> {
        let (mut start, mut length, mut invalid) = ([0; LONGEST_PSEUDO], 0, false);
        let (string, coded) = self.string()?;
        each(string, coded, |byte| {
            if let Some(place) = start.get_mut(length) {
                *place = byte;
            }
            length += 1;
            invalid |= !is_name_byte(byte);
        });
        let kind = match start.get(..length).unwrap_or_default() {
            b":path" => Kind::Path,
            b":method" => Kind::Method,
            b":authority" | b":protocol" | b":scheme" | b":status" => Kind::Pseudo,
            _ => Kind::Other,
        };
        let invalid = invalid && kind == Kind::Other;
        if invalid {
            mend(string, coded, is_name_byte);
        }
        Ok(Name {
            kind,
            length,
            invalid,
        })
    }

    fn value(&mut self, of: Kind) -> Result<Value, Undecodable> {
        let (string, coded) = self.string()?;
        let mut value = Value {
            length: 0,
            fragment: false,
            invalid: false,
        };
        each(string, coded, |byte| {
            value.length += 1;
            value.fragment |= byte == b'#';
            value.invalid |= !of.allows(byte);
        });
        if value.invalid {
            mend(string, coded, |byte| of.allows(byte));
        }
        Ok(value)
    }
}

/// Of the names that begin with a colon.
const LONGEST_PSEUDO: usize = b":authority".len();

fn each(string: &[u8], coded: bool, mut give: impl FnMut(u8)) {
    match coded {
        true => huffman::decode(string, give),
        false => string.iter().for_each(|byte| give(*byte)),
    }
}

/// Puts allowed bytes in the place of others.
fn mend(string: &mut [u8], coded: bool, allowed: impl Fn(u8) -> bool) {
    match coded {
        true => huffman::mend(string, allowed),
        false => {
            let wrong = string.iter_mut().filter(|byte| !allowed(**byte));
            wrong.for_each(|byte| *byte = b'x');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Found = Found {
        pseudo: false,
        fragment: false,
        invalid: false,
    };
    const PSEUDO: Found = Found {
        pseudo: true,
        ..NONE
    };
    const FRAGMENT: Found = Found {
        fragment: true,
        ..PSEUDO
    };
    const INVALID: Found = Found {
        invalid: true,
        ..NONE
    };

    fn read(fields: &mut Fields, block: &[u8]) -> Result<Found, Undecodable> {
        fields.read(&mut block.to_vec())
    }

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
            assert_eq!(read(&mut fields, block), Ok(PSEUDO));
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
            (literal(0, ":paths", "#"), INVALID),
            (literal(0, "path", "#"), NONE),
            (literal(0, "", "#"), NONE),
        ] {
            assert_eq!(
                read(&mut Fields::default(), &block),
                Ok(expected),
                "{block:x?}"
            );
        }
        let mut fields = Fields::default();
        assert_eq!(
            read(&mut fields, &literal(0x40, ":path", "/a#b")),
            Ok(FRAGMENT)
        );
        assert_eq!(read(&mut fields, &literal(0x40, "a", "#")), Ok(NONE));
        assert_eq!(
            read(&mut fields, &[0xbf]),
            Ok(FRAGMENT),
            "what is remembered"
        );
        assert_eq!(read(&mut fields, &[0xbe]), Ok(NONE));
        // Of its name alone, with another value.
        assert_eq!(read(&mut fields, &[0x0f, 0x30, 0x01, b'/']), Ok(PSEUDO));
    }

    #[test]
    fn what_the_table_has_no_room_for_is_forgotten() {
        let mut fields = Fields::default();
        read(&mut fields, &literal(0x40, ":path", "/")).unwrap();
        // 38 bytes each.
        for _ in 0..107 {
            read(&mut fields, &literal(0x40, "a", "12345")).unwrap();
        }
        let oldest = [0xff, 41];
        assert_eq!(read(&mut fields, &oldest), Ok(NONE));
        assert_eq!(fields.table.len(), 107);
        assert_eq!(read(&mut fields, &[0xff, 42]), Err(Undecodable));
        assert_eq!(
            read(&mut fields, &[0x3f, 38 + 38 - 31]),
            Ok(NONE),
            "a smaller one"
        );
        assert_eq!((fields.table.len(), fields.size), (2, 76));
        assert_eq!(read(&mut fields, &[0x20]), Ok(NONE));
        assert_eq!(read(&mut fields, &literal(0x40, "a", "")), Ok(NONE));
        assert_eq!((fields.table.len(), fields.size), (0, 0));
        assert_eq!(
            read(&mut fields, &[0x3f, 0xe2, 0x1f]),
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
                read(&mut Fields::default(), block),
                Err(Undecodable),
                "{block:x?}"
            );
        }
    }

    #[test]
    fn what_no_field_has_is_told_of_and_mended_as_long_as_it_was() {
        // NUL, of 13 bits as $ is, and B, of seven as j is.
        let coded_value = [0x00, 0x01, b'a', 0x82, 0xff, 0xc7];
        let coded_name = [0x00, 0x81, 0xbb, 0x01, b'b'];
        for (block, expected) in [
            (literal(0, "Accept", "b"), literal(0, "xccept", "b")),
            (literal(0, "a b:", "c"), literal(0, "axbx", "c")),
            (literal(0, ":test", "c"), literal(0, "xtest", "c")),
            (literal(0, "a", "\0b\r\n\u{7f}"), literal(0, "a", "xbxxx")),
            (literal(0x40, "a", "\0"), literal(0x40, "a", "x")),
            (
                vec![0x02, 3, b'G', b' ', b'T'],
                vec![0x02, 3, b'G', b'x', b'T'],
            ),
            (literal(0, ":method", "G T"), literal(0, ":method", "GxT")),
        ] {
            let mut mended = block.clone();
            let found = Fields::default().read(&mut mended).unwrap();
            assert!(found.invalid, "{block:x?}");
            assert_eq!(mended, expected);
        }
        for block in [&coded_value[..], &coded_name[..]] {
            let mut mended = block.to_vec();
            assert_eq!(
                Fields::default().read(&mut mended),
                Ok(INVALID),
                "{block:x?}"
            );
            assert_ne!(mended, block);
            assert_eq!(Fields::default().read(&mut mended), Ok(NONE), "{mended:x?}");
        }
        let mut fields = Fields::default();
        assert_eq!(read(&mut fields, &literal(0x40, "A", "b")), Ok(INVALID));
        assert_eq!(
            read(&mut fields, &[0xbe]),
            Ok(INVALID),
            "what is remembered"
        );
        assert_eq!(
            read(&mut fields, &[0x0f, 0x2f, 0x01, b'c']),
            Ok(INVALID),
            "its name alone"
        );
        assert_eq!(read(&mut fields, &literal(0, "a", "\u{e4} \t")), Ok(NONE));
    }
}
