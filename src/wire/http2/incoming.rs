//! From the frames of a stream to the bytes of a message.

use std::io::{self, Write};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::RecvStream;
use tokio::io::ReadBuf;

use super::trailers;

/// How the body follows its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// There is none.
    Empty,
    /// As it is: the head tells its length, or it is one way of a tunnel. Trailers behind it, of which nobody told, are
    /// dropped, for only chunks carry any in HTTP/1.1 (RFC 9110, 6.5.1, lets a recipient do so).
    Plain,
    /// In chunks, trailers behind them.
    Chunked,
}

/// A message on its way in. Its head was read already.
#[derive(Debug)]
pub(super) struct Incoming {
    body: RecvStream,
    shape: Shape,
    /// What frames the data: a head, the size of a chunk, the end of one, trailers. Given out before `data`.
    framing: Vec<u8>,
    /// Bytes of it that were given out.
    given: usize,
    /// Of one frame.
    data: Bytes,
    ended: bool,
}

impl Incoming {
    pub(super) fn new(head: Vec<u8>, shape: Shape, body: RecvStream) -> Self {
        Self {
            body,
            shape,
            framing: head,
            given: 0,
            data: Bytes::new(),
            ended: shape == Shape::Empty,
        }
    }

    fn holds_bytes(&self) -> bool {
        self.given < self.framing.len() || !self.data.is_empty()
    }

    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.holds_bytes() && !self.ended {
            ready!(self.poll_frame(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Fills `buffer` with what is there.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let empty = buffer.filled().len();
        while buffer.remaining() > 0 {
            if self.holds_bytes() {
                self.give(buffer)?;
                continue;
            }
            if self.ended {
                break;
            }
            match self.poll_frame(cx) {
                Poll::Ready(Ok(())) => {}
                // An error comes again with the next read.
                _ if buffer.filled().len() > empty => break,
                unread => return unread,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        let framing = &self.framing[self.given..];
        if !framing.is_empty() {
            let n = framing.len().min(buffer.remaining());
            buffer.put_slice(&framing[..n]);
            self.given += n;
            return Ok(());
        }
        let n = self.data.len().min(buffer.remaining());
        buffer.put_slice(&self.data[..n]);
        self.data.advance(n);
        if self.data.is_empty() && self.shape == Shape::Chunked {
            self.frame(b"\r\n");
        }
        let released = self.body.flow_control().release_capacity(n);
        released.map_err(io::Error::other)
    }

    /// Takes the next frame. Nothing is left of the one before.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.body.poll_data(cx)) {
            Some(Ok(data)) => {
                if self.shape == Shape::Chunked && !data.is_empty() {
                    self.frame(b"");
                    // Writing to a Vec cannot fail.
                    let _ = write!(self.framing, "{:x}\r\n", data.len());
                }
                self.data = data;
                return Poll::Ready(Ok(()));
            }
            Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            None => {}
        }
        if self.shape == Shape::Chunked {
            let read = ready!(self.body.poll_trailers(cx)).map_err(io::Error::other)?;
            self.frame(b"");
            trailers::write(&read.unwrap_or_default(), &mut self.framing);
        }
        self.ended = true;
        Poll::Ready(Ok(()))
    }

    fn frame(&mut self, bytes: &[u8]) {
        self.framing.clear();
        self.framing.extend_from_slice(bytes);
        self.given = 0;
    }
}
