//! Large bodies between two plain sockets: the kernel hands their pages on, and nobody here reads or copies them.
//!
//! `splice` moves what one socket has into a pipe, and from there into the other. That is worth two more system calls
//! where it spares copying tens of kilobytes. For bodies of known length alone: whatever has to be looked at, encrypted
//! or compressed is copied. Where there is no `splice` or no pipe, everything is.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::wire::stream::{ReadHalf, WriteHalf};

/// From so many bytes of a body on, moving is cheaper than copying.
pub(crate) const WORTH: u64 = 48 * 1024;

/// Bytes moved at once, and the size of a pipe in bytes.
const AT_ONCE: usize = 256 * 1024;

/// Bytes copied where the kernel does not move them: only as far as it takes until it does again.
const COPIED: usize = 1024;

/// Pipes that one thread has at most; who finds none copies.
const MOST: usize = 64;

/// The pipes of one thread. It keeps as many as were in use at once since the last sweep.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    free: RefCell<Vec<Pipe>>,
    /// Those in use, and the free ones.
    open: Cell<usize>,
    /// Free ones that nobody took since the last sweep.
    spare: Cell<usize>,
    /// The system gave none, as it would not the next body: it is asked again after the next sweep.
    refused: Cell<bool>,
}

#[derive(Debug)]
struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

impl Pipes {
    fn take(&self, make: impl FnOnce() -> io::Result<Pipe>) -> Option<Pipe> {
        let mut free = self.free.borrow_mut();
        if let Some(pipe) = free.pop() {
            self.spare.set(self.spare.get().min(free.len()));
            return Some(pipe);
        }
        if self.open.get() == MOST || self.refused.get() {
            return None;
        }
        let pipe = make().ok();
        match pipe {
            Some(_) => self.open.set(self.open.get() + 1),
            None => self.refused.set(true),
        }
        pipe
    }

    /// Takes back a pipe; one that something is left in is of no use.
    fn give(&self, pipe: Pipe, held: usize) {
        match held {
            0 => self.free.borrow_mut().push(pipe),
            _ => self.open.set(self.open.get() - 1),
        }
    }

    /// Closes those that were not needed since the last time. Called about once a second.
    pub(crate) fn sweep(&self) {
        let mut free = self.free.borrow_mut();
        let spare = self.spare.get();
        free.drain(..spare);
        self.open.set(self.open.get() - spare);
        self.spare.set(free.len());
        self.refused.set(false);
    }
}

/// What one step of a splice came to.
#[derive(Debug)]
pub(crate) enum Moved {
    /// So many bytes were taken from the source.
    In(usize),
    /// So many went to the sink.
    Out(usize),
}

/// Which side of a splice ended or broke.
#[derive(Debug)]
pub(crate) enum Broken {
    /// It has ended before its time.
    SourceEnded,
    Source(io::Error),
    Sink,
}

/// The way of one body from a socket to another.
#[derive(Debug)]
pub(crate) struct Splice<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    pipes: &'a Pipes,
    /// `None` only while it is dropped.
    pipe: Option<Pipe>,
    /// Bytes in the pipe.
    held: usize,
    /// Bytes to come from the source.
    left: u64,
}

impl<'a> Splice<'a> {
    /// For the next `left` bytes of `from`; none if they are to be copied.
    pub(crate) fn between(
        from: &'a ReadHalf<'_>,
        to: &'a WriteHalf<'_>,
        left: u64,
        pipes: &'a Pipes,
    ) -> Option<Self> {
        if left < WORTH {
            return None;
        }
        let (from, to) = (from.plain_socket()?, to.plain_socket()?);
        let pipe = Some(pipes.take(system::pipe)?);
        Some(Self {
            from,
            to,
            pipes,
            pipe,
            held: 0,
            left,
        })
    }

    /// Whether all of it has passed.
    pub(crate) fn is_over(&self) -> bool {
        self.left == 0 && self.held == 0
    }

    /// Whether it is the source that is waited for.
    pub(crate) fn awaits_source(&self) -> bool {
        self.held == 0
    }

