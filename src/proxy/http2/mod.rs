//! A client's connection that speaks HTTP/2: each of its requests is served like one over a connection of its own.
//!
//! The connection is this task, the requests are tasks beside it, which reach it through its streams only. It ends when
//! nothing was asked for a while, when the proxy drains, and at once when the client floods it or breaks its rules.
//!
//! What the frames of a connection to a backend are held to is here, too: [`Answering`].

mod backend;
mod block;
mod frame;
mod guard;
mod outgoing;
mod sieve;
mod wear;

use std::cell::Cell;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::Request;

use super::connection::{After, Client, LINGER_TIME, Preamble, linger};
use super::deadlines::Deadline;
use super::request;
use super::upgrade;
use super::worker::{ListenerState, Worker};
use crate::wire::http1::MAX_HEAD;
use crate::wire::http2::{Ends, Served};
pub(super) use backend::Answering;
use guard::{Guarded, Offence, Parting, Watch};

/// Requests under way on one connection.
pub(super) const STREAMS: u32 = 100;

/// Requests that were reset before they were taken up, beyond which the h2 crate ends the connection: more than there
/// are before the guard does.
const RESET: usize = 256;

/// Bytes of a head's fields as HTTP/2 counts them, beyond which the h2 crate answers itself: 431 without a word of why.
/// Twice of what a head may have, so that all but the grossest are told, and logged, as over HTTP/1.
const MOST_FIELDS: u32 = 2 * MAX_HEAD as u32;

/// Bytes of a request's body that its client may send before they are passed on.
const STREAM_WINDOW: u32 = 64 * 1024;

/// The same of all requests of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What the frames of a connection's bodies may hold in memory beside their data while they wait to be passed on. A
/// frame counts as 256 bytes less its data, so this is 16,000 of one byte at a time.
const SMALL_FRAMES: usize = 4 * 1024 * 1024;

/// Bytes of one answer that wait for the connection to take them.
const SEND_BUFFER: usize = 32 * 1024;

/// What a client of HTTP/2 begins with, as far as it reads as a head of HTTP/1.
pub(crate) fn is_preface(read: &[u8]) -> bool {
    read.starts_with(b"PRI * HTTP/2.0\r\n\r\n")
}

/// One connection, as its requests share it.
struct Shared {
    worker: Rc<Worker>,
    listener: Rc<ListenerState>,
    peer: IpAddr,
    preamble: Option<Rc<Preamble>>,
    ends: Arc<Ends>,
    deadline: Deadline,
    /// For what the client has begun to send and has to end.
    head: Deadline,
    /// What `head` is set for, as the guard numbers it.
    timed: Cell<Option<u64>>,
    /// Requests under way.
    streams: Cell<usize>,
    watch: Rc<Watch>,
}

/// What happens on a connection.
enum Event {
    /// It may be time to end: a deadline passed, or a request came in spite of a drain.
    Due,
    Offended(Offence),
    /// So much of it was refused that another one is to follow.
    Worn,
    /// It has ended; for this fault of the client, if any.
    Ended(Option<h2::Error>),
}

/// Serves the connection to its end. `ahead` was read of it.
///
/// What stays for as long as the connection does is made where it stays, and made small: most of them are idle.
pub(crate) async fn serve(client: Client, ahead: Box<[u8]>) {
    let ends = Ends {
        peer: client.stream.peer_address(),
        local: client.stream.local_address(),
        encrypted: client.stream.is_tls(),
    };
    let shared = Rc::new(Shared {
        head: client.worker.deadlines.register(),
        timed: Cell::new(None),
        worker: client.worker,
        listener: client.listener,
        peer: client.peer,
        preamble: client.preamble,
        ends: Arc::new(ends),
        deadline: client.deadline,
        streams: Cell::new(0),
        watch: Rc::default(),
    });
    let io = Guarded::new(client.stream, ahead.into(), shared.watch.clone());
    match Box::pin(shake_hands(io, &shared)).await {
        Some(connection) => {
            shared.rest();
            drive(connection, &shared).await;
        }
        None => shared.worker.shared.listener.refused("http2_handshake"),
    }
}

