//! Reads along what a client's blocks of fields say (RFC 7541), as far as the h2 crate passes over what it says, or
//! makes more of it than RFC 9113 does.
//!
//! That crate decodes a block and drops pseudo-header fields of trailers and the fragment of a path, both of which make
//! a message malformed (RFC 9113, 8.1 and 8.3.1). And it ends the connection for a name or a value that none may be
//! (8.2.1), which is malformed likewise, and concerns its stream alone: that is told of, and the block is written anew
//! with bytes that are allowed in the place of those that are not. What the table holds stays as large as it was.
//!
//! Here nothing is kept of the fields but what finds these: the sizes in the table of those that were sent before, and
//! what kind they are of.

mod huffman;

use std::collections::VecDeque;

use crate::wire::fields::{is_token_byte, is_value_byte};

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

/// The block cannot be decoded, and neither can any behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable;

/// What was found in a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// A pseudo-header field.
    pub pseudo: bool,
    /// What no message has: a name or a value that no field has, a path with a fragment behind it, a scheme that is
    /// none of HTTP.
    pub malformed: bool,
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
    malformed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    kind: Kind,
    length: usize,
    malformed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Method,
    Scheme,
    Path,
    Status,
    /// Another pseudo-header field.
    Pseudo,
    Other,
}

impl Kind {
    /// What a value of its kind may hold, as far as the connection depends on it.
    fn allows(self, byte: u8) -> bool {
        match self {
            Self::Method => is_token_byte(byte),
            Self::Scheme | Self::Path | Self::Status | Self::Pseudo => byte.is_ascii(),
            Self::Other => is_value_byte(byte),
        }
    }
}

fn is_name_byte(byte: u8) -> bool {
    is_token_byte(byte) && !byte.is_ascii_uppercase()
}