    /// Moves bytes on, one way. Not to be asked of one that is over.
    pub(crate) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Moved, Broken>> {
        // Only an empty pipe is filled: of a full one the kernel says what it says of an empty socket.
        match self.held {
            0 => self.poll_take(cx).map_ok(Moved::In),
            _ => self.poll_give(cx).map_ok(Moved::Out),
        }
    }

    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        debug_assert!(self.left > 0, "nothing taken would look like the end");
        let most = usize::try_from(self.left).unwrap_or(AT_ONCE).min(AT_ONCE);
        let pipe = self.pipe.as_ref().expect("only drop takes it");
        let taken = ready!(poll_io(
            cx,
            (self.from, Interest::READABLE),
            TcpStream::poll_read_ready,
            || system::fill(self.from, pipe, most),
        ));
        Poll::Ready(match taken {
            Ok(0) => Err(Broken::SourceEnded),
            Ok(taken) => {
                self.held = taken;
                self.left -= taken as u64;
                Ok(taken)
            }
            Err(error) => Err(Broken::Source(error)),
        })
    }

    fn poll_give(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        let pipe = self.pipe.as_ref().expect("only drop takes it");
        let given = ready!(poll_io(
            cx,
            (self.to, Interest::WRITABLE),
            TcpStream::poll_write_ready,
            || system::splice(&pipe.out, self.to, self.held),
        ));
        Poll::Ready(match given {
            Ok(given @ 1..) => {
                self.held -= given;
                Ok(given)
            }
            Ok(0) | Err(_) => Err(Broken::Sink),
        })
    }
}

impl Drop for Splice<'_> {
    fn drop(&mut self) {
        if let Some(pipe) = self.pipe.take() {
            self.pipes.give(pipe, self.held);
        }
    }
}

