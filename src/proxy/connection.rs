//! A client's connection from accept to close.
//!
//! While it waits for a request it is a small task with a socket and a deadline; buffers and the large future that
//! serves a request exist only while one is under way.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::deadlines::{Deadline, Expired};
use super::failure::Failure;
use super::handshake;
use super::http2;
use super::overload::{Connected, Overload};
use super::proxied;
use super::request;
use super::upgrade::{self, Tunnel};
use super::worker::{ListenerState, Worker};
use crate::backend::Origin;
use crate::wire::stream::Stream;

/// After an answer that leaves bytes unread: how long they are read away before closing. Closing at once would reset
/// the connection and may take the answer from the client, so their number does not count: a client that has more to
/// send would lose it all the same.
pub(super) const LINGER_TIME: Duration = Duration::from_secs(1);

/// A client's connection.
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) stream: Stream,
    pub(crate) peer: IpAddr,
    pub(crate) listener: Rc<ListenerState>,
    pub(crate) deadline: Deadline,
    /// What it began with, if that is to be known later; all requests of a connection of HTTP/2 share it.
    pub(crate) preamble: Option<Rc<Preamble>>,
    /// Whether a request came over it.
    pub(crate) begun: bool,
    /// Whether the client may still send: if it then ends its direction, it has left and awaits no answer.
    pub(crate) stays: bool,
}

/// What a connection began with, in front of its first request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Preamble {
    /// The two ends that a proxy in front told of.
    pub(crate) origin: Option<Origin>,
    /// What the client showed in the handshake, where backends are to know: as Client-Cert has it.
    pub(crate) certificate: Option<Box<str>>,
}

impl Client {
    /// To add to what it began with.
    pub(crate) fn preamble_mut(&mut self) -> &mut Preamble {
        Rc::make_mut(self.preamble.get_or_insert_default())
    }

    /// What it showed in the handshake, as Client-Cert has it; `None` if nothing, or if nobody is to know.
    pub(crate) fn certificate(&self) -> Option<&str> {
        self.preamble.as_ref()?.certificate.as_deref()
    }

    /// The two ends of the connection, as the client sees them; none if it is gone.
    pub(crate) fn origin(&self) -> Option<Origin> {
        if let Some(origin) = self.preamble.as_ref().and_then(|preamble| preamble.origin) {
            return Some(origin);
        }
        Some(Origin {
            source: self.stream.peer_address()?,
            destination: self.stream.local_address()?,
        })
    }

    /// Ready when the client is gone, as far as it shows without writing to it.
    pub(crate) fn poll_gone<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Failure>> {
        let (_, back) = self.stream.split();
        let gone = back.poll_gone(self.stays, cx);
        gone.map(|()| Err(Failure::ClientGone))
    }

    /// What `work` comes to, as long as the client is there.
    pub(crate) async fn while_there<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => self.poll_gone(cx),
        })
        .await
    }

    /// What `poll` comes to within the deadline, as long as the client is there.
    pub(crate) async fn bound<T>(
        &mut self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<Result<T, Failure>, Expired> {
        poll_fn(|cx| match poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(Ok(value))),
            Poll::Pending if self.deadline.poll_expired(cx) => Poll::Ready(Err(Expired)),
            Poll::Pending => self.poll_gone(cx).map(Ok),
        })
        .await
    }
}

/// What becomes of the connection behind an answer.
#[derive(Debug)]
pub(crate) enum After {
    /// It waits for the next request.
    Idle,
    /// It goes on waiting: there was nothing to read after all.
    Waiting,
    /// It is closed; nothing is expected from the client.
    Close,
    /// It is closed, but the client may still be sending.
    Linger,
    /// It is reset: the answer broke off where the client could take it for complete.
    Reset,
    /// It has become a tunnel.
    Tunnel(Box<Tunnel>),
    /// It speaks HTTP/2; this was read of it.
    Http2(Box<[u8]>),
}

/// Serves `stream` as a task of its own.
pub(crate) fn spawn(
    worker: &Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    listener: &Rc<ListenerState>,
) {
    let open = Open::count(worker);
    let client = Client {
        worker: worker.clone(),
        stream: stream.into(),
        peer: peer.ip().to_canonical(),
        listener: listener.clone(),
        deadline: worker.deadlines.register(),
        preamble: None,
        begun: false,
        stays: false,
    };
    tokio::task::spawn_local(async move {
        run(client).await;
        drop(open);
    });
}