impl Fields {
    /// Reads a whole block. Every block of the connection is to be read, in order. If it holds what would end the
    /// connection, it is appended to `mended` with something else there.
    ///
    /// # Errors
    /// When it cannot be decoded, or what is mended would leave another table behind.
    pub fn read(&mut self, block: &[u8], mended: &mut Vec<u8>) -> Result<Found, Undecodable> {
        let mut block = Block {
            bytes: block,
            at: 0,
            copied: 0,
            mended,
        };
        let mut found = Found::default();
        let mut begun = false;
        while let Some(&first) = block.bytes.get(block.at) {
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
            found.pseudo |= entry.name.kind != Kind::Other;
            found.malformed |= entry.malformed;
        }
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
            0 => Kind::Pseudo,
            _ => Kind::Other,
        };
        let length = usize::from(*length);
        Ok(Entry {
            name: Name {
                kind,
                length,
                malformed: false,
            },
            size: 0,
            malformed: false,
        })
    }

    fn literal(&self, block: &mut Block<'_>, bits: u32) -> Result<Entry, Undecodable> {
        let index = block.number(bits)?;
        let text = block.at;
        let name = match index {
            0 => block.name()?,
            index => self.entry(index)?.name,
        };
        let value = block.value(name.kind)?;
        if index == 0 && name.malformed || value.ends_all {
            let is_as_long = block.mend(text, index == 0, name.kind)?;
            if bits == REMEMBERED && !is_as_long {
                return Err(Undecodable);
            }
        }
        Ok(Entry {
            name,
            size: name.length + value.length + OVERHEAD,
            malformed: name.malformed || value.malformed,
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

/// A block, and how far it was read.
struct Block<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bytes of it that are in `mended`, or something else in their place.
    copied: usize,
    mended: &'a mut Vec<u8>,
}

struct Value {
    length: usize,
    malformed: bool,
    /// So that it would end the connection.
    ends_all: bool,
}

impl Block<'_> {
    fn byte(&mut self) -> Result<u8, Undecodable> {
        let byte = *self.bytes.get(self.at).ok_or(Undecodable)?;
        self.at += 1;
        Ok(byte)
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

    /// Gives each byte of a string.
    fn string(&mut self, mut give: impl FnMut(u8)) -> Result<(), Undecodable> {
        let coded = self.bytes.get(self.at).is_some_and(|first| *first >= 0x80);
        let length = self.number(7)?;
        let string = self.bytes[self.at..].get(..length).ok_or(Undecodable)?;
        self.at += length;
        match coded {
            true => huffman::decode(string, give),
            false => {
                string.iter().for_each(|byte| give(*byte));
                Ok(())
            }
        }
    }

    fn name(&mut self) -> Result<Name, Undecodable> {
        let (mut start, mut length, mut malformed) = ([0; LONGEST_PSEUDO], 0, false);
        self.string(|byte| {
            if let Some(place) = start.get_mut(length) {
                *place = byte;
            }
            length += 1;
            malformed |= !is_name_byte(byte);
        })?;
        let kind = match start.get(..length).unwrap_or_default() {
            b":method" => Kind::Method,
            b":scheme" => Kind::Scheme,
            b":path" => Kind::Path,
            b":status" => Kind::Status,
            b":authority" | b":protocol" => Kind::Pseudo,
            _ => Kind::Other,
        };
        Ok(Name {
            kind,
            length,
            malformed: kind == Kind::Other && (malformed || length == 0),
        })
    }

    fn value(&mut self, of: Kind) -> Result<Value, Undecodable> {
        let start = self.at;
        let (mut length, mut fragment, mut allowed) = (0, false, true);
        self.string(|byte| {
            length += 1;
            fragment |= byte == b'#';
            allowed &= of.allows(byte);
        })?;
        let ends_all = match of {
            Kind::Status => true,
            Kind::Method => !allowed || length == 0,
            _ => !allowed,
        };
        let malformed = match of {
            Kind::Path => fragment,
            Kind::Scheme => !self.is_http(start)?,
            _ => false,
        };
        Ok(Value {
            length,
            malformed: malformed || ends_all,
            ends_all,
        })
    }

    /// Whether the string from `start` to here is a scheme of HTTP.
    fn is_http(&mut self, start: usize) -> Result<bool, Undecodable> {
        self.at = start;
        let mut scheme = Vec::new();
        self.string(|byte| scheme.push(byte.to_ascii_lowercase()))?;
        Ok(matches!(&scheme[..], b"http" | b"https"))
    }

    /// Writes the strings from `start` to here anew: a name, if there is one, and a value of this kind. Whether they
    /// are as long as they were.
    fn mend(&mut self, start: usize, has_name: bool, kind: Kind) -> Result<bool, Undecodable> {
        self.mended
            .extend_from_slice(&self.bytes[self.copied..start]);
        self.at = start;
        let (mut name, mut value) = (Vec::new(), Vec::new());
        if has_name {
            self.string(|byte| name.push(byte))?;
        }
        self.string(|byte| value.push(byte))?;
        self.copied = self.at;
        let length = name.len() + value.len();
        if has_name && kind == Kind::Other {
            replace(&mut name, is_name_byte);
            if name.is_empty() {
                name.push(b'x');
                value.pop();
            }
        }
        match kind {
            Kind::Status => value = b"200".to_vec(),
            Kind::Method if value.is_empty() => value.push(b'x'),
            _ => replace(&mut value, |byte| kind.allows(byte)),
        }
        if has_name {
            write(&name, self.mended);
        }
        write(&value, self.mended);
        Ok(name.len() + value.len() == length)
    }

    /// Copies the rest, if anything was mended.
    fn end(self) {
        if self.copied > 0 {
            self.mended.extend_from_slice(&self.bytes[self.copied..]);
        }
    }
}
/// Of the names that begin with a colon.
const LONGEST_PSEUDO: usize = b":authority".len();

/// Puts a byte that is allowed in the place of others.
fn replace(string: &mut [u8], allowed: impl Fn(u8) -> bool) {
    let wrong = string.iter_mut().filter(|byte| !allowed(**byte));
    wrong.for_each(|byte| *byte = b'x');
}

/// Appends a string without a code (RFC 7541, 5.2).
fn write(string: &[u8], out: &mut Vec<u8>) {
    let length = string.len();
    match length.checked_sub(0x7F) {
        None => out.push(length as u8),
        Some(mut left) => {
            out.push(0x7F);
            while left >= 0x80 {
                out.push(left as u8 | 0x80);
                left >>= 7;
            }
            out.push(left as u8);
        }
    }
    out.extend_from_slice(string);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: Found = Found {
        pseudo: false,
        malformed: false,
    };
    const PSEUDO: Found = Found {
        pseudo: true,
        ..NONE
    };
    const MALFORMED: Found = Found {
        malformed: true,
        ..NONE
    };
    const BOTH: Found = Found {
        malformed: true,
        ..PSEUDO
    };

    fn read(fields: &mut Fields, block: &[u8]) -> Result<Found, Undecodable> {
        fields.read(block, &mut Vec::new())
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
            (literal(0, ":path", "/a#b"), BOTH),
            (literal(0x10, ":path", "#"), BOTH),
            (literal(0x40, ":path", "/a#b"), BOTH),
            (coded.to_vec(), BOTH),
            (literal(0, ":path", "/a"), PSEUDO),
            (literal(0, ":paths", "#"), MALFORMED),
            (literal(0, "path", "#"), NONE),
            (literal(0, "", "#"), MALFORMED),
        ] {
            assert_eq!(
                read(&mut Fields::default(), &block),
                Ok(expected),
                "{block:x?}"
            );
        }
        let mut fields = Fields::default();
        assert_eq!(read(&mut fields, &literal(0x40, ":path", "/a#b")), Ok(BOTH));
        assert_eq!(read(&mut fields, &literal(0x40, "a", "#")), Ok(NONE));
        assert_eq!(read(&mut fields, &[0xbf]), Ok(BOTH), "what is remembered");
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
            // A smaller table behind a field, and a code whose padding is none.
            &[0x82, 0x20],
            &[0, 1, b'a', 0x81, 0],
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
        let coded = |first, text: &[u8]| [&[first, 1, b'a'][..], text].concat();
        let path = |value: &[u8]| [&[0x04, value.len() as u8][..], value].concat();
        for (block, mended) in [
            (literal(0, "Accept", "b"), literal(0, "xccept", "b")),
            (literal(0, "a b:", "c"), literal(0, "axbx", "c")),
            (literal(0, ":test", "c"), literal(0, "xtest", "c")),
            (literal(0, "a", "\0b\r\n\u{7f}"), literal(0, "a", "xbxxx")),
            (literal(0x40, "a", "\0"), literal(0x40, "a", "x")),
            (literal(0x40, "", "bc"), literal(0x40, "x", "b")),
            (literal(0, "", ""), literal(0, "x", "")),
            (
                vec![0x02, 3, b'G', b' ', b'T'],
                vec![0x02, 3, b'G', b'x', b'T'],
            ),
            (vec![0x42, 1, 0xFF], vec![0x42, 1, b'x']),
            (vec![0x02, 0], vec![0x02, 1, b'x']),
            (literal(0, ":method", "G T"), literal(0, ":method", "GxT")),
            (
                literal(0x40, ":status", "abc"),
                literal(0x40, ":status", "200"),
            ),
            (literal(0, ":status", "2"), literal(0, ":status", "200")),
            (path(b"/\xFF"), path(b"/x")),
            // CR, and NUL, and B in a name.
            (
                coded(0, &[0x84, 0xff, 0xff, 0xff, 0xf7]),
                literal(0, "a", "x"),
            ),
            (coded(0x40, &[0x82, 0xff, 0xc7]), literal(0x40, "a", "x")),
            (vec![0x00, 0x81, 0xbb, 0x01, b'b'], literal(0, "x", "b")),
        ] {
            let around = literal(0x40, "before", "\u{e4} \t");
            let all = [&around[..], &block, &[0x82, 0xbe]].concat();
            let mut written = vec![0x3f];
            let found = Fields::default().read(&all, &mut written).unwrap();
            assert!(found.malformed, "{block:x?}");
            let expected = [&[0x3f], &around[..], &mended, &[0x82, 0xbe]].concat();
            assert_eq!(written, expected, "{block:x?}");
        }
        let long = "\0".repeat(300);
        let block = [&[0, 1, b'a', 0x7f, 0xad, 0x01], long.as_bytes()].concat();
        let mut written = Vec::new();
        assert_eq!(Fields::default().read(&block, &mut written), Ok(MALFORMED));
        assert_eq!(written[..6], block[..6]);
        assert_eq!(read(&mut Fields::default(), &written), Ok(NONE));
    }

    #[test]
    fn what_is_mended_leaves_the_same_table() {
        let mut fields = Fields::default();
        assert_eq!(read(&mut fields, &literal(0x40, "A", "b")), Ok(MALFORMED));
        assert_eq!(
            read(&mut fields, &[0xbe]),
            Ok(MALFORMED),
            "what is remembered"
        );
        let by_name = [0x0f, 0x2f, 0x01, b'c'];
        assert_eq!(read(&mut fields, &by_name), Ok(MALFORMED), "its name alone");
        for block in [
            literal(0x40, "", ""),
            literal(0x40, ":status", "2"),
            literal(0x40, ":method", ""),
        ] {
            assert_eq!(read(&mut fields, &block), Err(Undecodable), "{block:x?}");
        }
    }

    #[test]
    fn a_scheme_is_one_of_http() {
        for (value, expected) in [
            ("http", PSEUDO),
            ("https", PSEUDO),
            ("HTTP", PSEUDO),
            ("", BOTH),
            ("ftp", BOTH),
            ("httpx", BOTH),
        ] {
            let by_name = [&[0x06, value.len() as u8][..], value.as_bytes()].concat();
            for block in [literal(0, ":scheme", value), by_name] {
                let mut mended = Vec::new();
                let found = Fields::default().read(&block, &mut mended);
                assert_eq!((found, mended), (Ok(expected), vec![]), "{value}");
            }
        }
    }

    /// Blocks of pieces that may follow each other, most of them well-formed.
    fn blocks() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let text = prop_oneof![
            3 => "[a-z]{0,6}",
            1 => prop::sample::select(vec!["A", "a b", "\r", "x\0", "\u{e4}", ""]).prop_map(String::from),
            1 => prop::sample::select(vec![":method", ":path", ":status", ":scheme", ":a"]).prop_map(String::from),
        ];
        let first = prop::sample::select(vec![0x40, 0x40, 0, 0x10]);
        let piece = prop_oneof![
            4 => (first, text.clone(), text.clone()).prop_map(|(first, name, value)| literal(first, &name, &value)),
            2 => (0x41..0x7F_u8, text).prop_map(|(first, value)| {
                [&[first, value.len() as u8], value.as_bytes()].concat()
            }),
            // In a code: CR, NUL and A.
            1 => prop::sample::select(vec![&[0xFF, 0xFF, 0xFF, 0xF7][..], &[0xFF, 0xC7], &[0x87]])
                .prop_map(|code| [&[0x40, 1, b'a', 0x80 | code.len() as u8], code].concat()),
            2 => (0x81..0xFF_u8).prop_map(|index| vec![index]),
        ];
        prop::collection::vec(
            prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat()),
            1..8,
        )
    }

    proptest! {
        #[test]
        fn who_reads_what_was_mended_has_the_same_table(blocks in blocks()) {
            let (mut first, mut second) = (Fields::default(), Fields::default());
            for block in blocks {
                let mut mended = Vec::new();
                let Ok(found) = first.read(&block, &mut mended) else {
                    return Ok(());
                };
                prop_assert!(mended.is_empty() || found.malformed);
                if mended.is_empty() {
                    mended = block;
                }
                let mut again = Vec::new();
                let read = second.read(&mended, &mut again);
                prop_assert_eq!(read.map(|found| found.pseudo), Ok(found.pseudo));
                prop_assert!(again.is_empty() || again == mended, "{:x?}", mended);
                let sizes = |fields: &Fields| fields.table.iter().map(|entry| entry.size).collect::<Vec<_>>();
                prop_assert_eq!(sizes(&first), sizes(&second));
            }
        }
    }
}
