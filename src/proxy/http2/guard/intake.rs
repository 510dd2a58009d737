//! What comes from a client, frame by frame: each is counted, held to rules that the h2 crate is lenient about, and
//! given on to it, or something else in its place.
//!
//! The crate ends the connection for what concerns one stream only, where RFC 9113 would have that stream reset; and
//! it counts the streams that it resets itself for as long as the connection lives, to end it for the 1,025th. So the
//! client is told from here, and the crate hears that it has reset the stream: of a window that is opened by nothing
//! (6.9), a stream that depends on itself (RFC 7540, 5.3.1), DATA for one that is closed (5.1). What this side reset
//! before is passed over. A block of fields has to reach the crate, which decodes it: one that is malformed (8.1.1),
//! or behind the end, goes on as what of it changes the crate's table, and a field that belongs to a connection
//! (8.2.2), for which it resets the stream. These are [counted](Intake::is_worn).

use std::time::Instant;

use h2::Reason;

use super::super::frame::{self, *};
use super::super::sieve::Sieve;
use super::super::wear::Wear;
use super::super::{CONNECTION_WINDOW, block};
use super::Offence;
use super::meter::Meter;
use super::streams::{Place, Streams};
use crate::wire::http2::hpack::{Fields, Found, Side};

/// Bytes of a block beyond which it has no end: what fits into as many frames as the h2 crate takes.
const BLOCK: usize = 11 * MOST;

/// Bytes for the client that wait for it to read, beyond which it only provokes them.
const UNREAD: usize = 16 * 1024;

/// Bytes of a setting.
const SETTING: usize = 6;

const INITIAL_WINDOW_SIZE: u8 = 4;

/// What comes from one client.
#[derive(Debug)]
pub(super) struct Intake {
    /// Bytes to pass over: the preface, or the rest of a frame.
    skip: usize,
    /// Whether any frame has come.
    greeted: bool,
    /// Frames that have come, but for CONTINUATION.
    frames: u64,
    streams: Streams,
    /// Streams from this one on are news to the h2 crate: it may have refused them, and said so to nobody yet.
    news: u32,
    /// Whether trailers of one of these are what is to be read again.
    pub(super) waits: bool,
    meter: Meter,
    fields: Fields,
    /// Goes on in the place of what came.
    instead: Vec<u8>,
    /// Frames for the client.
    pub(super) own: Vec<u8>,
    /// Bytes to give back to the connection's window.
    owed: u32,
    wear: Wear,
    /// Blocks of fields that no message has.
    malformed: u32,
}

