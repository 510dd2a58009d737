//! The blocks of fields of one connection, put together from the frames that they come in, and read along.

use super::meter::{CONTINUATION, END_HEADERS, HEADERS, PADDED, PRIORITY_FLAG};
use crate::wire::http2::hpack::{Fields, Found};

/// Bytes of one block beyond which nothing is read along any more: the h2 crate has refused it by then.
const MOST: usize = 512 * 1024;

/// Reads what blocks say until one cannot be read; then the connection ends anyway.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    fields: Fields,
    blind: bool,
    /// Kind and flags of the frame that is being read, if it carries a block.
    frame: Option<(u8, u8)>,
    /// What has come of it, if that was not all at once.
    payload: Vec<u8>,
    /// What the frames before it have of the same block.
    block: Vec<u8>,
}

impl Blocks {
    /// A frame begins.
    pub(super) fn begin(&mut self, kind: u8, flags: u8) {
        let carries = matches!(kind, HEADERS | CONTINUATION) && !self.blind;
        self.frame = carries.then_some((kind, flags));
    }

    /// Takes the next bytes of the frame, which may be its last. Tells what a block holds that has ended so.
    ///
    /// What is invalid in a block is mended, if it came at once.
    pub(super) fn take(&mut self, piece: &mut [u8], last: bool) -> Option<Found> {
        let (kind, flags) = self.frame?;
        if !last || !self.payload.is_empty() {
            self.payload.extend_from_slice(piece);
        }
        if !last {
            return None;
        }
        let mut gathered = std::mem::take(&mut self.payload);
        let payload = match gathered.is_empty() {
            true => piece,
            false => &mut gathered,
        };
        let Some(piece) = unframed(kind, flags, payload) else {
            return self.give_up();
        };
        let ended = flags & END_HEADERS != 0;
        if ended && self.block.is_empty() {
            return self.read(piece);
        }
        self.block.extend_from_slice(piece);
        match ended {
            true => {
                let mut block = std::mem::take(&mut self.block);
                self.read(&mut block)
            }
            false if self.block.len() > MOST => self.give_up(),
            false => None,
        }
    }

    fn read(&mut self, block: &mut [u8]) -> Option<Found> {
        let found = self.fields.read(block);
        found.map_or_else(|_| self.give_up(), Some)
    }

    fn give_up(&mut self) -> Option<Found> {
        *self = Self {
            blind: true,
            ..Self::default()
        };
        None
    }
}

/// The payload of a frame without padding and priority; none if these are not as they must be.
fn unframed(kind: u8, flags: u8, mut payload: &mut [u8]) -> Option<&mut [u8]> {
    if kind == CONTINUATION {
        return Some(payload);
    }
    if flags & PADDED != 0 {
        let (padding, rest) = payload.split_first_mut()?;
        let end = rest.len().checked_sub(usize::from(*padding))?;
        payload = &mut rest[..end];
    }
    if flags & PRIORITY_FLAG != 0 {
        payload = payload.get_mut(5..)?;
    }
    Some(payload)
}
