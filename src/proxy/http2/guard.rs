//! Watches the frames of a client for floods: those that cost the receiver more than the sender, and ask for nothing.
//! In passing it keeps rules that the h2 crate is lenient about, or ends the connection for where a stream would do.
//!
//! The h2 crate bounds what it keeps (streams, header lists, small data, resets not yet taken); what a client makes it
//! do again and again is counted here, on the bytes, before it sees them. A head, and what else is looked at as a
//! whole, is held back until it is.

mod intake;
mod meter;
mod streams;

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::block;
use super::outgoing::Outgoing;
use super::sieve::Sifted;
use crate::wire::stream::Stream;
use intake::Intake;

/// Bytes that are passed over at a time.
const SCRAP: usize = 4 * 1024;

/// Why a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offence {
    /// More frames that ask for nothing than there is patience for.
    FrameFlood,
    /// The same of requests that are taken back.
    ResetFlood,
    /// Something else than SETTINGS came first (RFC 9113, 3.4).
    NoSettings,
    /// A frame of a kind that has one size has another (RFC 9113, 4.2).
    FrameSize,
    /// A setting says that windows are larger than any may be (RFC 9113, 6.5.2), or more came than one holds (6.9.1).
    Window,
    /// A block of fields that is not put together as one is (RFC 9113, 6.2 and 6.10).
    Malformed,
    /// One that cannot be decoded (RFC 9113, 4.3).
    Undecodable,
    /// A frame of a stream that both sides have ended (RFC 9113, 5.1).
    StreamClosed,
    /// A head, or what must come first, was begun and not ended in time.
    SlowHead,
}

impl Offence {
    /// For the metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FrameFlood => "http2_frame_flood",
            Self::ResetFlood => "http2_reset_flood",
            Self::SlowHead => "http2_head_timeout",
            _ => "http2_protocol_error",
        }
    }

    /// For the client.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::FrameFlood | Self::ResetFlood | Self::SlowHead => Reason::ENHANCE_YOUR_CALM,
            Self::NoSettings | Self::Malformed => Reason::PROTOCOL_ERROR,
            Self::FrameSize => Reason::FRAME_SIZE_ERROR,
            Self::Window => Reason::FLOW_CONTROL_ERROR,
            Self::Undecodable => Reason::COMPRESSION_ERROR,
            Self::StreamClosed => Reason::STREAM_CLOSED,
        }
    }
}

impl From<block::Fault> for Offence {
    fn from(fault: block::Fault) -> Self {
        match fault {
            block::Fault::FrameSize => Self::FrameSize,
            block::Fault::Parted => Self::Malformed,
            block::Fault::Endless => Self::FrameFlood,
        }
    }
}

/// What the guard and the task of its connection tell each other.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Told by the guard, which reads nothing from then on.
    pub(super) offence: Cell<Option<Offence>>,
    /// What was begun and has to be ended in time, by the number of frames ahead of it.
    pub(super) begun: Cell<Option<u64>>,
    /// Blocks of fields that no message has, whose streams are being reset.
    pub(super) malformed: Cell<u32>,
    /// Whether the client should open another connection. Set again at each read once it is so.
    pub(super) worn: Cell<bool>,
    pub(super) parting: Cell<Parting>,
}

/// How far a connection is that has said everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Parting {
    /// It has not.
    #[default]
    Not,
    /// The last is written. Told by the guard.
    Said,
    /// The client is given time to hear it.
    Lingering,
    /// It had that time. Told to the guard.
    Over,
}

/// A client's connection, and what it sent before it was known to speak HTTP/2.
#[derive(Debug)]
pub(super) struct Guarded {
    stream: Stream,
    ahead: Bytes,
    intake: Intake,
    sifted: Sifted,
    outgoing: Outgoing,
    /// Whether it is the intake's own frames that a write has begun with, which is to be repeated.
    writing_own: bool,
    /// Whether the h2 crate is given a turn to write.
    turned: bool,
    watch: Rc<Watch>,
    ended: bool,
}

