//! The fields of a head: the bytes they came in, and spans over them.
//!
//! Fields are edited by span: one is skipped, or a line is appended; nothing is moved or formatted anew. Copying out
//! takes whole runs of kept lines, so names keep their case and fields their order. The buffers survive
//! [`Fields::clear`]: a reused value allocates nothing.

use bytes::Bytes;

use super::field::{Known, KnownSet, is_alike};

/// Bytes that a cleared value holds at most.
const KEPT: usize = 8 * 1024;

/// Bytes of a head whose values may share one copy of it.
const SHARED: usize = 2 * 1024;

/// The header fields of one message.
#[derive(Debug, Default)]
pub struct Fields {
    /// The lines as received, each with its CRLF.
    bytes: Vec<u8>,
    lines: Vec<Line>,
    present: KnownSet,
    /// Whether any line was skipped or removed.
    marked: bool,
    /// Lines added here, each with its CRLF.
    appended: Vec<u8>,
    /// How much of `appended` was there before the edits.
    unedited: usize,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    start: u32,
    /// Behind the CRLF: where the next line starts.
    end: u32,
    value_start: u32,
    value_end: u32,
    name_len: u16,
    known: Known,
    /// Dropped by a rule, or meant for the next hop only.
    skipped: bool,
    /// Dropped by an edit.
    removed: bool,
}

impl Line {
    /// What stands at `start` in its block, without its CRLF. `None` if no name and colon begin it: so a folded line
    /// has none, and a name with white space behind it neither (RFC 9112, 5.1 and 5.2).
    fn read(line: &[u8], start: usize) -> Option<Self> {
        let name_len = token_len(line);
        let (name, value) = line.split_at(name_len);
        let value = value.strip_prefix(b":").filter(|_| name_len > 0)?;
        let value = value.trim_ascii_start();
        let end = start + line.len();
        let value_start = end - value.len();
        Some(Self {
            start: start as u32,
            end: (end + CRLF.len()) as u32,
            value_start: value_start as u32,
            value_end: (value_start + value.trim_ascii_end().len()) as u32,
            name_len: u16::try_from(name_len).ok()?,
            known: Known::of(name),
            skipped: false,
            removed: false,
        })
    }
}

/// One field as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as it was written; a token, so ASCII.
    pub name: &'a [u8],
    /// The value without the white space around it; may hold bytes above 0x7F.
    pub value: &'a [u8],
    /// Which field it is.
    pub known: Known,
    /// Whether it is kept from the next hop.
    pub skipped: bool,
}

/// A name that is no token, or a value with control characters: adding it would forge a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid header field")]
pub struct InvalidField;

