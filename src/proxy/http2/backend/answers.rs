//! What comes from a backend, frame by frame: given on to the h2 crate, or something else in its place.
//!
//! The crate ends the connection for much that RFC 9113 would have one stream reset for (8.1.1). So that goes on as
//! what it resets the stream for, and tells whoever waits for its answer: a block of fields that is malformed as what
//! of it changes the crate's table, and a field that belongs to a connection (8.2.2); DATA where there is to be none
//! (8.1, 5.1) behind such a block, so that the crate passes it over and gives it back to the window; an update of a
//! window by nothing (6.9) as such a block alone. What the crate resets a stream for by itself is left to it.
//!
//! DATA of nothing, which is no fault, is passed over: the crate ends a connection for the hundred and first in all its
//! life. Of padding alone it takes a part of the window, and has to reach the crate, so it wears the connection.
//!
//! An answer with more fields than the crate takes is refused likewise, where its block has an end within reason.
//!
//! What ends the connection by right goes on as it is, and so does all behind what cannot be read: the crate finds it,
//! too, and says goodbye with the code that is due.

use std::convert::Infallible;

use super::super::block;
use super::super::frame::*;
use super::super::sieve::Sieve;
use super::super::wear::Wear;
use super::streams::{Stage, Streams};
use crate::wire::http1::MAX_HEAD;
use crate::wire::http2::hpack::{Fields, Side};

/// Bytes of a block that are waited for. A longer one is left to the h2 crate, which ends the connection.
const BLOCK: usize = 16 * MOST;

/// Bytes of a block that the crate takes in as few frames as there have to be, more than [the fields](MAX_HEAD) of an
/// answer may have.
const TAKEN: usize = 6 * MOST;

/// To pass over what there is behind a frame that cannot be read, which is more than ever comes.
const LOST: usize = usize::MAX;

/// What comes from one backend.
#[derive(Debug)]
pub(super) struct Answers {
    /// Bytes to pass over: the rest of a frame, or [all](LOST) that is to come.
    skip: usize,
    fields: Fields,
    streams: Streams,
    /// Goes on in the place of what came.
    instead: Vec<u8>,
    wear: Wear,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            skip: 0,
            fields: Fields::of(Side::Response),
            streams: Streams::default(),
            instead: Vec::new(),
            wear: Wear::default(),
        }
    }
}

impl Answers {
    /// Whether the h2 crate may soon end the connection for all that it had to reset.
    pub(super) fn is_worn(&self) -> bool {
        self.wear.is_through()
    }

    /// This frame was written to the backend, a reset with this code.
    pub(super) fn sent(&mut self, head: Head, code: u32) {
        if head.kind == RST_STREAM {
            self.wear.sent(code);
        }
        self.streams.sent(head);
    }

    /// Has the h2 crate reset a stream, and its table be as behind this block.
    fn refuse(&mut self, stream: u32, stage: Stage, ends: bool, block: &[u8]) {
        block::write_malformed(&mut self.instead, ends, stream, block);
        if matches!(stage, Stage::Ended | Stage::Past) {
            // The crate counts it, and may have nobody to tell.
            self.wear.add();
        }
        self.streams.close(stream);
    }

    /// Leaves all that is to come to the crate.
    fn lose(&mut self) -> bool {
        self.skip = LOST;
        false
    }

    /// Reads the block that these frames carry. Whether something else goes on in their place.
    fn block(&mut self, head: Head, frames: &[u8]) -> bool {
        let (mut gathered, mut mended) = (Vec::new(), Vec::new());
        let Some(block) = block::gather(head, frames, &mut gathered) else {
            return self.lose();
        };
        let Ok(found) = self.fields.read(block, &mut mended) else {
            return self.lose();
        };
        let (stream, ends) = (head.stream, head.has(END_STREAM));
        let stage = self.streams.stage(stream);
        let misplaced = match stage {
            Stage::Head => found.interim && ends,
            Stage::Body => found.pseudo,
            Stage::Answered | Stage::Ended => true,
            Stage::Past | Stage::Unasked => false,
        };
        // The crate resets the stream for a large list, and ends the connection for one four times as large.
        let large = block.len() > TAKEN || self.fields.list() > MAX_HEAD;
        if found.malformed || misplaced || large || block::depends_on_itself(head, frames) {
            if stage == Stage::Unasked {
                return self.lose();
            }
            let block = if mended.is_empty() { block } else { &mended };
            self.refuse(stream, stage, ends, block);
            return true;
        }
        self.streams.heard(stream);
        if ends {
            self.streams.end(stream);
        } else if !found.interim {
            self.streams.begin(stream);
        }
        let several = head.length < frames.len() - HEAD;
        if several {
            // The crate takes as few as there have to be.
            block::write(&mut self.instead, ends, stream, block);
        }
        several
    }
}

impl Sieve for Answers {
    type Fault = Infallible;

    fn skip(&mut self) -> &mut usize {
        &mut self.skip
    }

    fn looked_at(&mut self, head: Head, bytes: &[u8]) -> Result<Option<usize>, Infallible> {
        Ok(looked_at(head, bytes).unwrap_or_else(|Unreadable| {
            self.lose();
            Some(0)
        }))
    }

    fn frame(&mut self, head: Head, bytes: &mut [u8]) -> Result<bool, Infallible> {
        let stream = head.stream;
        if self.skip == LOST {
            return Ok(false);
        }
        if head.kind == HEADERS {
            return Ok(self.block(head, bytes));
        }
        self.skip = HEAD + head.length - bytes.len();
        let stage = self.streams.stage(stream);
        match (head.kind, stage) {
            (DATA, Stage::Head | Stage::Answered | Stage::Ended) => {
                self.refuse(stream, stage, false, &[]);
                self.instead.extend_from_slice(bytes);
                return Ok(true);
            }
            (DATA, Stage::Body) if head.has(END_STREAM) => self.streams.end(stream),
            (DATA, Stage::Body) if head.length == 0 && !head.has(PADDED) => hide(bytes),
            (DATA, Stage::Body) if carried(head, bytes) == 0 => self.wear.add_padding(),
            (RST_STREAM, _) => self.streams.close(stream),
            // Nobody goes by it any more (RFC 9113, 5.3.2), right or wrong.
            (PRIORITY, _) if stream > 0 => hide(bytes),
            (WINDOW_UPDATE, Stage::Unasked) => {}
            // The backend may not have known.
            (WINDOW_UPDATE, Stage::Ended | Stage::Past) if adds_nothing(bytes) => hide(bytes),
            (WINDOW_UPDATE, _) if adds_nothing(bytes) => {
                self.refuse(stream, stage, false, &[]);
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }

    fn instead(&mut self) -> &mut Vec<u8> {
        &mut self.instead
    }
}

/// A frame that the h2 crate ends the connection for.
struct Unreadable;

/// As [`Sieve::looked_at`].
fn looked_at(head: Head, bytes: &[u8]) -> Result<Option<usize>, Unreadable> {
    let length = match head.kind {
        HEADERS => return block::length(bytes, BLOCK).map_err(|_| Unreadable),
        // Nobody may push here.
        PUSH_PROMISE | CONTINUATION => return Err(Unreadable),
        _ if head.length > MOST => return Err(Unreadable),
        WINDOW_UPDATE => HEAD + head.length,
        // How much of it is padding.
        DATA if head.has(PADDED) => HEAD + head.length.min(1),
        _ => HEAD,
    };
    Ok((bytes.len() >= length).then_some(length))
}

#[cfg(test)]
mod tests;