impl Intake {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            skip: PREFACE,
            greeted: false,
            frames: 0,
            streams: Streams::default(),
            news: 0,
            waits: false,
            meter: Meter::new(now),
            fields: Fields::of(Side::Request),
            instead: Vec::new(),
            own: Vec::new(),
            owed: 0,
            wear: Wear::default(),
            malformed: 0,
        }
    }

    /// Tells when what is read from here on came.
    pub(super) fn tick(&mut self, now: Instant) {
        self.meter.tick(now);
    }

    /// Of a frame that is held back (if `held`), or of SETTINGS that did not come yet, the number of frames ahead of
    /// it.
    pub(super) fn begun(&self, held: bool) -> Option<u64> {
        (held || !self.greeted).then_some(self.frames)
    }

    /// How many blocks were malformed since this was last asked.
    pub(super) fn malformed(&mut self) -> u32 {
        std::mem::take(&mut self.malformed)
    }

    /// Whether the h2 crate may soon end the connection for all that it had to reset.
    pub(super) fn is_worn(&self) -> bool {
        self.wear.is_through()
    }

    /// Whether there is anything for the client.
    pub(super) fn has_own(&self) -> bool {
        self.owed > 0 || !self.own.is_empty()
    }

    /// Makes a frame of what is owed, unless too much is unread. Nothing of [`own`](Self::own) is being written.
    pub(super) fn pay(&mut self) {
        if self.owed > 0 && self.own.len() <= UNREAD {
            let owed = std::mem::take(&mut self.owed).to_be_bytes();
            frame::write(&mut self.own, WINDOW_UPDATE, 0, 0, &owed);
        }
    }

    /// So many bytes were written to the client.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.meter.wrote(bytes);
    }

    /// This frame was written to the client, a reset with this code.
    pub(super) fn sent(&mut self, head: Head, code: u32) {
        if head.kind == RST_STREAM {
            self.wear.sent(code);
            if self.streams.is_gone(head.stream) {
                return;
            }
            self.tell_late(head.stream);
        }
        self.streams.sent(head);
        self.meter.sent(head, code);
    }

    /// What the h2 crate had to say to what it was given was written.
    pub(super) fn settle(&mut self) {
        self.news = self.streams.next();
    }

    /// Has the stream of this frame reset; passes over the frame, if the stream is closed: the client may not have
    /// known that it is.
    fn answer_nonsense(&mut self, head: Head, frame: &mut [u8]) -> Result<bool, Offence> {
        let is_past = self.streams.is_past(head.stream);
        if is_past && !self.streams.is_open(head.stream) {
            hide(frame);
            return Ok(false);
        }
        self.refuse(head.stream, Reason::PROTOCOL_ERROR)?;
        if is_past {
            write_reset(&mut self.instead, head.stream, Reason::CANCEL);
        }
        Ok(true)
    }

    /// Gives back what DATA that the h2 crate does not hear of took of the windows: padding counts, and so does what is
    /// ignored (RFC 9113, 6.9.1).
    fn give_back(&mut self, head: Head, place: Place) -> Result<(), Offence> {
        if head.length == 0 {
            return Ok(());
        }
        let length = head.length as u32;
        self.owed += length;
        if self.owed > CONNECTION_WINDOW {
            return Err(Offence::Window);
        }
        if place == Place::Within && self.own.len() > UNREAD {
            return Err(Offence::FrameFlood);
        }
        if place == Place::Within {
            let update = length.to_be_bytes();
            frame::write(&mut self.own, WINDOW_UPDATE, 0, head.stream, &update);
        }
        Ok(())
    }

    /// Resets a stream. The h2 crate is to hear of that, unless the stream is not open yet.
    fn refuse(&mut self, stream: u32, reason: Reason) -> Result<(), Offence> {
        if self.own.len() > UNREAD {
            return Err(Offence::ResetFlood);
        }
        write_reset(&mut self.own, stream, reason);
        self.meter.provoke();
        if self.streams.is_past(stream) {
            self.tell_late(stream);
            self.streams.reset(stream);
        }
        Ok(())
    }

    /// Has the meter know of a reset, behind which there may come what was on its way.
    fn tell_late(&mut self, stream: u32) {
        if self.streams.goes_on(stream) {
            self.meter.expect_late();
        }
    }

    /// Reads the block that these frames carry. One that is malformed goes on as what the h2 crate resets its stream
    /// for.
    fn block(&mut self, head: Head, place: Place, frames: &[u8]) -> Result<bool, Offence> {
        let (mut gathered, mut mended) = (Vec::new(), Vec::new());
        let block = block::gather(head, frames, &mut gathered).ok_or(Offence::Malformed)?;
        let found = self
            .fields
            .read(block, &mut mended)
            .map_err(|_| Offence::Undecodable)?;
        let Found {
            pseudo, malformed, ..
        } = found;
        let malformed = match place {
            Place::Start => malformed || block::depends_on_itself(head, frames),
            Place::Within => malformed || pseudo || block::depends_on_itself(head, frames),
            // Even where nothing is wrong with them: the crate ends the connection, once it has forgotten the stream.
            Place::Gone | Place::Over => true,
            // The crate ends the connection, and would not for each of these.
            Place::Ended | Place::Nowhere
                if malformed || block::depends_on_itself(head, frames) =>
            {
                return Err(Offence::Malformed);
            }
            Place::Ended | Place::Nowhere => false,
        };
        let ends = head.has(END_STREAM);
        if !malformed {
            let several = head.length < frames.len() - HEAD;
            if several {
                // The crate takes as few as there have to be.
                block::write(&mut self.instead, ends, head.stream, block);
            }
            return Ok(several);
        }
        match place {
            Place::Gone => self.wear.add(),
            Place::Over => {
                self.wear.add();
                self.refuse(head.stream, Reason::STREAM_CLOSED)?;
            }
            _ => self.malformed += 1,
        }
        let block = if mended.is_empty() { block } else { &mended };
        block::write_malformed(&mut self.instead, ends, head.stream, block);
        if matches!(place, Place::Gone | Place::Over) {
            // The client was told already: this has the crate drop what it would say once more.
            write_reset(&mut self.instead, head.stream, Reason::CANCEL);
        }
        Ok(true)
    }
}

