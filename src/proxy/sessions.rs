//! Connections to backends that speak HTTP/2, of one thread: shared by as many requests as the backend allows.
//!
//! While one is being opened, requests to the same backend wait for it instead of opening more. One that the backend
//! says goodbye on, or that is lost, gets no new request; those it has go on. Dropped here, it ends with its last one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use tokio::sync::Notify;

use super::dial;
use super::failure::Failure;
use super::http2::Answering;
use super::proxied::Telling;
use super::worker::Worker;
use crate::backend::{Backend, Origin};
use crate::routing::PoolEntry;
use crate::wire::http1::MAX_HEAD;
use crate::wire::http2::{Asked, Pulse};
use crate::wire::stream::Stream;

/// Requests under way on one connection, if the backend allows so many.
const STREAMS: usize = 100;

/// How many the backend allows before it has said so: a number that it cannot say.
const UNSAID: usize = usize::MAX - 1;

/// Bytes of an answer that its backend may send before the client takes them.
const STREAM_WINDOW: u32 = 128 * 1024;

/// As much for all of them: clients that do not read hold up nobody else on the connection.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;

/// What the frames of answers may hold in memory beside their data while they wait to be passed on. A frame counts as
/// 256 bytes less its data: so this is fifteen clients that do not read messages of 15 bytes.
const SMALL_FRAMES: usize = 32 * 1024 * 1024;

/// Bytes of one request that wait for the connection to take them.
const SEND_BUFFER: usize = 64 * 1024;

/// A backend, how its connections are encrypted, and whom it was told that they are for.
type Key = (u64, u64, Option<Origin>);

/// The sessions of this thread.
#[derive(Default)]
pub(crate) struct Sessions(RefCell<HashMap<Key, Shelf>>);

struct Shelf {
    backend: Arc<Backend>,
    open: Vec<Session>,
    /// There while one is being opened.
    opening: Option<Rc<Notify>>,
}

struct Session {
    connection: SendRequest<Bytes>,
    encrypted: bool,
    peer: Option<SocketAddr>,
    /// One more for each request under way.
    pulse: Arc<Pulse>,
    /// Whether it took no request from the start.
    full_at_first: bool,
    /// How long it is kept without any.
    kept: Duration,
    unused_since: Option<Instant>,
}

/// Who opens a connection.
enum Turn<'a> {
    Ours(Opening<'a>),
    Theirs(Rc<Notify>),
}

/// Tells those who wait, when dropped.
struct Opening<'a>(&'a Sessions, Key);

/// A place on a connection to `backend`: one that is there, or comes to be there, or a new one by `dial`.
pub(crate) async fn connect(
    worker: &Worker,
    pool: &PoolEntry,
    backend: &Arc<Backend>,
    telling: Option<&Telling>,
    dial: impl Future<Output = Result<Stream, Failure>>,
) -> Result<Stream, Failure> {
    let sessions = &worker.sessions;
    let Some(key) = key(pool, backend, telling) else {
        return Ok(Session::open(dial.await?, Duration::ZERO).await?.place());
    };
    let opening = loop {
        match sessions.begin(backend, key) {
            Turn::Ours(opening) => break opening,
            Turn::Theirs(opened) => opened.notified().await,
        }
        if let Some(place) = sessions.take(pool, backend, telling) {
            return Ok(place);
        }
    };
    let session = Session::open(dial.await?, pool.timeouts.idle).await?;
    backend.metrics().connected();
    let place = session.place();
    sessions.put(key, session);
    drop(opening);
    Ok(place)
}

/// None if a connection serves one request only: the backend is told of somebody without an address.
fn key(pool: &PoolEntry, backend: &Backend, telling: Option<&Telling>) -> Option<Key> {
    let identity = dial::identity(pool);
    match telling {
        None => Some((backend.key, identity, None)),
        Some(telling) => telling
            .origin
            .map(|origin| (backend.key, identity, Some(origin))),
    }
}

impl Sessions {
    /// A place on a connection that is there.
    pub(crate) fn take(
        &self,
        pool: &PoolEntry,
        backend: &Backend,
        telling: Option<&Telling>,
    ) -> Option<Stream> {
        let mut shelves = self.0.borrow_mut();
        let shelf = shelves.get_mut(&key(pool, backend, telling)?)?;
        let addresses = backend.addresses();
        let still_there = |session: &Session| {
            addresses.as_ref().is_none_or(|addresses| {
                session
                    .peer
                    .is_some_and(|peer| addresses.contains(&peer.ip()))
            })
        };
        shelf
            .open
            .retain_mut(|session| session.is_open() && still_there(session));
        // What a backend does not take yet waits on one connection: another would be told the same.
        let with_room = shelf.open.iter().position(Session::has_room);
        let index = with_room.or_else(|| shelf.open.iter().position(Session::is_full_still))?;
        let session = &mut shelf.open[index];
        session.unused_since = None;
        Some(session.place())
    }

