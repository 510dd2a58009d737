//! Blocks of fields: the frames that carry one (RFC 9113, 4.3), on their way in and to the h2 crate.

use super::frame::*;
use crate::wire::http2::hpack;

/// CONTINUATION frames of one block beyond which it has no end: there are those who send small ones.
pub(super) const CONTINUATIONS: usize = 64;

/// A field that no message has, as a literal that no table remembers (RFC 7541, 6.2.2).
pub(super) const MALFORMED: &[u8] = b"\0\x0aconnection\0";

/// How a block is not put together as one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A frame of it is longer than one may be.
    FrameSize,
    /// Something else came between its frames.
    Parted,
    /// It goes on for longer than there is patience for.
    Endless,
}

/// The length of the frames of the block that begins here, which has `most` bytes at most; none if they have not all
/// come.
pub(super) fn length(bytes: &[u8], most: usize) -> Result<Option<usize>, Fault> {
    let (mut end, mut first, mut block) = (0, None, 0);
    for _ in 0..=CONTINUATIONS + 1 {
        let Some(head) = Head::read(&bytes[end..]) else {
            return Ok(None);
        };
        let first = first.get_or_insert(head);
        if end > 0 && (head.kind, head.stream) != (CONTINUATION, first.stream) {
            return Err(Fault::Parted);
        }
        if head.length > MOST {
            return Err(Fault::FrameSize);
        }
        end += HEAD + head.length;
        block += head.length;
        if block > most {
            break;
        }
        if bytes.len() < end {
            return Ok(None);
        }
        if head.has(END_HEADERS) {
            return Ok(Some(end));
        }
    }
    Err(Fault::Endless)
}

/// The block that these frames carry, which is put together in `gathered` if they are several; none if one of them is
/// not as it must be.
pub(super) fn gather<'a>(
    head: Head,
    frames: &'a [u8],
    gathered: &'a mut Vec<u8>,
) -> Option<&'a [u8]> {
    let (first, mut rest) = frames[HEAD..].split_at(head.length);
    let piece = unframed(head, first)?;
    if rest.is_empty() {
        return Some(piece);
    }
    gathered.extend_from_slice(piece);
    while let Some(head) = Head::read(rest) {
        let (piece, others) = rest[HEAD..].split_at(head.length);
        gathered.extend_from_slice(piece);
        rest = others;
    }
    Some(gathered)
}

/// The payload of HEADERS without padding and priority.
fn unframed(head: Head, mut payload: &[u8]) -> Option<&[u8]> {
    if head.has(PADDED) {
        let (padding, rest) = payload.split_first()?;
        payload = &rest[..rest.len().checked_sub(usize::from(*padding))?];
    }
    if head.has(WITH_PRIORITY) {
        payload = payload.get(5..)?;
    }
    Some(payload)
}

/// Whether HEADERS have their stream depend on itself, which the h2 crate resets without reading the block.
pub(super) fn depends_on_itself(head: Head, frames: &[u8]) -> bool {
    let at = HEAD + usize::from(head.has(PADDED));
    let priority = frames.get(at..);
    head.has(WITH_PRIORITY) && priority.is_some_and(|priority| is_on_itself(head, priority))
}

/// Whether a priority is that (RFC 7540, 5.3.1).
pub(super) fn is_on_itself(head: Head, priority: &[u8]) -> bool {
    let on = priority.first_chunk();
    on.is_some_and(|on| u32::from_be_bytes(*on) & !(1 << 31) == head.stream)
}

/// Appends the frames of a block of fields.
pub(super) fn write(out: &mut Vec<u8>, ends_stream: bool, stream: u32, block: &[u8]) {
    write_pieces(out, ends_stream, stream, block, |end| end);
}

/// Appends frames that leave the table of the h2 crate as `block` does, and that it resets the stream for. Where one
/// ends and another follows, a field goes on: it ends the connection for a malformed block that might have ended there.
pub(super) fn write_malformed(out: &mut Vec<u8>, ends_stream: bool, stream: u32, block: &[u8]) {
    let mut fields = hpack::remembered(block);
    fields.push(MALFORMED);
    let ends = fields.iter().scan(0, |end, field| {
        *end += field.len();
        Some(*end)
    });
    let ends: Vec<usize> = ends.collect();
    let within = |end| match ends.binary_search(&end) {
        // Whatever changes a table takes two bytes, but for what says how large that is.
        Ok(_) => end - 1,
        Err(_) => end,
    };
    write_pieces(out, ends_stream, stream, &fields.concat(), within);
}

/// Appends the frames of a block, each but the last as long as it may be, or as `shorten` would have it.
fn write_pieces(
    out: &mut Vec<u8>,
    ends_stream: bool,
    stream: u32,
    block: &[u8],
    shorten: impl Fn(usize) -> usize,
) {
    let (mut kind, mut flags) = (HEADERS, if ends_stream { END_STREAM } else { 0 });
    let mut at = 0;
    loop {
        let end = match block.len() - at {
            0..=MOST => block.len(),
            _ => shorten(at + MOST),
        };
        if end == block.len() {
            flags |= END_HEADERS;
        }
        super::frame::write(out, kind, flags, stream, &block[at..end]);
        if end == block.len() {
            return;
        }
        (at, kind, flags) = (end, CONTINUATION, 0);
    }
}
