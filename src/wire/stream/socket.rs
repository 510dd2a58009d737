//! Reads and writes of a socket with nothing above it, by the system calls alone.
//!
//! Those of the C library are places where a thread may be cancelled. To be ready for that costs each of them two
//! locked instructions, of which a small request would pay eight.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{Interest, ReadBuf};
use tokio::net::TcpStream;

/// Whether [`poll_read`] is for this buffer: all of its room was written to before. To do that first costs more than is
/// saved.
pub(super) fn suits(buffer: &ReadBuf<'_>) -> bool {
    buffer.initialized().len() == buffer.capacity()
}

/// As [`AsyncRead::poll_read`](tokio::io::AsyncRead::poll_read).
pub(super) fn poll_read(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let room = buffer.initialize_unfilled();
    loop {
        ready!(socket.poll_read_ready(cx))?;
        let read = once(socket, Interest::READABLE, room.len(), || {
            Ok(recv(socket, &mut *room, RecvFlags::empty())?.0)
        });
        if let Some(n) = read? {
            buffer.advance(n);
            return Poll::Ready(Ok(()));
        }
    }
}

/// As [`AsyncWrite::poll_write`](tokio::io::AsyncWrite::poll_write).
pub(super) fn poll_write(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    poll_writing(socket, cx, bytes.len(), || {
        Ok(send(socket, bytes, SendFlags::NOSIGNAL)?)
    })
}

/// As [`AsyncWrite::poll_write_vectored`](tokio::io::AsyncWrite::poll_write_vectored).
pub(super) fn poll_write_vectored(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let length = pieces.iter().map(|piece| piece.len()).sum();
    poll_writing(socket, cx, length, || {
        Ok(rustix::io::writev(socket, pieces)?)
    })
}

fn poll_writing(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    length: usize,
    mut write: impl FnMut() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    // Mostly there is room, so that is waited for behind a try. The runtime has a task that is busy for long take turns
    // with others where it asks whether it may go on: of a task that reads and writes, reading is enough for that.
    loop {
        if let Some(n) = once(socket, Interest::WRITABLE, length, &mut write)? {
            return Poll::Ready(Ok(n));
        }
        ready!(socket.poll_write_ready(cx))?;
    }
}

/// Moves up to `most` bytes; none says that the socket was not ready after all.
fn once(
    socket: &TcpStream,
    interest: Interest,
    most: usize,
    call: impl FnOnce() -> io::Result<usize>,
) -> io::Result<Option<usize>> {
    let mut moved = None;
    let done = socket.try_io(interest, || {
        let n = call()?;
        moved = Some(n);
        // What moves in part has emptied the socket, or filled it: told here, it need not be tried to be learned.
        match 0 < n && n < most {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(()),
        }
    });
    match done {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(moved),
    }
}