    fn begin(&self, backend: &Arc<Backend>, key: Key) -> Turn<'_> {
        let mut shelves = self.0.borrow_mut();
        let shelf = shelves.entry(key).or_insert_with(|| Shelf {
            backend: backend.clone(),
            open: Vec::new(),
            opening: None,
        });
        match &shelf.opening {
            Some(opened) => Turn::Theirs(opened.clone()),
            None => {
                shelf.opening = Some(Rc::default());
                Turn::Ours(Opening(self, key))
            }
        }
    }

    fn put(&self, key: Key, session: Session) {
        if let Some(shelf) = self.0.borrow_mut().get_mut(&key) {
            shelf.open.push(session);
        }
    }

    /// Lets go of those that were unused for their time or are lost, and of all to backends that admit no more.
    pub(crate) fn sweep(&self, now: Instant) {
        self.0.borrow_mut().retain(|_, shelf| {
            let admits = shelf.backend.admits();
            let stays = |session: &mut Session| admits && session.is_wanted(now);
            shelf.open.retain_mut(stays);
            shelf.opening.is_some() || !shelf.open.is_empty()
        });
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut shelves = self.0.0.borrow_mut();
        let opened = shelves
            .get_mut(&self.1)
            .and_then(|shelf| shelf.opening.take());
        if let Some(opened) = opened {
            opened.notify_waiters();
        }
    }
}

impl Session {
    /// Begins HTTP/2 on `stream`, up to the backend's SETTINGS. What follows is the matter of a task of its own.
    async fn open(stream: Stream, kept: Duration) -> Result<Self, Failure> {
        if stream.is_tls() && !stream.agreed_on(b"h2") {
            return Err(Failure::TlsBroken);
        }
        let (encrypted, peer) = (stream.is_tls(), stream.peer_address());
        let pulse = Arc::<Pulse>::default();
        let answering = Answering::new(stream, pulse.clone());
        let handshake = builder().handshake(answering).await;
        let (connection, mut driver) = handshake.map_err(|_| Failure::BackendGone)?;
        // Of what is sent before the backend has said how many streams it takes, it may refuse a part.
        poll_fn(|cx| match Pin::new(&mut driver).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Err(Failure::BackendGone)),
            Poll::Ready(Err(error)) => {
                Poll::Ready(Err(Failure::of_connection(&io::Error::other(error))))
            }
            Poll::Pending if connection.current_max_send_streams() == UNSAID => Poll::Pending,
            Poll::Pending => Poll::Ready(Ok(())),
        })
        .await?;
        tokio::task::spawn_local(async move {
            if let Err(error) = driver.await {
                tracing::debug!(?peer, %error, "a connection to a backend ended");
            }
        });
        Ok(Self {
            full_at_first: connection.current_max_send_streams() == 0,
            connection,
            encrypted,
            peer,
            pulse,
            kept,
            unused_since: None,
        })
    }

    fn place(&self) -> Stream {
        Asked::new(self.connection.clone(), self.encrypted, self.pulse.clone()).into()
    }

    /// Whether it takes requests, as far as is known.
    fn is_open(&mut self) -> bool {
        if self.pulse.is_left() {
            return false;
        }
        let mut cx = Context::from_waker(Waker::noop());
        !matches!(self.connection.poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    fn has_room(&self) -> bool {
        let most = self.connection.current_max_send_streams().min(STREAMS);
        self.in_use() < most
    }

    fn is_full_still(&self) -> bool {
        self.full_at_first && self.connection.current_max_send_streams() == 0
    }

    /// Requests under way: all that hold the pulse but this and who reads, which is gone once the connection is.
    fn in_use(&self) -> usize {
        Arc::strong_count(&self.pulse).saturating_sub(2)
    }

    fn is_wanted(&mut self, now: Instant) -> bool {
        if self.in_use() > 0 {
            self.unused_since = None;
            return self.is_open();
        }
        let since = *self.unused_since.get_or_insert(now);
        self.is_open() && now.saturating_duration_since(since) < self.kept
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(UNSAID)
        .max_header_list_size(MAX_HEAD as u32)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .data_frame_budget(SMALL_FRAMES)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}
