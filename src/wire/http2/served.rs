//! One request of an HTTP/2 client: its stream, as the bytes of a connection of HTTP/1.1 with one request on it.
//!
//! Reading takes from the window what was read and no more, writing waits for the client's: a slow side slows the
//! other, as over a connection of its own. What is dropped before its answer is whole is reset.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Method, Request};
use tokio::io::ReadBuf;

use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::request::write_head;
use super::response::interpret;
use super::start::Start;
use crate::wire::body::BodyKind;
use crate::wire::head::ResponseHead;
use crate::wire::http1::{BodyReader, Scan, parse_response};

/// The connection beneath, as far as its streams are asked for it.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The client's address, if it has one.
    pub peer: Option<SocketAddr>,
    /// This side's.
    pub local: Option<SocketAddr>,
    /// Whether what passes is encrypted.
    pub encrypted: bool,
}

thread_local! {
    /// Where heads are parsed. Each is another form of itself a moment later, but the room for one stays.
    static HEAD: RefCell<ResponseHead> = RefCell::default();
}

/// A request and the way back. Both directions are used by one task, at the same time.
#[derive(Debug)]
pub struct Served {
    reading: RefCell<Incoming>,
    writing: RefCell<Writing>,
    ends: Arc<Ends>,
}

impl Served {
    /// Takes over what the client asked; none if that was malformed, and its stream is reset.
    pub fn new(
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        ends: &Arc<Ends>,
    ) -> Option<Self> {
        let (parts, body) = request.into_parts();
        let mut head = Vec::with_capacity(512);
        match write_head(&parts, body.is_end_stream(), &mut head) {
            Ok(shape) => Some(Self {
                reading: RefCell::new(Incoming::new(head, shape, body)),
                writing: RefCell::new(Writing {
                    state: State::Head(respond, Start::default()),
                    head_only: parts.method == Method::HEAD,
                }),
                ends: ends.clone(),
            }),
            Err(error) => {
                tracing::debug!(%error, "a malformed request over HTTP/2");
                respond.send_reset(Reason::PROTOCOL_ERROR);
                None
            }
        }
    }

    /// Of the connection that it came over.
    pub fn ends(&self) -> &Ends {
        &self.ends
    }

    /// As [`Stream::poll_read_ready`](crate::wire::stream::Stream::poll_read_ready).
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.reading.borrow_mut().poll_ready(cx)
    }

    /// Reads the request's bytes.
    pub fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reading.borrow_mut().poll_read(cx, buffer)
    }

    /// Writes the answer's bytes. One that is pending is to be repeated with the same bytes.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writing.borrow_mut().poll_write(cx, bytes)
    }

    /// As [`WriteHalf::poll_room`](crate::wire::stream::WriteHalf::poll_room).
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<usize> {
        match &mut self.writing.borrow_mut().state {
            State::Body(way) | State::Tunnel(way) => way.poll_room(cx),
            State::Head(..) | State::Done => Poll::Ready(usize::MAX),
        }
    }

    /// As [`WriteHalf::leave_room`](crate::wire::stream::WriteHalf::leave_room).
    pub fn leave_room(&self) {
        match &mut self.writing.borrow_mut().state {
            State::Body(way) | State::Tunnel(way) => way.leave_room(),
            State::Head(..) | State::Done => {}
        }
    }

    /// Whether bytes of a write that has not ended may have reached the client already.
    pub fn is_writing(&self) -> bool {
        match &self.writing.borrow().state {
            State::Body(way) | State::Tunnel(way) => way.is_pending(),
            State::Head(..) | State::Done => false,
        }
    }

    /// Ends the way to the client, if it is a tunnel's: any other message tells its end itself.
    pub fn poll_shutdown(&self) -> Poll<io::Result<()>> {
        let writing = &mut *self.writing.borrow_mut();
        let State::Tunnel(way) = &mut writing.state else {
            return Poll::Ready(Ok(()));
        };
        let ended = way.end();
        writing.state = State::Done;
        Poll::Ready(ended)
    }

    /// Ready when the client no longer wants the answer, or is gone.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.writing.borrow_mut().poll_gone(cx)
    }
}

/// The way to the client.
#[derive(Debug)]
struct Writing {
    state: State,
    /// Whether the request was a HEAD.
    head_only: bool,
}

#[derive(Debug)]
enum State {
    /// The final head is still to come.
    Head(SendResponse<Bytes>, Start),
    Body(Box<Outgoing>),
    /// The head said that it is one.
    Tunnel(Box<Outgoing>),
    Done,
}

impl Writing {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.state {
            State::Head(..) => {
                Poll::Ready(HEAD.with_borrow_mut(|head| self.write_head(bytes, head)))
            }
            State::Body(body) => {
                let taken = ready!(body.poll_write(cx, bytes))?;
                if body.is_done() {
                    self.state = State::Done;
                }
                Poll::Ready(Ok(taken))
            }
            State::Tunnel(way) => way.poll_write(cx, bytes),
            State::Done => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Takes what belongs to the head, and sends it once it is whole.
    fn write_head(&mut self, bytes: &[u8], head: &mut ResponseHead) -> io::Result<usize> {
        let State::Head(respond, start) = &mut self.state else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let method = if self.head_only { "HEAD" } else { "GET" };
        let (taken, whole) = start.take(bytes, |bytes| {
            parse_response(bytes, &mut Scan::default(), method, head)
        })?;
        if !whole {
            return Ok(taken);
        }
        if head.is_interim() {
            let sent = respond.send_informational(interpret(head));
            return sent.map(|()| taken).map_err(io::Error::other);
        }
        let tunnel = head.status() == 101;
        let ends = head.body() == BodyKind::None && !tunnel;
        let stream = respond.send_response(interpret(head), ends);
        let stream = stream.map_err(io::Error::other)?;
        self.state = match ends {
            true => State::Done,
            false if tunnel => State::Tunnel(Box::new(Outgoing::tunnel(stream))),
            false => {
                let reader = BodyReader::response(head.body());
                State::Body(Box::new(Outgoing::new(stream, reader)))
            }
        };
        Ok(taken)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Head(respond, _) => respond.poll_reset(cx).map(|_| ()),
            State::Body(way) | State::Tunnel(way) => way.poll_gone(cx),
            State::Done => Poll::Pending,
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        match &mut self.state {
            State::Head(respond, _) => respond.send_reset(Reason::INTERNAL_ERROR),
            State::Body(body) => body.reset(Reason::INTERNAL_ERROR),
            // As a connection of its own would be reset (RFC 8441, 5).
            State::Tunnel(way) => way.reset(Reason::CANCEL),
            State::Done => {}
        }
    }
}