impl Sieve for Intake {
    type Fault = Offence;

    fn skip(&mut self) -> &mut usize {
        &mut self.skip
    }

    /// Trailers wait until it is known whether their stream was refused, as one beyond the most that may be open: the
    /// crate keeps nothing of such a stream, and would end the connection for another head of it.
    fn looked_at(&mut self, head: Head, bytes: &[u8]) -> Result<Option<usize>, Offence> {
        if !self.greeted && (head.kind, head.has(ACK)) != (SETTINGS, false) {
            return Err(Offence::NoSettings);
        }
        self.waits = false;
        let size = match head.kind {
            PRIORITY => 5,
            RST_STREAM | WINDOW_UPDATE => 4,
            PING => 8,
            SETTINGS if head.has(ACK) => 0,
            SETTINGS => head.length.min(MOST) / SETTING * SETTING,
            _ => head.length.min(MOST),
        };
        if head.length != size || head.length < head.least() {
            return Err(Offence::FrameSize);
        }
        let length = match head.kind {
            HEADERS => {
                let length = block::length(bytes, BLOCK)?;
                let is_late = head.stream >= self.news && self.streams.goes_on(head.stream);
                self.waits = length.is_some() && is_late;
                return Ok(length.filter(|_| !self.waits));
            }
            SETTINGS | WINDOW_UPDATE | PRIORITY => HEAD + head.length,
            // How much of it is padding.
            DATA if head.has(PADDED) => HEAD + 1,
            _ => HEAD,
        };
        Ok((bytes.len() >= length).then_some(length))
    }

    /// Empty DATA that ends nothing becomes a frame of no known kind, which is passed over: h2 ends a connection for
    /// the hundred and first in its whole life, and patience is measured here.
    fn frame(&mut self, head: Head, bytes: &mut [u8]) -> Result<bool, Offence> {
        self.greeted = true;
        self.frames += 1;
        let place = match head.kind {
            DATA | HEADERS | RST_STREAM => self.streams.came(head),
            _ => Place::Nowhere,
        };
        if place == Place::Ended {
            return Err(Offence::StreamClosed);
        }
        let carried = Head {
            length: carried(head, bytes),
            ..head
        };
        self.meter.came(carried, place)?;
        if head.kind == HEADERS {
            return self.block(head, place, bytes);
        }
        self.skip = HEAD + head.length - bytes.len();
        let is_past = self.streams.is_past(head.stream);
        let is_empty = carried.length == 0 && !head.has(END_STREAM);
        match head.kind {
            DATA if place == Place::Over || place == Place::Nowhere && is_past => {
                self.refuse(head.stream, Reason::STREAM_CLOSED)?;
                write_reset(&mut self.instead, head.stream, Reason::CANCEL);
                self.give_back(head, place)?;
                hide(bytes);
                self.instead.extend_from_slice(bytes);
                Ok(true)
            }
            DATA if place == Place::Gone || place == Place::Within && is_empty => {
                self.give_back(head, place)?;
                hide(bytes);
                Ok(false)
            }
            PRIORITY if head.stream > 0 && block::is_on_itself(head, &bytes[HEAD..]) => {
                self.answer_nonsense(head, bytes)
            }
            WINDOW_UPDATE if adds_nothing(bytes) && is_past => self.answer_nonsense(head, bytes),
            SETTINGS if has_no_window(&bytes[HEAD..]) => Err(Offence::Window),
            _ => Ok(false),
        }
    }

    fn instead(&mut self) -> &mut Vec<u8> {
        &mut self.instead
    }
}

fn write_reset(out: &mut Vec<u8>, stream: u32, reason: Reason) {
    let code = u32::from(reason).to_be_bytes();
    frame::write(out, RST_STREAM, 0, stream, &code);
}

/// Whether a setting says that windows are larger than any may be (RFC 9113, 6.5.2).
fn has_no_window(settings: &[u8]) -> bool {
    let mut settings = settings.chunks_exact(SETTING);
    settings.any(|setting| matches!(setting, [0, INITIAL_WINDOW_SIZE, 0x80..=0xFF, ..]))
}

#[cfg(test)]
mod tests;