impl Fields {
    /// Forgets all fields and keeps the buffers, but no more of them than ordinary heads need.
    pub fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > KEPT {
            self.bytes.shrink_to(KEPT);
        }
        self.lines.clear();
        self.appended.clear();
        self.unedited = 0;
        self.present = KnownSet::EMPTY;
        self.marked = false;
    }

    /// All fields as received, in order, skipped ones too; not the appended ones.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.lines.iter().map(|line| self.field(line))
    }

    /// As [`iter`](Self::iter), each with its value once more as a piece of a copy that all of them share.
    ///
    /// What keeps one value keeps all: of heads that are not small each has a copy of its own.
    pub fn iter_shared(&self) -> impl Iterator<Item = (Field<'_>, Bytes)> {
        let shared = self.bytes.len() <= SHARED;
        let all = match shared {
            true => Bytes::copy_from_slice(&self.bytes),
            false => Bytes::new(),
        };
        self.lines.iter().map(move |line| {
            let field = self.field(line);
            let value = match shared {
                true => all.slice(line.value_start as usize..line.value_end as usize),
                false => Bytes::copy_from_slice(field.value),
            };
            (field, value)
        })
    }

    /// Whether such a field was received.
    pub fn has(&self, known: Known) -> bool {
        self.present.contains(known)
    }

    /// Whether any field of the set was received.
    pub fn has_any(&self, set: KnownSet) -> bool {
        self.present.intersects(set)
    }

    /// The value of the first such field received.
    pub fn value(&self, known: Known) -> Option<&[u8]> {
        self.values(known).next()
    }

    /// The values of all such fields received, in order.
    pub fn values(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        let lines = if self.has(known) {
            &self.lines[..]
        } else {
            &[]
        };
        lines
            .iter()
            .filter(move |line| line.known == known)
            .map(|line| self.field(line).value)
    }

    /// The value of the first field received with this name, in any case.
    pub fn named(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|field| field.value)
    }

    /// The values of all fields with this name, in any case, that go to the next hop: of those received that are
    /// neither skipped nor removed, then of those added.
    pub fn sent<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let kept = self.lines.iter();
        let kept = kept.filter(|line| !line.skipped && !line.removed);
        let kept = kept.map(|line| self.field(line));
        kept.map(|field| (field.name, field.value))
            .chain(added(&self.appended))
            .filter(|(given, _)| given.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// How many fields were received.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether no field was received.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Keeps every such field from the next hop.
    pub fn skip(&mut self, known: Known) {
        if self.has(known) {
            self.skip_where(|field| field.known == known);
        }
    }

    /// Keeps every field with this name, in any case, from the next hop.
    pub fn skip_named(&mut self, name: &str) {
        self.skip_where(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
    }

    /// Begins edits, which [`undo_edits`](Self::undo_edits) takes back.
    pub fn begin_edits(&mut self) {
        self.unedited = self.appended.len();
    }

    /// Removes every field with this name, in any case, that was received or that an edit added.
    pub fn remove(&mut self, name: &str) {
        self.remove_where(|given| given.eq_ignore_ascii_case(name.as_bytes()));
    }

    /// As [`remove`](Self::remove), with every name that one would be to a backend that takes `_` for `-`, as those
    /// like CGI do.
    pub fn remove_alike(&mut self, name: &str) {
        self.remove_where(|given| given.len() == name.len() && is_alike(given, name.as_bytes()));
    }

    fn remove_where(&mut self, is: impl Fn(&[u8]) -> bool) {
        for at in 0..self.lines.len() {
            if is(self.field(&self.lines[at]).name) {
                self.lines[at].removed = true;
                self.marked = true;
            }
        }
        if added(&self.appended[self.unedited..]).any(|(name, _)| is(name)) {
            let edits = self.appended.split_off(self.unedited);
            for (name, value) in added(&edits).filter(|(name, _)| !is(name)) {
                write_field(&mut self.appended, name, value);
            }
        }
    }

    /// Takes back what was removed and appended since the edits began.
    pub fn undo_edits(&mut self) {
        self.appended.truncate(self.unedited);
        self.lines.iter_mut().for_each(|line| line.removed = false);
    }

    pub(super) fn skip_where(&mut self, drop: impl Fn(Field<'_>) -> bool) {
        for at in 0..self.lines.len() {
            if drop(self.field(&self.lines[at])) {
                self.lines[at].skipped = true;
                self.marked = true;
            }
        }
    }

    /// Adds a field behind those received.
    pub fn append(&mut self, name: &str, value: &[u8]) -> Result<(), InvalidField> {
        // Without a way out of the loop it is done for many bytes at a time.
        let valid = value
            .iter()
            .fold(true, |valid, &byte| valid & is_value_byte(byte));
        let token = !name.is_empty() && name.bytes().all(is_token_byte);
        if !token || !valid {
            return Err(InvalidField);
        }
        write_field(&mut self.appended, name.as_bytes(), value);
        Ok(())
    }

    /// Writes the lines that are neither skipped nor in `drop`, then the appended ones.
    pub(super) fn copy_kept(&self, drop: KnownSet, out: &mut Vec<u8>) {
        let mut run = 0;
        // Mostly all of them go on.
        let lines = match self.marked || self.present.intersects(drop) {
            true => &self.lines[..],
            false => &[],
        };
        for line in lines {
            if line.skipped || line.removed || drop.contains(line.known) {
                out.extend_from_slice(&self.bytes[run..line.start as usize]);
                run = line.end as usize;
            }
        }
        out.extend_from_slice(&self.bytes[run..]);
        out.extend_from_slice(&self.appended);
    }

    /// Reads the lines at the start of `block`, at most so many, and keeps a copy of them. Tells where the blank line
    /// behind them ends; `None` if it is not there, or a line breaks a rule.
    pub(super) fn read(&mut self, block: &[u8], most: usize) -> Option<usize> {
        self.clear();
        let mut start = 0;
        loop {
            let len = line_len(&block[start..])?;
            let end = start + len + CRLF.len();
            if len == 0 {
                break;
            }
            if self.lines.len() == most {
                return None;
            }
            let line = Line::read(&block[start..start + len], start)?;
            self.present.insert(line.known);
            self.lines.push(line);
            start = end;
        }
        self.bytes.extend_from_slice(&block[..start]);
        Some(start + CRLF.len())
    }

    fn field(&self, line: &Line) -> Field<'_> {
        let start = line.start as usize;
        Field {
            name: &self.bytes[start..start + line.name_len as usize],
            value: &self.bytes[line.value_start as usize..line.value_end as usize],
            known: line.known,
            skipped: line.skipped,
        }
    }
}

/// The members of a comma-separated list, without the white space around them; empty ones are left out.
pub fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(trimmed)
        .filter(|member| !member.is_empty())
}