/// Does `io` once the socket is ready for it, as often as that turns out to be untrue.
fn poll_io(
    cx: &mut Context<'_>,
    (socket, interest): (&TcpStream, Interest),
    ready: impl Fn(&TcpStream, &mut Context<'_>) -> Poll<io::Result<()>>,
    io: impl Fn() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(ready(socket, cx))?;
        match socket.try_io(interest, &io) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return Poll::Ready(done),
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use super::*;
    use rustix::pipe::{self, PipeFlags, SpliceFlags};

    pub(super) fn pipe() -> io::Result<Pipe> {
        let (out, into) = pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Where this user has all the pipes that one may have, it is of a page or two, and copying is better.
        pipe::fcntl_setpipe_size(&into, AT_ONCE)?;
        Ok(Pipe { out, into })
    }

    /// Moves up to `most` bytes from a socket into an empty pipe.
    pub(super) fn fill(from: impl AsFd, pipe: &Pipe, most: usize) -> io::Result<usize> {
        match splice(&from, &pipe.into, most) {
            // It says so of urgent data too, and does not get past it; who reads does, as if it were not there.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => copy(&from, pipe, most),
            filled => filled,
        }
    }

    fn copy(from: impl AsFd, pipe: &Pipe, most: usize) -> io::Result<usize> {
        let mut bytes = [0; COPIED];
        let read = rustix::io::read(from, &mut bytes[..most.min(COPIED)])?;
        // An empty pipe has room for as much.
        match rustix::io::write(&pipe.into, &bytes[..read])? {
            written if written == read => Ok(read),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    pub(super) fn splice(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
        // Not `MORE`: a backend that pauses would have its last bytes held back.
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        Ok(pipe::splice(from, None, to, None, most, flags)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::*;

    pub(super) fn pipe() -> io::Result<Pipe> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn fill(_: impl AsFd, _: &Pipe, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn splice(_: impl AsFd, _: impl AsFd, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::wire::stream::Stream;

    /// What the proxy has, and what its peer has.
    async fn connection() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (
            near.expect("it accepts").into(),
            far.expect("it connects").0,
        )
    }

    /// Moves what can be moved of a body of which `sent` bytes come and then the end, while nobody reads.
    async fn move_some(pipes: &Pipes, sent: usize, left: u64) -> Result<usize, Broken> {
        let ((mut source, mut backend), (mut sink, _client)) =
            (connection().await, connection().await);
        let sending = tokio::spawn(async move {
            // It may find nobody who reads on.
            let _ = backend.write_all(&vec![b'x'; sent]).await;
        });
        let ((from, _), (_, to)) = (source.split(), sink.split());
        let mut splice = Splice::between(&from, &to, left, pipes).expect("it is worth a pipe");
        let mut total = 0;
        while !splice.is_over() {
            let moved = poll_fn(|cx| match splice.poll_step(cx) {
                Poll::Pending if splice.held > 0 => Poll::Ready(Ok(None)),
                moved => moved.map_ok(Some),
            });
            match moved.await? {
                Some(Moved::In(_)) => {}
                Some(Moved::Out(moved)) => total += moved,
                None => break,
            }
        }
        drop(splice);
        sending.abort();
        Ok(total)
    }

    #[tokio::test]
    async fn a_splice_takes_its_own_bytes_and_leaves_those_behind_them() {
        let pipes = Pipes::default();
        let ((mut source, mut backend), (mut sink, mut client)) =
            (connection().await, connection().await);
        let (left, behind) = (WORTH, b"HTTP/1.1 200 OK");
        let body: Vec<u8> = (0..left).map(|at| (at % 251) as u8).collect();
        let ((from, _), (_, to)) = (source.split(), sink.split());
        let mut splice = Splice::between(&from, &to, left, &pipes).expect("it is worth a pipe");
        let sending = async {
            backend.write_all(&body).await.unwrap();
            backend.write_all(behind).await.unwrap();
        };
        let moving = async {
            while !splice.is_over() {
                poll_fn(|cx| splice.poll_step(cx)).await.unwrap();
            }
        };
        let mut received = vec![0; body.len()];
        let (_, _, read) = tokio::join!(sending, moving, client.read_exact(&mut received));
        read.unwrap();
        assert!(received == body, "the bytes came out as others");
        drop(splice);
        let mut next = vec![0; behind.len()];
        source.read_exact(&mut next).await.unwrap();
        assert_eq!(next, behind);
        assert_eq!((pipes.free.borrow().len(), pipes.open.get()), (1, 1));
    }

    #[tokio::test]
    async fn a_pipe_with_bytes_of_one_body_is_not_used_for_another() {
        let pipes = Pipes::default();
        let stalled = move_some(&pipes, 64 << 20, 64 << 20).await;
        assert!(stalled.is_ok_and(|moved| moved < 64 << 20), "nobody reads");
        assert_eq!((pipes.free.borrow().len(), pipes.open.get()), (0, 0));
    }

    #[tokio::test]
    async fn a_source_that_ends_early_is_found_out() {
        let pipes = Pipes::default();
        let ended = move_some(&pipes, 10_000, WORTH).await;
        assert!(matches!(ended, Err(Broken::SourceEnded)), "{ended:?}");
        assert_eq!((pipes.free.borrow().len(), pipes.open.get()), (1, 1));
    }

    #[tokio::test]
    async fn small_bodies_and_those_without_a_pipe_are_copied() {
        let pipes = Pipes::default();
        let ((mut source, _backend), (mut sink, _client)) =
            (connection().await, connection().await);
        let ((from, _), (_, to)) = (source.split(), sink.split());
        assert!(Splice::between(&from, &to, WORTH - 1, &pipes).is_none());
        let splices: Vec<_> = (0..MOST)
            .map(|_| Splice::between(&from, &to, WORTH, &pipes))
            .collect();
        assert!(splices.iter().all(Option::is_some));
        assert!(Splice::between(&from, &to, WORTH, &pipes).is_none());
        drop(splices);
        assert!(Splice::between(&from, &to, WORTH, &pipes).is_some());
    }

    #[tokio::test]
    async fn pipes_that_nobody_needs_between_two_sweeps_are_closed() {
        let pipes = Pipes::default();
        let taken: Vec<Pipe> = (0..5).filter_map(|_| pipes.take(system::pipe)).collect();
        pipes.sweep();
        assert_eq!(pipes.open.get(), 5, "all are in use");
        for pipe in taken {
            pipes.give(pipe, 0);
        }
        pipes.sweep();
        assert_eq!(pipes.open.get(), 5, "all were needed");
        let two = [(); 2].map(|()| pipes.take(system::pipe).expect("they are free"));
        for pipe in two {
            pipes.give(pipe, 0);
        }
        pipes.sweep();
        assert_eq!((pipes.free.borrow().len(), pipes.open.get()), (2, 2));
        pipes.sweep();
        assert_eq!((pipes.free.borrow().len(), pipes.open.get()), (0, 0));
    }

    #[test]
    fn a_system_without_pipes_is_asked_once_between_two_sweeps() {
        let pipes = Pipes::default();
        let asked = Cell::new(0);
        let refuse = || {
            asked.set(asked.get() + 1);
            Err(io::ErrorKind::QuotaExceeded.into())
        };
        for _ in 0..3 {
            assert!(pipes.take(refuse).is_none());
        }
        assert_eq!(asked.get(), 1);
        pipes.sweep();
        assert!(pipes.take(refuse).is_none());
        assert_eq!(asked.get(), 2);
    }
}
