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
//! What ends the connection by right goes on as it is, and so does all behind what cannot be read: the crate finds it,
//! too, and says goodbye with the code that is due.

use std::convert::Infallible;

use super::super::block;
use super::super::frame::*;
use super::super::sieve::{Share, Sieve};
use super::super::wear::Wear;
use super::streams::{Place, Streams};
use crate::wire::http2::hpack::{Fields, Side};

/// Bytes of a block beyond which it is left to the h2 crate: all that fits into as many frames as that takes, and more
/// than [the fields](crate::wire::http1::MAX_HEAD) of an answer may have.
const BLOCK: usize = 6 * MOST;

/// What comes from one backend.
#[derive(Debug)]
pub(super) struct Answers {
    /// Bytes to pass over: the rest of a frame.
    skip: usize,
    /// Whether something came that cannot be read.
    lost: bool,
    fields: Fields,
    streams: Streams,
    /// Goes on in the place of what came.
    instead: Vec<u8>,
    wear: Wear,
}

/// What becomes of a frame that is there.
enum Fate {
    Goes,
    /// What is [instead](Answers::instead) goes.
    Replaced,
    /// It cannot be read.
    Lost,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            skip: 0,
            lost: false,
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

    /// Takes what is looked at of a frame, or the frames of a block.
    fn frame(&mut self, head: Head, bytes: &mut [u8]) -> Fate {
        let stream = head.stream;
        if head.kind == HEADERS {
            return self.block(head, bytes);
        }
        self.skip = HEAD + head.length - bytes.len();
        let place = self.streams.place(stream);
        match (head.kind, place) {
            (DATA, Place::Head | Place::Over | Place::Ended) => {
                self.refuse(stream, place, false, &[]);
                self.instead.extend_from_slice(bytes);
                return Fate::Replaced;
            }
            (DATA, Place::Body) if head.has(END_STREAM) => self.streams.end(stream),
            (DATA, Place::Body) if head.length == 0 => hide(bytes),
            (DATA, Place::Body) if is_padding(head, bytes) => self.wear.add_padding(),
            (RST_STREAM, _) => self.streams.close(stream),
            // Nobody goes by it any more (RFC 9113, 5.3.2), right or wrong.
            (PRIORITY, _) if stream > 0 => hide(bytes),
            (WINDOW_UPDATE, Place::Idle) => {}
            // The backend may not have known.
            (WINDOW_UPDATE, Place::Ended | Place::Closed) if adds_nothing(bytes) => hide(bytes),
            (WINDOW_UPDATE, _) if adds_nothing(bytes) => {
                self.refuse(stream, place, false, &[]);
                return Fate::Replaced;
            }
            _ => {}
        }
        Fate::Goes
    }

    /// Has the h2 crate reset a stream, and its table be as behind this block.
    fn refuse(&mut self, stream: u32, place: Place, ends: bool, block: &[u8]) {
        block::write_malformed(&mut self.instead, ends, stream, block);
        if matches!(place, Place::Ended | Place::Closed) {
            // The crate counts it, and may have nobody to tell.
            self.wear.add();
        }
        self.streams.close(stream);
    }

    /// Reads the block that these frames carry.
    fn block(&mut self, head: Head, frames: &[u8]) -> Fate {
        let (mut gathered, mut mended) = (Vec::new(), Vec::new());
        let Some(block) = block::gather(head, frames, &mut gathered) else {
            return Fate::Lost;
        };
        let Ok(found) = self.fields.read(block, &mut mended) else {
            return Fate::Lost;
        };
        let (stream, ends) = (head.stream, head.has(END_STREAM));
        let place = self.streams.place(stream);
        let misplaced = match place {
            Place::Head => found.interim && ends,
            Place::Body => found.pseudo,
            Place::Over | Place::Ended => true,
            Place::Closed | Place::Idle => false,
        };
        if found.malformed || misplaced || block::depends_on_itself(head, frames) {
            if place == Place::Idle {
                return Fate::Lost;
            }
            let block = if mended.is_empty() { block } else { &mended };
            self.refuse(stream, place, ends, block);
            return Fate::Replaced;
        }
        self.streams.heard(stream);
        if ends {
            self.streams.end(stream);
        } else if !found.interim {
            self.streams.begin(stream);
        }
        if head.length == frames.len() - HEAD {
            return Fate::Goes;
        }
        // The crate takes as few as there have to be.
        block::write(&mut self.instead, ends, stream, block);
        Fate::Replaced
    }
}

impl Sieve for Answers {
    type Fault = Infallible;

    fn read(&mut self, bytes: &mut [u8]) -> Result<Share, Infallible> {
        let mut at = 0;
        loop {
            let skipped = self.skip.min(bytes.len() - at);
            self.skip -= skipped;
            at += skipped;
            let rest = &mut bytes[at..];
            if self.lost {
                at += rest.len();
            }
            let passed = Share {
                passed: at,
                done: at,
            };
            let head = match Head::read(rest) {
                Some(head) if !self.lost => head,
                _ => return Ok(passed),
            };
            let length = match looked_at(head, rest) {
                Ok(Some(length)) => length,
                Ok(None) => return Ok(passed),
                Err(Unreadable) => {
                    self.lost = true;
                    continue;
                }
            };
            match self.frame(head, &mut rest[..length]) {
                Fate::Goes => at += length,
                Fate::Replaced => {
                    let done = at + length;
                    return Ok(Share { done, ..passed });
                }
                Fate::Lost => self.lost = true,
            }
        }
    }

    fn instead(&mut self) -> &mut Vec<u8> {
        &mut self.instead
    }
}

/// Whether there is nothing but padding.
fn is_padding(head: Head, bytes: &[u8]) -> bool {
    let padding = bytes.get(HEAD).map(|padding| usize::from(*padding) + 1);
    head.has(PADDED) && padding == Some(head.length)
}

/// A frame that the h2 crate ends the connection for.
struct Unreadable;

/// How many bytes from a frame's head on are looked at; none if they have not come yet.
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
