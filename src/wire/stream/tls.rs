//! A TLS session over its socket.
//!
//! The session keeps what the socket did not take. To the request path that would look written, and nobody would ever
//! flush it; so here a write stays pending until the kernel has all that the session was given.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::Next;

/// Reached by both halves of a connection, from one task.
#[derive(Debug)]
pub(super) struct Tls {
    stream: RefCell<TlsStream<TcpStream>>,
    /// Bytes the session was given by a write that has not ended.
    owed: Cell<usize>,
    identity: u64,
}

impl Tls {
    pub(super) fn new(stream: TlsStream<TcpStream>, identity: u64) -> Self {
        Self {
            stream: RefCell::new(stream),
            owed: Cell::new(0),
            identity,
        }
    }

    pub(super) fn identity(&self) -> u64 {
        self.identity
    }
}

impl Tls {
    pub(super) fn with_socket<T>(&self, of: impl FnOnce(&TcpStream) -> T) -> T {
        of(self.stream.borrow().get_ref().0)
    }

    pub(super) fn with_alpn<T>(&self, of: impl FnOnce(Option<&[u8]>) -> T) -> T {
        of(self.stream.borrow().get_ref().1.alpn_protocol())
    }

    /// Whether something is left of what was read: bytes, or the peer's announcement of the end.
    pub(super) fn has_decrypted(&self) -> bool {
        !self.stream.borrow().get_ref().1.wants_read()
    }

    pub(super) fn is_writing(&self) -> bool {
        self.owed.get() > 0
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_decrypted() {
            return Poll::Ready(Ok(()));
        }
        self.with_socket(|socket| socket.poll_read_ready(cx))
    }

    /// Takes what the peer's TLS says by itself, such as tickets: that is neither bytes nor an end.
    pub(super) fn is_open_and_empty(&self) -> bool {
        let mut byte = [0];
        let mut cx = Context::from_waker(Waker::noop());
        self.poll_read(&mut cx, &mut ReadBuf::new(&mut byte))
            .is_pending()
    }

    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, buffer)
    }

    /// As [`poll_next`](super::poll_next). An end that was not announced is one, too: who leaves may be in a hurry.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<io::Result<Next>> {
        let mut stream = self.stream.borrow_mut();
        let next = ready!(Pin::new(&mut *stream).poll_fill_buf(cx));
        Poll::Ready(match next {
            Ok([]) => Ok(Next::End),
            Ok(_) => Ok(Next::Bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Next::End),
            Err(error) => Err(error),
        })
    }

    /// Ready when the kernel has what it says was written.
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        if self.owed.get() == 0 {
            let taken = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, pieces))?;
            self.owed.set(taken);
        }
        // The caller repeats a pending write with the same bytes: those owed are its first.
        ready!(Pin::new(&mut *stream).poll_flush(cx))?;
        Poll::Ready(Ok(self.owed.take()))
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_flush(cx)
    }

    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx)
    }
}
