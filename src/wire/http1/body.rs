//! Follows a body through the buffers it arrives in, and tells where it ends.

use super::chunked::{self, Decoder, Part};
use super::refusal::{Reason, Refusal, Side};
use crate::wire::body::{BodyKind, Relay};

/// What one look at a buffer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes at the buffer's start that belong to the body. Less than the buffer only when the body is done.
    pub consumed: usize,
    /// Whether the body, with trailers, is complete.
    pub done: bool,
}

/// The reading side of one body.
#[derive(Clone, Debug)]
pub struct BodyReader {
    state: State,
    side: Side,
}

#[derive(Clone, Debug)]
enum State {
    Length(u64),
    Chunked(Decoder),
    UntilClose,
}

impl BodyReader {
    /// Reads a request's body; its faults are the client's.
    pub fn request(kind: BodyKind) -> Self {
        Self::new(kind, Side::Client)
    }

    /// Reads a response's body; its faults are the backend's.
    pub fn response(kind: BodyKind) -> Self {
        Self::new(kind, Side::Backend)
    }

    fn new(kind: BodyKind, side: Side) -> Self {
        let state = match kind {
            BodyKind::None => State::Length(0),
            BodyKind::Length(length) => State::Length(length),
            BodyKind::Chunked => State::Chunked(Decoder::of(side)),
            BodyKind::UntilClose => State::UntilClose,
        };
        BodyReader { state, side }
    }

    /// Whether the body is complete; one that lasts until the connection closes never is by itself.
    pub fn is_done(&self) -> bool {
        match &self.state {
            State::Length(left) => *left == 0,
            State::Chunked(decoder) => decoder.is_done(),
            State::UntilClose => false,
        }
    }

    /// The bytes known to be still to come, for bodies with a length.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            _ => None,
        }
    }

    /// So many bytes of a body with a length have passed without being looked at, at most what remained.
    pub fn pass(&mut self, bytes: u64) {
        debug_assert!(
            self.remaining().is_some_and(|left| bytes <= left),
            "what passes is of this body"
        );
        if let State::Length(left) = &mut self.state {
            *left = left.saturating_sub(bytes);
        }
    }

    /// Takes the body's part of `buffer`, to be passed on as it is.
    pub fn advance(&mut self, buffer: &[u8]) -> Result<Step, Refusal> {
        self.advance_with(buffer, |_| {})
    }

    /// As [`advance`](Self::advance), and shows each run of data: the body without its framing.
    pub fn advance_with(
        &mut self,
        buffer: &[u8],
        mut data: impl FnMut(&[u8]),
    ) -> Result<Step, Refusal> {
        self.advance_parts(buffer, |part| match part {
            Part::Data(run) => data(run),
            Part::Trailers(_) => {}
        })
    }

    /// As [`advance`](Self::advance), and shows each piece of it, trailers too.
    pub fn advance_parts(
        &mut self,
        buffer: &[u8],
        mut part: impl FnMut(Part<'_>),
    ) -> Result<Step, Refusal> {
        let consumed = match &mut self.state {
            State::Length(left) => {
                let run = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(buffer.len());
                *left -= run as u64;
                part(Part::Data(&buffer[..run]));
                run
            }
            State::Chunked(decoder) => decoder
                .advance(buffer, part)
                .map_err(|reason| Refusal::of(self.side, reason))?,
            State::UntilClose => {
                part(Part::Data(buffer));
                buffer.len()
            }
        };
        Ok(Step {
            consumed,
            done: self.is_done(),
        })
    }

    /// As [`advance`](Self::advance), and writes the body's part to `out` in the form that `relay` says.
    ///
    /// What `out` holds after a refusal is not to be sent as a complete message.
    pub fn relay(
        &mut self,
        buffer: &[u8],
        relay: Relay,
        out: &mut Vec<u8>,
    ) -> Result<Step, Refusal> {
        match relay {
            Relay::Pass => {
                let step = self.advance(buffer)?;
                out.extend_from_slice(&buffer[..step.consumed]);
                Ok(step)
            }
            Relay::Chunk => self.advance_with(buffer, |data| chunked::write_chunk(data, out)),
            Relay::Dechunk => self.advance_with(buffer, |data| out.extend_from_slice(data)),
        }
    }

    /// The sender closed its connection: right for a body until close, which may now need its last chunk written to
    /// `out`; [`Reason::Truncated`] for any other that is not done.
    pub fn end(&mut self, relay: Relay, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if let State::UntilClose = self.state {
            if relay == Relay::Chunk {
                chunked::write_last_chunk(out);
            }
            self.state = State::Length(0);
        }
        if self.is_done() {
            Ok(())
        } else {
            Err(Refusal::of(self.side, Reason::Truncated))
        }
    }
}
