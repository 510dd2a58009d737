//! From the bytes of a body to the frames of a stream.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::{Reason, SendStream};

use super::trailers;
use crate::wire::body::BodyKind;
use crate::wire::http1::{BodyReader, Part};

/// A body on its way out. Its head was sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: SendStream<Bytes>,
    reader: BodyReader,
    /// Data of the write under way that found no room yet.
    pending: Bytes,
    /// Bytes of that write.
    taken: usize,
    /// Bytes that may go without room for them.
    ahead: usize,
    /// The trailer section as far as it has come.
    trailers: Vec<u8>,
}

/// Bytes that are taken of a write for which there is no room yet: no more, for a copy is kept of them until there is.
const WITHOUT_ROOM: usize = 16 * 1024;

/// Bytes of room that are asked for before it is known what is to be written.
const MOST_ROOM: usize = 32 * 1024;

/// Bytes of a request's body that are left with the connection together with its head. A stream has no room of its own
/// until its head was sent: whoever waits for that wakes up once more, and writes twice what fits into one.
const WITH_HEAD: usize = 16 * 1024;

impl Outgoing {
    /// `reader` follows the body's framing.
    pub(super) fn new(stream: SendStream<Bytes>, reader: BodyReader) -> Self {
        Self {
            stream,
            reader,
            pending: Bytes::new(),
            taken: 0,
            ahead: 0,
            trailers: Vec::new(),
        }
    }

    /// The body of a request whose head was only just given to the connection.
    pub(super) fn of_request(stream: SendStream<Bytes>, reader: BodyReader) -> Self {
        Self {
            ahead: WITH_HEAD,
            ..Self::new(stream, reader)
        }
    }

    /// One way of a tunnel, which goes on until it is [ended](Self::end).
    pub(super) fn tunnel(stream: SendStream<Bytes>) -> Self {
        Self::new(stream, BodyReader::response(BodyKind::UntilClose))
    }

    /// Ends a tunnel's way. Nothing of a write is pending.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.send(Bytes::new(), true)
    }

    /// Whether a write has not ended that may have reached the peer already.
    pub(super) fn is_pending(&self) -> bool {
        self.taken > 0
    }

    /// Whether all of the message was sent.
    pub(super) fn is_done(&self) -> bool {
        self.taken == 0 && self.reader.is_done()
    }

    pub(super) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// Ready when the peer takes no more.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(cx).map(|_| ())
    }

    /// Ready when the peer's window had room for what was taken of it, or that went with a request's head. One that is
    /// pending is to be repeated with the same bytes.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.taken == 0 {
            let most = self.most_of(bytes);
            self.take(&bytes[..most])?;
        }
        let done = self.reader.is_done();
        // A section without fields is its blank line.
        let trailing = self.trailers.len() > b"\r\n".len();
        while !self.pending.is_empty() {
            self.stream.reserve_capacity(self.pending.len());
            let room = match self.stream.capacity() {
                0 if self.ahead > 0 => std::mem::take(&mut self.ahead),
                0 => match ready!(self.stream.poll_capacity(cx)) {
                    Some(room) => room.map_err(io::Error::other)?,
                    None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                },
                room => room,
            };
            let piece = self.pending.split_to(room.min(self.pending.len()));
            let last = done && !trailing && self.pending.is_empty();
            self.send(piece, last)?;
            if last {
                return Poll::Ready(Ok(std::mem::take(&mut self.taken)));
            }
        }
        if done && trailing {
            let sent = self.stream.send_trailers(trailers::read(&self.trailers));
            sent.map_err(io::Error::other)?;
        } else if done {
            self.send(Bytes::new(), true)?;
        }
        Poll::Ready(Ok(std::mem::take(&mut self.taken)))
    }

    /// Ready with as many bytes as would be taken at once, which are kept for the next write until
    /// [left](Self::leave_room).
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        self.stream.reserve_capacity(MOST_ROOM);
        match self.stream.capacity() {
            // An error shows when it is written.
            0 => Poll::Ready(match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(room)) => room,
                Some(Err(_)) | None => MOST_ROOM,
            }),
            room => Poll::Ready(room),
        }
    }

    /// Has other streams of the connection use the room that nothing was written to.
    pub(super) fn leave_room(&mut self) {
        self.stream.reserve_capacity(0);
    }

    /// How much of a write is taken now: what there is room for at least.
    fn most_of(&mut self, bytes: &[u8]) -> usize {
        if bytes.len() <= WITHOUT_ROOM {
            return bytes.len();
        }
        self.stream.reserve_capacity(bytes.len());
        self.stream.capacity().max(WITHOUT_ROOM).min(bytes.len())
    }

    /// Takes the framing off what is written.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut data = BytesMut::with_capacity(bytes.len());
        let trailers = &mut self.trailers;
        let step = self.reader.advance_parts(bytes, |part| match part {
            Part::Data(run) => data.extend_from_slice(run),
            Part::Trailers(piece) => trailers.extend_from_slice(piece),
        });
        self.taken = step.map_err(io::Error::other)?.consumed;
        self.pending = data.freeze();
        Ok(())
    }

    fn send(&mut self, piece: Bytes, last: bool) -> io::Result<()> {
        self.stream.send_data(piece, last).map_err(io::Error::other)
    }
}
