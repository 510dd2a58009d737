//! One request to a backend over HTTP/2: as a connection of HTTP/1.1, to which a request is written and from which its
//! answer is read.
//!
//! What is dropped before both are whole is reset, which costs the other requests of the connection nothing.

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::Response;
use tokio::io::ReadBuf;

use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::request::interpret_request;
use super::response::{write_head, write_switch};
use super::start::Start;
use crate::wire::body::BodyKind;
use crate::wire::head::RequestHead;
use crate::wire::http1::{BodyReader, Scan, parse_request};
use crate::wire::websocket;

thread_local! {
    /// Where heads are parsed. Each is another form of itself a moment later, but the room for one stays.
    static HEAD: RefCell<RequestHead> = RefCell::default();
}

/// A place for one request on a connection to a backend.
#[derive(Debug)]
pub struct Asked {
    writing: RefCell<Writing>,
    reading: RefCell<Reading>,
    /// Whether the request was a HEAD.
    head_only: Cell<bool>,
    /// What makes a success of it a switch of protocols, if it asks for one.
    accept: RefCell<Option<String>>,
    /// Whether it goes over TLS.
    encrypted: bool,
    /// Of its connection, on which this counts it.
    pulse: Arc<Pulse>,
    /// How often that was heard when the request's head was sent.
    heard: Cell<Option<u64>>,
}

/// Whether a connection to a backend is of use, as far as its requests and who reads it can tell. Each request under
/// way holds it.
#[derive(Debug, Default)]
pub struct Pulse {
    beats: AtomicU64,
    left: AtomicBool,
}

impl Pulse {
    /// Something was read from the connection.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// The connection is to get no more requests.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Whether it gets no more.
    pub fn is_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
enum Writing {
    Head(SendRequest<Bytes>, Start),
    Body(Box<Outgoing>),
    Tunnel(Box<Outgoing>),
    Done,
}

#[derive(Debug)]
enum Reading {
    /// The request's head was not sent yet.
    Unasked,
    Head(ResponseFuture),
    /// An interim head was read of it, in these bytes.
    Interim(ResponseFuture, Vec<u8>, usize),
    Message(Box<Incoming>),
}

impl Asked {
    /// Through `connection`, which is ready for one more. `pulse` is kept as long as this is.
    pub fn new(connection: SendRequest<Bytes>, encrypted: bool, pulse: Arc<Pulse>) -> Self {
        Self {
            writing: RefCell::new(Writing::Head(connection, Start::default())),
            reading: RefCell::new(Reading::Unasked),
            head_only: Cell::new(false),
            accept: RefCell::default(),
            encrypted,
            pulse,
            heard: Cell::new(None),
        }
    }

    /// Whether the connection beneath is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// The answer did not come in time. If nothing else has come since it was asked for, the connection is left: nobody
    /// may ever say that it is dead, as a firewall on the way that forgot it drops all that is sent.
    pub fn give_up(&self) {
        let beats = self.pulse.beats.load(Ordering::Relaxed);
        if self.heard.get() == Some(beats) {
            self.pulse.leave();
        }
    }

    /// Whether the backend takes an extended CONNECT (RFC 8441, 3). Asked before the request is written.
    pub fn takes_tunnels(&self) -> bool {
        match &*self.writing.borrow() {
            Writing::Head(connection, _) => connection.is_extended_connect_protocol_enabled(),
            Writing::Body(_) | Writing::Tunnel(_) | Writing::Done => false,
        }
    }