/// Names and values of lines that [`write_field`] wrote.
fn added(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = lines.split(|&byte| byte == b'\n');
    lines.filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let value = &line[colon + b": ".len()..];
        Some((&line[..colon], value.strip_suffix(b"\r").unwrap_or(value)))
    })
}

/// Writes one line.
pub(super) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// What every line ends in, and nothing else.
pub(super) const CRLF: &[u8] = b"\r\n";

/// In each of eight bytes a one.
const ONES: u64 = u64::MAX / 0xFF;
const TOP_BITS: u64 = ONES << 7;

/// The length of the first line without its CRLF; `None` if it has none, or another control byte than a tab comes
/// first.
///
/// Eight bytes are looked at together. The subtractions tell of the lowest byte that is what is looked for; what they
/// tell of those above it may be wrong.
pub(super) fn line_len(bytes: &[u8]) -> Option<usize> {
    let mut len = 0;
    while let Some(piece) = bytes[len..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*piece);
        let below_space = word.wrapping_sub(ONES * u64::from(b' ')) & !word;
        let not_delete = word ^ (ONES * u64::from(DELETE));
        let delete = not_delete.wrapping_sub(ONES) & !not_delete;
        match (below_space | delete) & TOP_BITS {
            0 => len += piece.len(),
            found => {
                len += found.trailing_zeros() as usize / 8;
                if bytes[len] != b'\t' {
                    break;
                }
                len += 1;
            }
        }
    }
    while is_value_byte(*bytes.get(len)?) {
        len += 1;
    }
    bytes[len..].starts_with(CRLF).then_some(len)
}

/// How many bytes at the start may stand in a name.
pub(super) fn token_len(bytes: &[u8]) -> usize {
    let mut len = 0;
    while len < bytes.len() && TOKEN[bytes[len] as usize] {
        len += 1;
    }
    len
}

const DELETE: u8 = 0x7F;

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = is_token_byte(byte as u8);
        byte += 1;
    }
    table
};

/// RFC 9110, 5.6.2: what names and methods are made of.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z'
        | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// RFC 9110, 5.5: visible characters, blanks, and the bytes above ASCII that old senders use.
pub(super) const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..=0xFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_its_crlf_and_holds_no_control_byte_but_tabs() {
        for len in 0..20 {
            let mut whole = vec![0xFF; len];
            whole.extend_from_slice(b"\r\nnext");
            assert_eq!(line_len(&whole), Some(len));
            assert_eq!(line_len(&whole[..len + 1]), None, "its end is not there");
            for at in 0..len {
                for byte in 0..=u8::MAX {
                    let mut line = whole.clone();
                    line[at] = byte;
                    let expected = is_value_byte(byte).then_some(len);
                    assert_eq!(line_len(&line), expected, "{byte:#04x} at {at} of {len}");
                }
            }
        }
    }
}
