//! One block of fields, read string by string, and written anew where it must be.

use super::{NOT_REMEMBERED, REMEMBERED, Side, TABLE, Undecodable, huffman};
use crate::wire::fields::{is_token_byte, is_value_byte};

/// Of the names that are known.
const LONGEST_KNOWN: usize = b"transfer-encoding".len();

/// Bytes of a name that the h2 crate takes for one.
const LONGEST: usize = (1 << 16) - 1;

/// Digits of a status.
const STATUS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) kind: Kind,
    pub(super) length: usize,
    pub(super) malformed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Method,
    Scheme,
    Path,
    Status,
    Authority,
    Protocol,
    /// Of a connection, which no message has (RFC 9113, 8.2.2).
    Connection,
    /// The one of them that a message may have, with this value alone.
    Te,
    Other,
}

impl Kind {
    /// A bit for each pseudo-header field; none for other fields.
    pub(super) fn pseudo(self) -> u8 {
        match self {
            Self::Connection | Self::Te | Self::Other => 0,
            kind => 1 << kind as u8,
        }
    }

    /// Whether messages of this side may have one.
    pub(super) fn is_of(self, side: Side) -> bool {
        match self {
            Self::Status => side == Side::Response,
            Self::Connection => false,
            Self::Te | Self::Other => true,
            _ => side == Side::Request,
        }
    }

    /// What a value of its kind may hold, as far as the connection depends on it.
    fn allows(self, byte: u8) -> bool {
        match self {
            Self::Method => is_token_byte(byte),
            Self::Status => byte.is_ascii_digit(),
            Self::Connection | Self::Te | Self::Other => is_value_byte(byte),
            _ => byte.is_ascii(),
        }
    }
}

fn is_name_byte(byte: u8) -> bool {
    is_token_byte(byte) && !byte.is_ascii_uppercase()
}

/// A block, and how far it was read.
pub(super) struct Block<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bytes of it that are in `mended`, or something else in their place.
    copied: usize,
    mended: &'a mut Vec<u8>,
}

#[derive(Clone, Copy)]
pub(super) struct Value {
    pub(super) length: usize,
    pub(super) malformed: bool,
    /// So that it would end the connection.
    pub(super) ends_all: bool,
    /// Because no value of its length has its name: it gets another.
    pub(super) renames: bool,
    /// A status that another one is to follow.
    pub(super) interim: bool,
}

impl<'a> Block<'a> {
    /// At its start; what is mended of it goes to `mended`.
    pub(super) fn new(bytes: &'a [u8], mended: &'a mut Vec<u8>) -> Self {
        Self {
            bytes,
            at: 0,
            copied: 0,
            mended,
        }
    }

    /// The next byte, which is not taken yet; none at the end.
    pub(super) fn first(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Where it is read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Result<u8, Undecodable> {
        let byte = *self.bytes.get(self.at).ok_or(Undecodable)?;
        self.at += 1;
        Ok(byte)
    }

    /// A number that begins in the last `bits` of the next byte (RFC 7541, 5.1).
    pub(super) fn number(&mut self, bits: u32) -> Result<usize, Undecodable> {
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
        let (coded, string) = self.written()?;
        match coded {
            true => huffman::decode(string, give),
            false => {
                string.iter().for_each(|byte| give(*byte));
                Ok(())
            }
        }
    }

    /// The next string as it is written, and whether that is in Huffman's code (RFC 7541, 5.2).
    fn written(&mut self) -> Result<(bool, &'a [u8]), Undecodable> {
        let coded = self.bytes.get(self.at).is_some_and(|first| *first >= 0x80);
        let length = self.number(7)?;
        let string = self.bytes[self.at..].get(..length).ok_or(Undecodable)?;
        self.at += length;
        Ok((coded, string))
    }

    pub(super) fn name(&mut self) -> Result<Name, Undecodable> {
        let (mut start, mut length, mut malformed) = ([0; LONGEST_KNOWN], 0, false);
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
            b":authority" => Kind::Authority,
            b":protocol" => Kind::Protocol,
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding"
            | b"upgrade" => Kind::Connection,
            b"te" => Kind::Te,
            _ => Kind::Other,
        };
        malformed |= !(1..=LONGEST).contains(&length);
        Ok(Name {
            kind,
            length,
            malformed: kind == Kind::Other && malformed,
        })
    }

