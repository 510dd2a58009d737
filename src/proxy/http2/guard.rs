//! Watches the frames of a client for floods: those that cost the receiver more than the sender, and ask for nothing.
//! In passing it keeps two rules that the h2 crate is lenient about: what comes first, and of what size frames are.
//!
//! The h2 crate bounds what it keeps (streams, header lists, CONTINUATION, small data, resets not yet taken); what a
//! client makes it do again and again is counted here, on the bytes, before it sees them.

mod blocks;
mod meter;

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::buffers::Buffer;
use crate::wire::stream::Stream;
use meter::Meter;

/// Malformed requests of which the connection's task has not heard, because the h2 crate refused them at once.
const UNSEEN: usize = 1_000;

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
    /// Trailers with what no trailers have (RFC 9113, 8.1), noticed too late to reset their stream alone.
    Malformed,
    /// A head, or what must come first, was begun and not ended in time.
    SlowHead,
}

impl Offence {
    /// For the metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FrameFlood => "http2_frame_flood",
            Self::ResetFlood => "http2_reset_flood",
            Self::NoSettings | Self::FrameSize | Self::Malformed => "http2_protocol_error",
            Self::SlowHead => "http2_head_timeout",
        }
    }

    /// For the client.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::FrameFlood | Self::ResetFlood | Self::SlowHead => Reason::ENHANCE_YOUR_CALM,
            Self::NoSettings | Self::Malformed => Reason::PROTOCOL_ERROR,
            Self::FrameSize => Reason::FRAME_SIZE_ERROR,
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
    /// Streams that the task has reset since the last read, for what their client sent.
    pub(super) malformed: Cell<u32>,
    /// Streams that it is to reset when it hears of them, for what the h2 crate does not see in their heads.
    unseen: RefCell<Vec<u32>>,
}

impl Watch {
    /// Whether the head of `stream`, which is the last one that the task has heard of, is malformed in a way that the h2
    /// crate does not see.
    pub(super) fn is_malformed(&self, stream: u32) -> bool {
        let mut unseen = self.unseen.borrow_mut();
        let malformed = unseen.contains(&stream);
        // What was refused before it has been heard of is among those that were opened earlier.
        unseen.retain(|later| *later > stream);
        malformed
    }
}

/// A client's connection, and what it sent before it was known to speak HTTP/2.
#[derive(Debug)]
pub(super) struct Guarded {
    stream: Stream,
    ahead: Buffer,
    meter: Meter,
    watch: Rc<Watch>,
    ended: bool,
}

impl Guarded {
    pub(super) fn new(stream: Stream, ahead: Buffer, watch: Rc<Watch>) -> Self {
        Self {
            stream,
            ahead,
            meter: Meter::new(Instant::now()),
            watch,
            ended: false,
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ended {
            // The connection's task looks after each turn; there is no other to come.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if this.ahead.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        } else {
            let ahead = this.ahead.filled();
            let n = ahead.len().min(buffer.remaining());
            buffer.put_slice(&ahead[..n]);
            this.ahead.consume(n);
            if this.ahead.is_empty() {
                this.ahead = Buffer::default();
            }
        }
        this.meter.tick(Instant::now());
        this.meter.reset(this.watch.malformed.take());
        if let Some(kind) = this.meter.read(&mut buffer.filled_mut()[before..]) {
            buffer.set_filled(before);
            this.ended = true;
            this.watch.begun.set(None);
            this.watch.offence.set(Some(kind));
            return Poll::Pending;
        }
        let malformed = this.meter.malformed();
        if !malformed.is_empty() {
            this.watch.unseen.borrow_mut().append(malformed);
        }
        if this.watch.unseen.borrow().len() > UNSEEN {
            this.ended = true;
            this.watch.offence.set(Some(Offence::ResetFlood));
        }
        this.watch.begun.set(this.meter.begun());
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
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.meter.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, pieces))?;
        this.meter.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