async fn run(mut client: Client) {
    client
        .deadline
        .set_idle(client.worker.shared.timeouts.client_headers);
    if client.listener.proxy_protocol && !Box::pin(proxied::accept(&mut client)).await {
        return;
    }
    if client.listener.tls.is_some() {
        match Box::pin(handshake::accept(client)).await {
            Some(encrypted) => client = encrypted,
            None => return,
        }
        if client.stream.agreed_on(b"h2") {
            return Box::pin(http2::serve(client, Box::default())).await;
        }
    }
    while wait(&mut client).await {
        // Made where it stays: it is large, and would be made here and moved there by `Box::pin`.
        let serving = Box::write(Box::new_uninit(), request::serve(&mut client));
        match Box::into_pin(serving).await {
            // It was kept just before the drain began, and its client does not know.
            After::Idle if client.worker.is_draining() => client.deadline.set_idle(LINGER_TIME),
            After::Idle => {
                let kept = client.worker.shared.timeouts.keep_alive;
                client.deadline.set_idle(kept);
            }
            After::Waiting => {}
            After::Close => break,
            After::Tunnel(tunnel) => return Box::pin(upgrade::run(client, tunnel)).await,
            After::Http2(ahead) => return Box::pin(http2::serve(client, ahead)).await,
            After::Linger => return Box::pin(linger(client)).await,
            After::Reset => return client.stream.reset_on_drop(),
        }
    }
    // In plaintext dropping it says as much.
    if client.stream.is_tls() {
        Box::pin(close(&mut client)).await;
    }
}

/// Whether there is something to read before the time is over.
async fn wait(client: &mut Client) -> bool {
    let Client {
        stream, deadline, ..
    } = client;
    match deadline.bound(|cx| stream.poll_read_ready(cx)).await {
        Ok(ready) => ready.is_ok(),
        // The runtime may not have heard yet of a request that came just in time.
        Err(_) => stream.has_input(),
    }
}

/// Announces the end, so that the client can tell it from a cut. One that is gone, or does not read, is not told.
async fn close(client: &mut Client) -> bool {
    client.deadline.set(LINGER_TIME);
    let Client {
        stream, deadline, ..
    } = client;
    let ended = deadline.bound(|cx| Pin::new(&mut *stream).poll_shutdown(cx));
    matches!(ended.await, Ok(Ok(())))
}

pub(super) async fn linger(mut client: Client) {
    if !close(&mut client).await {
        return;
    }
    client.deadline.set(LINGER_TIME);
    let Client {
        stream,
        deadline,
        worker,
        ..
    } = &mut client;
    loop {
        // Nothing is held while there is nothing.
        let ready = deadline.bound(|cx| stream.poll_read_ready(cx)).await;
        if !matches!(ready, Ok(Ok(()))) {
            return;
        }
        let mut buffer = worker.buffers.lease();
        match poll_fn(|cx| Poll::Ready(buffer.poll_fill(stream, cx))).await {
            Poll::Pending | Poll::Ready(Ok(1..)) => {}
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Poll::Ready(_) => return,
        }
    }
}

/// Counts the connection while it is open, in the thread and in the metrics.
struct Open {
    worker: Rc<Worker>,
    _connected: Option<Connected>,
}

impl Open {
    fn count(worker: &Rc<Worker>) -> Self {
        worker.open.set(worker.open.get() + 1);
        worker.shared.listener.accepted();
        let overload = worker.shared.overload.as_ref();
        Self {
            worker: worker.clone(),
            _connected: overload.map(Overload::connect),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.open.set(self.worker.open.get() - 1);
        self.worker.shared.listener.closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_that_waits_is_small() {
        let size = size_of_future(run);
        assert!(size <= 320, "{size} bytes");
    }

    #[test]
    fn a_request_under_way_takes_little_room() {
        let size = size_of_future(request::serve);
        assert!(size <= 3_072, "{size} bytes");
    }
}