    pub(super) fn value(&mut self, of: Kind) -> Result<Value, Undecodable> {
        let start = self.at;
        let (mut first, mut last, mut length) = ([0; STATUS], 0, 0);
        let (mut fragment, mut allowed) = (false, true);
        self.string(|byte| {
            if let Some(place) = first.get_mut(length) {
                *place = byte;
            }
            last = byte;
            length += 1;
            fragment |= byte == b'#';
            allowed &= of.allows(byte);
        })?;
        let renames = match of {
            Kind::Status => length != STATUS,
            Kind::Method => length == 0,
            _ => false,
        };
        let ends_all = !allowed || renames || of == Kind::Status && first[0] == b'0';
        let padded = [first[0], last]
            .iter()
            .any(|end| matches!(end, b' ' | b'\t'));
        let malformed = match of {
            Kind::Path => fragment,
            Kind::Scheme => {
                let scheme = self.again(start)?.to_ascii_lowercase();
                !matches!(&scheme[..], b"http" | b"https")
            }
            Kind::Te => self.again(start)? != b"trailers",
            _ => false,
        };
        Ok(Value {
            length,
            malformed: malformed || padded || ends_all,
            ends_all,
            renames,
            interim: of == Kind::Status && !ends_all && first[0] == b'1',
        })
    }

    /// The string from `start` to here.
    fn again(&mut self, start: usize) -> Result<Vec<u8>, Undecodable> {
        self.at = start;
        let mut text = Vec::new();
        self.string(|byte| text.push(byte))?;
        Ok(text)
    }

    /// Writes the literal from `start` to here anew, whose index has so many bits. Whether its texts are as long as
    /// they were.
    pub(super) fn mend(
        &mut self,
        start: usize,
        bits: u32,
        of: Name,
        was: Value,
    ) -> Result<bool, Undecodable> {
        self.mended
            .extend_from_slice(&self.bytes[self.copied..start]);
        self.at = start;
        let has_name = self.number(bits)? == 0;
        let text = self.at;
        let (mut name, mut value) = (Vec::new(), Vec::new());
        if has_name {
            self.string(|byte| name.push(byte))?;
        }
        self.string(|byte| value.push(byte))?;
        self.copied = self.at;
        if was.renames {
            name = vec![b'x'; of.length];
        }
        let mut length = name.len() + value.len();
        if length > TABLE {
            // What is larger than the table leaves it empty, as does whatever else is.
            length = TABLE;
            name.truncate(1);
            value.resize(TABLE - name.len(), b'x');
        }
        if has_name && of.kind == Kind::Other {
            replace(&mut name, is_name_byte);
            if name.is_empty() {
                name.push(b'x');
                value.pop();
            }
        }
        match of.kind {
            _ if was.renames => replace(&mut value, is_value_byte),
            Kind::Status => value = b"200".to_vec(),
            kind => replace(&mut value, |byte| kind.allows(byte)),
        }
        match was.renames {
            true => self.mended.push(self.bytes[start] & (0xFF << bits)),
            false => self.mended.extend_from_slice(&self.bytes[start..text]),
        }
        if has_name || was.renames {
            write(&name, self.mended);
        }
        write(&value, self.mended);
        Ok(name.len() + value.len() == length)
    }

    /// Passes over the next field, whatever it says.
    pub(super) fn pass_field(&mut self) -> Result<(), Undecodable> {
        let (bits, has_value) = match self.first() {
            Some(0x80..) => (7, false),
            Some(0x40..) => (REMEMBERED, true),
            Some(0x20..) => (5, false),
            _ => (NOT_REMEMBERED, true),
        };
        if self.number(bits)? == 0 && has_value {
            self.written()?;
        }
        if has_value {
            self.written()?;
        }
        Ok(())
    }

    /// Copies the rest, if anything was mended.
    pub(super) fn end(self) {
        if self.copied > 0 {
            self.mended.extend_from_slice(&self.bytes[self.copied..]);
        }
    }
}

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