    /// Writes the request's bytes. One that is pending is to be repeated with the same bytes.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut writing = self.writing.borrow_mut();
        match &mut *writing {
            Writing::Head(..) => {
                Poll::Ready(HEAD.with_borrow_mut(|head| self.write_head(&mut writing, bytes, head)))
            }
            Writing::Body(body) => {
                let taken = ready!(body.poll_write(cx, bytes))?;
                if body.is_done() {
                    *writing = Writing::Done;
                }
                Poll::Ready(Ok(taken))
            }
            Writing::Tunnel(way) => way.poll_write(cx, bytes),
            Writing::Done => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Takes what belongs to the head, and sends it once it is whole.
    fn write_head(
        &self,
        writing: &mut Writing,
        bytes: &[u8],
        head: &mut RequestHead,
    ) -> io::Result<usize> {
        let Writing::Head(connection, start) = writing else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let (taken, whole) = start.take(bytes, |bytes| {
            parse_request(bytes, &mut Scan::default(), head)
        })?;
        if !whole {
            return Ok(taken);
        }
        let accept = websocket::key_of(head).map(websocket::accept);
        let tunnel = accept.is_some();
        let ends = head.body() == BodyKind::None && !tunnel;
        self.accept.replace(accept);
        self.head_only.set(head.method() == "HEAD");
        let request = interpret_request(head, self.encrypted).map_err(io::Error::other)?;
        let beats = self.pulse.beats.load(Ordering::Relaxed);
        self.heard.set(Some(beats));
        let sent = connection.send_request(request, ends);
        let (answer, stream) = sent.map_err(io::Error::other)?;
        *self.reading.borrow_mut() = Reading::Head(answer);
        *writing = match ends {
            true => Writing::Done,
            false if tunnel => Writing::Tunnel(Box::new(Outgoing::tunnel(stream))),
            false => {
                let reader = BodyReader::request(head.body());
                Writing::Body(Box::new(Outgoing::of_request(stream, reader)))
            }
        };
        Ok(taken)
    }

    /// Whether bytes of a write that has not ended may have reached the backend already.
    pub fn is_writing(&self) -> bool {
        match &*self.writing.borrow() {
            Writing::Body(way) | Writing::Tunnel(way) => way.is_pending(),
            Writing::Head(..) | Writing::Done => false,
        }
    }

    /// Ends the way to the backend, if it is a tunnel's: any other message tells its end itself.
    pub fn poll_shutdown(&self) -> Poll<io::Result<()>> {
        let mut writing = self.writing.borrow_mut();
        let Writing::Tunnel(way) = &mut *writing else {
            return Poll::Ready(Ok(()));
        };
        let ended = way.end();
        *writing = Writing::Done;
        Poll::Ready(ended)
    }

    /// As [`Stream::poll_read_ready`](crate::wire::stream::Stream::poll_read_ready).
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut reading = self.reading.borrow_mut();
        ready!(self.poll_head(&mut reading, cx))?;
        match &mut *reading {
            Reading::Message(message) => message.poll_ready(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Reads the answer's bytes.
    pub fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut reading = self.reading.borrow_mut();
        ready!(self.poll_head(&mut reading, cx))?;
        match &mut *reading {
            Reading::Message(message) => message.poll_read(cx, buffer),
            Reading::Interim(_, bytes, given) => {
                let left = &bytes[*given..];
                let n = left.len().min(buffer.remaining());
                buffer.put_slice(&left[..n]);
                *given += n;
                Poll::Ready(Ok(()))
            }
            Reading::Unasked | Reading::Head(_) => Poll::Pending,
        }
    }

    /// Goes on to the next head, unless one is there whose bytes are not all read.
    fn poll_head(&self, reading: &mut Reading, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match reading {
            Reading::Unasked => return Poll::Pending,
            Reading::Message(_) => return Poll::Ready(Ok(())),
            Reading::Interim(_, bytes, given) if *given < bytes.len() => {
                return Poll::Ready(Ok(()));
            }
            Reading::Interim(..) => {
                if let Reading::Interim(answer, ..) = std::mem::replace(reading, Reading::Unasked) {
                    *reading = Reading::Head(answer);
                }
            }
            Reading::Head(_) => {}
        }
        let Reading::Head(answer) = reading else {
            return Poll::Pending;
        };
        if let Poll::Ready(Some(interim)) = answer.poll_informational(cx) {
            let (parts, ()) = interim.map_err(io::Error::other)?.into_parts();
            let mut bytes = Vec::with_capacity(128);
            write_head(&parts, true, true, &mut bytes);
            if let Reading::Head(answer) = std::mem::replace(reading, Reading::Unasked) {
                *reading = Reading::Interim(answer, bytes, 0);
            }
            return Poll::Ready(Ok(()));
        }
        let response = ready!(std::pin::Pin::new(answer).poll(cx)).map_err(io::Error::other)?;
        *reading = Reading::Message(Box::new(self.message(response)));
        Poll::Ready(Ok(()))
    }

    fn message(&self, response: Response<RecvStream>) -> Incoming {
        let (parts, body) = response.into_parts();
        let mut head = Vec::with_capacity(512);
        let accept = self.accept.borrow();
        let shape = match accept.as_deref() {
            Some(accept) if parts.status.is_success() => write_switch(&parts, accept, &mut head),
            _ => write_head(
                &parts,
                body.is_end_stream(),
                self.head_only.get(),
                &mut head,
            ),
        };
        Incoming::new(head, shape, body)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Writing::Body(way) | Writing::Tunnel(way) = self.writing.get_mut() {
            way.reset(Reason::CANCEL);
        }
    }
}

/// How a backend made a request fail while its connection still stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It did not act on the request, which may go elsewhere, whatever its method (RFC 9113, 8.7).
    TurnedAway,
    /// It reset the stream.
    Reset,
    /// What it sent breaks the rules of HTTP/2.
    Malformed,
}

impl Fault {
    /// Of an error that a request to a backend met; none if the connection ended, or is none of HTTP/2.
    pub fn of(error: &io::Error) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<h2::Error>()?;
        if error.is_library() {
            return Some(Self::Malformed);
        }
        let refused = error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM);
        error.is_remote().then_some(match refused {
            true => Self::TurnedAway,
            false => Self::Reset,
        })
    }
}
