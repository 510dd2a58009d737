//! The bytes of a connection, whatever carries them: the socket itself, TLS over it, or a stream of HTTP/2.
//!
//! The request path asks for more than reading and writing: whether there is something to read, of a connection that
//! holds no buffer for it; whether an idle one is still open; both directions at once, on one thread, without a lock.
//! Over TLS, what was decrypted already counts as there to be read, and an end that the peer did not announce is an
//! error, for it may have been cut there.

mod halves;
mod socket;
mod tls;

#[cfg(test)]
mod tests;

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use super::http2::{Asked, Served};
pub use halves::{ReadHalf, WriteHalf};
use tls::Tls;

/// A connection to a client or a backend.
#[derive(Debug)]
pub struct Stream(Carrier);

/// A new carrier is a variant here and one in each half.
#[derive(Debug)]
enum Carrier {
    Plain(TcpStream),
    /// Boxed for the same reason as the next.
    Unix(Box<UnixStream>),
    /// Boxed, so that a plain connection pays nothing for it.
    Tls(Box<Tls>),
    /// One request of a client's connection.
    Served(Box<Served>),
    /// One request to a backend.
    Asked(Box<Asked>),
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Self(Carrier::Plain(socket))
    }
}

impl From<UnixStream> for Stream {
    fn from(socket: UnixStream) -> Self {
        Self(Carrier::Unix(Box::new(socket)))
    }
}

impl From<TlsStream<TcpStream>> for Stream {
    /// Behind the handshake.
    fn from(stream: TlsStream<TcpStream>) -> Self {
        Self::made_by(0, stream)
    }
}

impl From<Served> for Stream {
    fn from(stream: Served) -> Self {
        Self(Carrier::Served(Box::new(stream)))
    }
}

impl From<Asked> for Stream {
    fn from(stream: Asked) -> Self {
        Self(Carrier::Asked(Box::new(stream)))
    }
}

