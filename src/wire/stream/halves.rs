//! The two directions of one connection.
//!
//! Over TLS both need the one session: each poll borrows it, and none holds it across an await. Both directions are
//! polled by one task, so it does not matter which of them the socket wakes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, tcp, unix};

use super::tls::Tls;
use super::{Next, poll_next, socket};
use crate::wire::http2::{Asked, Served};

/// The direction towards us.
#[derive(Debug)]
pub struct ReadHalf<'a>(Reading<'a>);

/// The direction from us.
#[derive(Debug)]
pub struct WriteHalf<'a>(Writing<'a>);

#[derive(Debug)]
enum Reading<'a> {
    Plain(tcp::ReadHalf<'a>),
    Unix(unix::ReadHalf<'a>),
    Tls(&'a Tls),
    Served(&'a Served),
    Asked(&'a Asked),
}

#[derive(Debug)]
enum Writing<'a> {
    Plain(tcp::WriteHalf<'a>),
    Unix(unix::WriteHalf<'a>),
    Tls(&'a Tls),
    Served(&'a Served),
    Asked(&'a Asked),
}

impl<'a> ReadHalf<'a> {
    pub(super) fn plain(half: tcp::ReadHalf<'a>) -> Self {
        Self(Reading::Plain(half))
    }

    pub(super) fn unix(half: unix::ReadHalf<'a>) -> Self {
        Self(Reading::Unix(half))
    }

    pub(super) fn tls(tls: &'a Tls) -> Self {
        Self(Reading::Tls(tls))
    }

    pub(super) fn served(stream: &'a Served) -> Self {
        Self(Reading::Served(stream))
    }

    pub(super) fn asked(stream: &'a Asked) -> Self {
        Self(Reading::Asked(stream))
    }

    /// As [`super::Stream::is_http2`].
    pub fn is_http2(&self) -> bool {
        matches!(self.0, Reading::Served(_) | Reading::Asked(_))
    }

    /// The socket, if nothing is above it.
    pub fn plain_socket(&self) -> Option<&TcpStream> {
        match &self.0 {
            Reading::Plain(half) => Some(half.as_ref()),
            _ => None,
        }
    }

    /// As [`super::Stream::poll_read_ready`].
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.0 {
            Reading::Plain(half) => half.as_ref().poll_read_ready(cx),
            Reading::Unix(half) => half.as_ref().poll_read_ready(cx),
            Reading::Tls(tls) => tls.poll_read_ready(cx),
            Reading::Served(stream) => stream.poll_read_ready(cx),
            Reading::Asked(stream) => stream.poll_read_ready(cx),
        }
    }
}

impl<'a> WriteHalf<'a> {
    pub(super) fn plain(half: tcp::WriteHalf<'a>) -> Self {
        Self(Writing::Plain(half))
    }

    pub(super) fn unix(half: unix::WriteHalf<'a>) -> Self {
        Self(Writing::Unix(half))
    }

    pub(super) fn tls(tls: &'a Tls) -> Self {
        Self(Writing::Tls(tls))
    }

    pub(super) fn served(stream: &'a Served) -> Self {
        Self(Writing::Served(stream))
    }

    pub(super) fn asked(stream: &'a Asked) -> Self {
        Self(Writing::Asked(stream))
    }

    /// The socket, if nothing is above it.
    pub fn plain_socket(&self) -> Option<&TcpStream> {
        match &self.0 {
            Writing::Plain(half) => Some(half.as_ref()),
            _ => None,
        }
    }

    /// Ready with as many bytes as a stream of HTTP/2 takes at once, which it keeps for the next write until they are
    /// [left](Self::leave_room); of anything else, nobody knows before it is written.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<usize> {
        match &self.0 {
            Writing::Served(stream) => stream.poll_room(cx),
            _ => Poll::Ready(usize::MAX),
        }
    }

    /// Leaves to other streams of the connection what [`poll_room`](Self::poll_room) was ready with.
    pub fn leave_room(&self) {
        if let Writing::Served(stream) = &self.0 {
            stream.leave_room();
        }
    }

    /// Ready when the peer no longer wants what is written here, as far as that shows without writing: it took its
    /// stream of HTTP/2 back, it reset the connection, or, if `stays` says that it has more to send, ended it. Bytes
    /// that nobody has read hide the latter two.
    pub fn poll_gone(&self, stays: bool, cx: &mut Context<'_>) -> Poll<()> {
        let ended = match &self.0 {
            Writing::Plain(half) => ready!(poll_next(half.as_ref(), cx)),
            Writing::Tls(tls) => ready!(tls.poll_next(cx)),
            Writing::Served(stream) => return stream.poll_gone(cx),
            // Only backends are on these.
            Writing::Unix(_) | Writing::Asked(_) => return Poll::Pending,
        };
        match ended {
            Ok(Next::Bytes) => Poll::Pending,
            Ok(Next::End) if !stays => Poll::Pending,
            Ok(Next::End) | Err(_) => Poll::Ready(()),
        }
    }
}

impl AsyncRead for ReadHalf<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Reading::Plain(half) if socket::suits(buffer) => {
                socket::poll_read(half.as_ref(), cx, buffer)
            }
            Reading::Plain(half) => Pin::new(half).poll_read(cx, buffer),
            Reading::Unix(half) => Pin::new(half).poll_read(cx, buffer),
            Reading::Tls(tls) => tls.poll_read(cx, buffer),
            Reading::Served(stream) => stream.poll_read(cx, buffer),
            Reading::Asked(stream) => stream.poll_read(cx, buffer),
        }
    }
}

/// As those of [`super::Stream`].
impl AsyncWrite for WriteHalf<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Writing::Plain(half) => socket::poll_write(half.as_ref(), cx, bytes),
            Writing::Unix(half) => Pin::new(half).poll_write(cx, bytes),
            Writing::Tls(tls) => tls.poll_write(cx, &[IoSlice::new(bytes)]),
            Writing::Served(stream) => stream.poll_write(cx, bytes),
            Writing::Asked(stream) => stream.poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Writing::Plain(half) => socket::poll_write_vectored(half.as_ref(), cx, pieces),
            Writing::Unix(half) => Pin::new(half).poll_write_vectored(cx, pieces),
            Writing::Tls(tls) => tls.poll_write(cx, pieces),
            Writing::Served(stream) => stream.poll_write(cx, super::first(pieces)),
            Writing::Asked(stream) => stream.poll_write(cx, super::first(pieces)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Writing::Plain(half) => Pin::new(half).poll_flush(cx),
            Writing::Unix(half) => Pin::new(half).poll_flush(cx),
            Writing::Tls(tls) => tls.poll_flush(cx),
            Writing::Served(_) | Writing::Asked(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Writing::Plain(half) => Pin::new(half).poll_shutdown(cx),
            Writing::Unix(half) => Pin::new(half).poll_shutdown(cx),
            Writing::Tls(tls) => tls.poll_shutdown(cx),
            Writing::Served(_) | Writing::Asked(_) => Poll::Ready(Ok(())),
        }
    }
}
