//! The connection itself, as the h2 crate reads and writes it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::frame::PREFACE;
use super::super::outgoing::Outgoing;
use super::super::sieve::Sifted;
use super::answers::Answers;
use crate::wire::http2::Pulse;
use crate::wire::stream::Stream;

/// The connection, from its first byte on.
#[derive(Debug)]
pub(crate) struct Answering {
    stream: Stream,
    answers: Answers,
    sifted: Sifted,
    outgoing: Outgoing,
    pulse: Arc<Pulse>,
}

impl Answering {
    /// `pulse` is told of whatever is read, and when another connection is to follow.
    pub(crate) fn new(stream: Stream, pulse: Arc<Pulse>) -> Self {
        Self {
            stream,
            answers: Answers::default(),
            sifted: Sifted::default(),
            outgoing: Outgoing::behind(PREFACE),
            pulse,
        }
    }

    /// Looks whether the connection has done enough.
    fn look(&self) {
        if self.answers.is_worn() {
            self.pulse.leave();
        }
    }
}

impl AsyncRead for Answering {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while !this.sifted.give(buffer) {
            let before = buffer.filled().len();
            let stream = Pin::new(&mut this.stream);
            let read = |buffer: &mut ReadBuf<'_>| stream.poll_read(cx, buffer);
            if !ready!(this.sifted.poll_fill(buffer, read))? {
                return Poll::Ready(Ok(()));
            }
            this.pulse.beat();
            let Ok(()) = this.sifted.sift(&mut this.answers, buffer, before);
            this.look();
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Answering {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        let answers = &mut this.answers;
        this.outgoing
            .wrote(&bytes[..written], |head, code| answers.sent(head, code));
        this.look();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, pieces))?;
        let answers = &mut this.answers;
        this.outgoing
            .wrote_of(pieces, written, |head, code| answers.sent(head, code));
        this.look();
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