impl Stream {
    /// None for a stream that shares its socket with others.
    fn with_socket<T>(&self, of: impl FnOnce(SockRef<'_>) -> T) -> Option<T> {
        match &self.0 {
            Carrier::Plain(socket) => Some(of(SockRef::from(socket))),
            Carrier::Unix(socket) => Some(of(SockRef::from(&**socket))),
            Carrier::Tls(tls) => Some(tls.with_socket(|socket| of(SockRef::from(socket)))),
            Carrier::Served(_) | Carrier::Asked(_) => None,
        }
    }

    /// The socket, if nothing is above it.
    ///
    /// # Errors
    /// Gives back a stream that is encrypted.
    pub fn into_socket(self) -> Result<TcpStream, Self> {
        match self.0 {
            Carrier::Plain(socket) => Ok(socket),
            other => Err(Self(other)),
        }
    }

    /// Where the other side is, if it has an IP address and is still there.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        if let Carrier::Served(stream) = &self.0 {
            return stream.ends().peer;
        }
        self.with_socket(|socket| socket.peer_addr().ok()?.as_socket())?
    }

    /// Where this side is, if it has an IP address.
    pub fn local_address(&self) -> Option<SocketAddr> {
        if let Carrier::Served(stream) = &self.0 {
            return stream.ends().local;
        }
        self.with_socket(|socket| socket.local_addr().ok()?.as_socket())?
    }

    /// Whether what passes is encrypted.
    pub fn is_tls(&self) -> bool {
        match &self.0 {
            Carrier::Plain(_) | Carrier::Unix(_) => false,
            Carrier::Tls(_) => true,
            Carrier::Served(stream) => stream.ends().encrypted,
            Carrier::Asked(stream) => stream.is_encrypted(),
        }
    }

    /// Whether it is a stream of HTTP/2, which carries one message each way.
    pub fn is_http2(&self) -> bool {
        matches!(self.0, Carrier::Served(_) | Carrier::Asked(_))
    }

    /// Notes that what was asked on it was not answered in time: what it shares with others may be dead.
    pub fn give_up(&self) {
        if let Carrier::Asked(stream) = &self.0 {
            stream.give_up();
        }
    }

    /// Whether a request to switch protocols can be made on it, before any was.
    pub fn takes_tunnels(&self) -> bool {
        match &self.0 {
            Carrier::Asked(stream) => stream.takes_tunnels(),
            Carrier::Plain(_) | Carrier::Unix(_) | Carrier::Tls(_) => true,
            Carrier::Served(_) => false,
        }
    }

    /// What made it encrypted, as [`made_by`](Self::made_by) was told; 0 of one that is not, or was not told.
    pub fn identity(&self) -> u64 {
        match &self.0 {
            Carrier::Plain(_) | Carrier::Unix(_) | Carrier::Served(_) | Carrier::Asked(_) => 0,
            Carrier::Tls(tls) => tls.identity(),
        }
    }

    /// An encrypted connection, by who made it: it serves those alone who want the same.
    pub fn made_by(identity: u64, stream: TlsStream<TcpStream>) -> Self {
        Self(Carrier::Tls(Box::new(Tls::new(stream, identity))))
    }

    /// Whether both sides agreed on `protocol` in the handshake (ALPN), such as `h2`.
    pub fn agreed_on(&self, protocol: &[u8]) -> bool {
        match &self.0 {
            Carrier::Plain(_) | Carrier::Unix(_) | Carrier::Served(_) | Carrier::Asked(_) => false,
            Carrier::Tls(tls) => tls.with_alpn(|agreed| agreed == Some(protocol)),
        }
    }

    /// Ready when a read may bring bytes, the end or an error. It may also bring nothing: the runtime knows of
    /// readiness left over, and TLS has messages of its own.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.0 {
            Carrier::Plain(socket) => socket.poll_read_ready(cx),
            Carrier::Unix(socket) => socket.poll_read_ready(cx),
            Carrier::Tls(tls) => tls.poll_read_ready(cx),
            Carrier::Served(stream) => stream.poll_read_ready(cx),
            Carrier::Asked(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Whether there are bytes to read, as the kernel knows, and not only the runtime.
    pub fn has_input(&self) -> bool {
        let decrypted = match &self.0 {
            Carrier::Plain(_) | Carrier::Unix(_) | Carrier::Served(_) | Carrier::Asked(_) => false,
            Carrier::Tls(tls) => tls.has_decrypted(),
        };
        decrypted
            || self
                .with_socket(|socket| matches!(socket.peek(&mut [MaybeUninit::uninit()]), Ok(1..)))
                .unwrap_or(false)
    }

    /// Whether nothing arrived while nobody asked for anything: neither the connection's end nor bytes. Asks the
    /// runtime what it knows, which costs no system call unless something did arrive.
    pub fn is_quiet(&mut self) -> bool {
        // What the runtime does not know to be there is not looked for in a socket.
        if matches!(self.0, Carrier::Plain(_) | Carrier::Unix(_)) {
            return self.is_open_and_empty();
        }
        match self.poll_read_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => true,
            // It may be readiness left over from the last answer.
            Poll::Ready(_) => self.is_open_and_empty(),
        }
    }

    /// Whether the connection is open and holds no byte. It is useless for more if it does.
    pub fn is_open_and_empty(&mut self) -> bool {
        match &mut self.0 {
            Carrier::Plain(socket) => {
                matches!(socket.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            Carrier::Unix(socket) => {
                matches!(socket.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            Carrier::Tls(tls) => tls.is_open_and_empty(),
            // Only its own message is in it.
            Carrier::Served(_) => false,
            // Nobody has spoken on it yet.
            Carrier::Asked(_) => true,
        }
    }

    /// Whether bytes of a write that has not ended may have reached the peer already.
    pub fn is_writing(&self) -> bool {
        match &self.0 {
            Carrier::Plain(_) | Carrier::Unix(_) => false,
            Carrier::Tls(tls) => tls.is_writing(),
            Carrier::Served(stream) => stream.is_writing(),
            Carrier::Asked(stream) => stream.is_writing(),
        }
    }

    /// Has the connection reset when it is dropped, instead of closed. A stream of HTTP/2 always is, unless its message
    /// is whole.
    pub fn reset_on_drop(&self) {
        // If it fails the connection is gone already.
        let _ = self.with_socket(|socket| socket.set_linger(Some(Duration::ZERO)));
    }

    /// Both directions, for one task to use at the same time.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        match &mut self.0 {
            Carrier::Plain(socket) => {
                let (read, write) = socket.split();
                (ReadHalf::plain(read), WriteHalf::plain(write))
            }
            Carrier::Unix(socket) => {
                let (read, write) = socket.split();
                (ReadHalf::unix(read), WriteHalf::unix(write))
            }
            Carrier::Tls(tls) => (ReadHalf::tls(tls), WriteHalf::tls(tls)),
            Carrier::Served(stream) => (ReadHalf::served(stream), WriteHalf::served(stream)),
            Carrier::Asked(stream) => (ReadHalf::asked(stream), WriteHalf::asked(stream)),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Carrier::Plain(socket) if socket::suits(buffer) => {
                socket::poll_read(socket, cx, buffer)
            }
            Carrier::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Carrier::Unix(socket) => Pin::new(socket).poll_read(cx, buffer),
            Carrier::Tls(tls) => tls.poll_read(cx, buffer),
            Carrier::Served(stream) => stream.poll_read(cx, buffer),
            Carrier::Asked(stream) => stream.poll_read(cx, buffer),
        }
    }
}

/// A write has ended when the kernel has all of what it says was written: nothing has to be flushed. One that is
/// pending is to be repeated with the same bytes, or more behind them.
impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Carrier::Plain(socket) => socket::poll_write(socket, cx, bytes),
            Carrier::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
            Carrier::Tls(tls) => tls.poll_write(cx, &[IoSlice::new(bytes)]),
            Carrier::Served(stream) => stream.poll_write(cx, bytes),
            Carrier::Asked(stream) => stream.poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Carrier::Plain(socket) => socket::poll_write_vectored(socket, cx, pieces),
            Carrier::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Carrier::Tls(tls) => tls.poll_write(cx, pieces),
            Carrier::Served(stream) => stream.poll_write(cx, first(pieces)),
            Carrier::Asked(stream) => stream.poll_write(cx, first(pieces)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Carrier::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Carrier::Unix(socket) => Pin::new(socket).poll_flush(cx),
            Carrier::Tls(tls) => tls.poll_flush(cx),
            Carrier::Served(_) | Carrier::Asked(_) => Poll::Ready(Ok(())),
        }
    }

    /// Ends this side's direction; over TLS, with a close_notify in front of the end.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Carrier::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Carrier::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Carrier::Tls(tls) => tls.poll_shutdown(cx),
            Carrier::Served(stream) => stream.poll_shutdown(),
            Carrier::Asked(stream) => stream.poll_shutdown(),
        }
    }
}

/// What there is to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Bytes,
    End,
}

/// Tells what a read would find, once it would find anything, and leaves it there.
fn poll_next(socket: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<Next>> {
    let mut byte = [MaybeUninit::uninit()];
    let found = socket.poll_peek(cx, &mut ReadBuf::uninit(&mut byte));
    found.map_ok(|n| match n {
        0 => Next::End,
        _ => Next::Bytes,
    })
}

/// The first piece that is not empty.
fn first<'a>(pieces: &'a [IoSlice<'a>]) -> &'a [u8] {
    let piece = pieces.iter().find(|piece| !piece.is_empty());
    piece.map_or(&[], |piece| piece)
}