async fn shake_hands(io: Guarded, shared: &Shared) -> Option<Box<Connection<Guarded, Bytes>>> {
    let mut handshake = std::pin::pin!(builder().handshake(io));
    let within = shared.worker.shared.timeouts.client_headers;
    shared.deadline.set(within);
    let shaken = shared.deadline.bound(|cx| handshake.as_mut().poll(cx));
    shaken.await.ok()?.ok().map(Box::new)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_connect_protocol()
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESET)
        .max_header_list_size(MOST_FIELDS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .data_frame_budget(SMALL_FRAMES)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

async fn drive(mut connection: Box<Connection<Guarded, Bytes>>, shared: &Rc<Shared>) {
    let listener = &shared.worker.shared.listener;
    let mut closing = false;
    loop {
        match poll_fn(|cx| poll_event(&mut connection, shared, cx)).await {
            Event::Due if shared.watch.parting.get() != Parting::Not => {
                shared.watch.parting.set(Parting::Over);
            }
            Event::Due if shared.streams.get() == 0 && closing => return,
            Event::Due if shared.streams.get() == 0 || shared.worker.is_draining() => {
                if !closing {
                    closing = true;
                    connection.graceful_shutdown();
                }
                shared.deadline.set(LINGER_TIME);
            }
            Event::Due => shared.rest(),
            Event::Worn => {
                if !std::mem::replace(&mut closing, true) {
                    connection.graceful_shutdown();
                }
            }
            Event::Offended(offence) => {
                tracing::debug!(peer = %shared.peer, ?offence, "HTTP/2 is ended");
                listener.refused(offence.name());
                closing = true;
                connection.abrupt_shutdown(offence.reason());
                shared.deadline.set(LINGER_TIME);
            }
            Event::Ended(fault) => {
                if let Some(error) = fault.filter(|error| !error.is_io() && !error.is_remote()) {
                    tracing::debug!(peer = %shared.peer, %error, "HTTP/2 ended");
                    listener.refused("http2_protocol_error");
                }
                return;
            }
        }
    }
}

fn poll_event(
    connection: &mut Connection<Guarded, Bytes>,
    shared: &Rc<Shared>,
    cx: &mut Context<'_>,
) -> Poll<Event> {
    loop {
        let accepted = connection.poll_accept(cx);
        for _ in 0..shared.watch.malformed.take() {
            shared.worker.shared.listener.refused("http2_malformed");
        }
        return Poll::Ready(match accepted {
            Poll::Ready(Some(Ok((request, mut respond)))) => {
                match respond.poll_reset(&mut Context::from_waker(Waker::noop())) {
                    // Whoever is asked for it would work for nobody.
                    Poll::Ready(Ok(_)) => shared.worker.shared.listener.refused("http2_taken_back"),
                    Poll::Pending | Poll::Ready(Err(_)) => shared.answer(request, respond),
                }
                match shared.worker.is_draining() {
                    true => Event::Due,
                    false => continue,
                }
            }
            Poll::Ready(Some(Err(error))) => Event::Ended(Some(error)),
            Poll::Ready(None) => Event::Ended(None),
            Poll::Pending => match shared.watch.offence.take() {
                Some(offence) => Event::Offended(offence),
                None if shared.watch.worn.take() => Event::Worn,
                None if !shared.lingers() && shared.is_late(cx) => {
                    Event::Offended(Offence::SlowHead)
                }
                None if shared.deadline.poll_expired(cx) => Event::Due,
                None => return Poll::Pending,
            },
        });
    }
}

impl Shared {
    /// Whether there is nothing more to say. Begins the time to hear it.
    fn lingers(&self) -> bool {
        let parting = self.watch.parting.get();
        if parting == Parting::Said {
            self.watch.parting.set(Parting::Lingering);
            self.deadline.set(LINGER_TIME);
        }
        parting != Parting::Not
    }

    /// Begins the time for a next request.
    fn rest(&self) {
        if matches!(self.watch.parting.get(), Parting::Lingering | Parting::Over) {
            return;
        }
        let kept = match self.worker.is_draining() {
            true => LINGER_TIME,
            false => self.worker.shared.timeouts.keep_alive,
        };
        self.deadline.set_idle(kept);
    }

    /// Whether what the client began to send was not ended in time. Only once of each.
    fn is_late(&self, cx: &mut Context<'_>) -> bool {
        let begun = self.watch.begun.get();
        if begun != self.timed.replace(begun) {
            self.head.set(self.worker.shared.timeouts.client_headers);
        }
        let late = begun.is_some() && self.head.poll_expired(cx);
        if late {
            self.watch.begun.set(None);
        }
        late
    }

    /// Has a task of its own answer the request.
    fn answer(self: &Rc<Self>, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let Some(served) = Served::new(request, respond, &self.ends) else {
            self.worker.shared.listener.refused("http2_malformed");
            return;
        };
        let mut client = Client {
            worker: self.worker.clone(),
            stream: served.into(),
            peer: self.peer,
            listener: self.listener.clone(),
            deadline: self.worker.deadlines.register(),
            preamble: self.preamble.clone(),
            begun: false,
            stays: false,
        };
        let under_way = UnderWay::count(self);
        tokio::task::spawn_local(async move {
            // Made where it stays: it is large, and what a task is made of is moved more than once.
            let serving = Box::write(Box::new_uninit(), request::serve(&mut client));
            match Box::into_pin(serving).await {
                After::Tunnel(tunnel) => Box::pin(upgrade::run(client, tunnel)).await,
                // Reset at once, as it may be (RFC 9113, 8.1), many a client would lose the answer.
                After::Linger => Box::pin(linger(client)).await,
                _ => {}
            }
            drop(under_way);
        });
    }
}

/// Counts a request while it is under way.
struct UnderWay(Rc<Shared>);

impl UnderWay {
    fn count(shared: &Rc<Shared>) -> Self {
        shared.streams.set(shared.streams.get() + 1);
        Self(shared.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        if self.0.streams.get() == 0 {
            self.0.rest();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small_but_for_what_the_h2_crate_holds() {
        fn size_of_future<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
            size_of::<F>()
        }
        let (task, connection) = (
            size_of_future(serve),
            size_of::<Connection<Guarded, Bytes>>(),
        );
        assert!(task <= 512, "{task} bytes");
        assert!(connection <= 2_048, "{connection} bytes");
    }
}