impl Guarded {
    pub(super) fn new(stream: Stream, ahead: Bytes, watch: Rc<Watch>) -> Self {
        Self {
            stream,
            ahead,
            intake: Intake::new(Instant::now()),
            sifted: Sifted::default(),
            outgoing: Outgoing::default(),
            writing_own: false,
            turned: false,
            watch,
            ended: false,
        }
    }

    /// Ready when the h2 crate had a turn to write, after which there is nothing to wait for.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.turned = !self.turned;
        if self.turned {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Writes the intake's frames for the client, where they do not part another one, nor come in between a write of
    /// others that has begun and its end.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.may_write_own() {
            if !self.writing_own {
                self.intake.pay();
            }
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.intake.own);
            self.writing_own = written.is_pending() && self.stream.is_writing();
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.intake.own.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    fn may_write_own(&self) -> bool {
        let free = self.outgoing.is_between_frames() && !self.stream.is_writing();
        self.writing_own || free && self.intake.has_own()
    }

    /// Takes note of bytes that were written.
    fn wrote(&mut self, bytes: &[u8]) {
        self.intake.wrote(bytes.len());
        let intake = &mut self.intake;
        self.outgoing
            .wrote(bytes, |head, code| intake.sent(head, code));
    }
}

/// Reads what comes from the client, behind what came `ahead`. Nothing is the end.
fn poll_client(
    stream: &mut Stream,
    ahead: &mut Bytes,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    if ahead.is_empty() {
        return Pin::new(stream).poll_read(cx, buffer);
    }
    let n = ahead.len().min(buffer.remaining());
    buffer.put_slice(&ahead.split_to(n));
    Poll::Ready(Ok(()))
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while !this.sifted.give(buffer) {
            if this.ended {
                // The connection's task looks after each turn; there is no other to come.
                return Poll::Pending;
            }
            let before = buffer.filled().len();
            if this.intake.waits {
                ready!(this.poll_turn(cx));
                this.intake.settle();
            } else {
                let (stream, ahead) = (&mut this.stream, &mut this.ahead);
                let read = |buffer: &mut ReadBuf<'_>| poll_client(stream, ahead, cx, buffer);
                if !ready!(this.sifted.poll_fill(buffer, read))? {
                    return Poll::Ready(Ok(()));
                }
                this.intake.tick(Instant::now());
            }
            if let Err(offence) = this.sifted.sift(&mut this.intake, buffer, before) {
                buffer.set_filled(before);
                this.sifted.clear();
                this.ended = true;
                this.watch.begun.set(None);
                this.watch.offence.set(Some(offence));
                return Poll::Pending;
            }
            let begun = this.intake.begun(this.sifted.holds());
            this.watch.begun.set(begun);
            let malformed = this.watch.malformed.get() + this.intake.malformed();
            this.watch.malformed.set(malformed);
            this.watch.worn.set(this.intake.is_worn());
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_own(cx))?;
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.wrote(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_own(cx))?;
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, pieces))?;
        let intake = &mut this.intake;
        intake.wrote(written);
        this.outgoing
            .wrote_of(pieces, written, |head, code| intake.sent(head, code));
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_own(cx))?;
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.intake.settle();
        Poll::Ready(Ok(()))
    }

    /// Ready when the client has ended its side too. Until then it is read on, as far as a connection of HTTP/1.1 is:
    /// one that is closed with something unread is reset, and the client might lose the word of why.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.watch.parting.get() == Parting::Not {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.watch.parting.set(Parting::Said);
        }
        let mut scrap = [MaybeUninit::uninit(); SCRAP];
        while this.watch.parting.get() != Parting::Over {
            let mut scrap = ReadBuf::uninit(&mut scrap);
            let read = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut scrap));
            if read.is_err() || scrap.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
