//! A client's connection from accept to close.
//!
//! While it waits for a request it is a small task with a socket and a deadline; buffers and the large future that
//! serves a request exist only while one is under way.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::deadlines::Deadline;
use super::request;
use super::worker::{ListenerState, Worker};

/// After an answer that leaves bytes unread: read away so many of them, for so long, before closing. Closing at once
/// would reset the connection and may take the answer from the client.
const LINGER_BYTES: usize = 256 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(1);

/// A client's connection.
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) stream: TcpStream,
    pub(crate) peer: IpAddr,
    pub(crate) listener: Rc<ListenerState>,
    pub(crate) deadline: Deadline,
}

/// What becomes of the connection behind an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        stream,
        peer: peer.ip().to_canonical(),
        listener: listener.clone(),
        deadline: worker.deadlines.register(),
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
    while wait(&mut client).await {
        match Box::pin(request::serve(&mut client)).await {
            // It was kept just before the drain began, and its client does not know.
            After::Idle if client.worker.is_draining() => client.deadline.set_idle(LINGER_TIME),
            After::Idle => {
                let kept = client.worker.shared.timeouts.keep_alive;
                client.deadline.set_idle(kept);
            }
            After::Waiting => {}
            After::Close => return,
            After::Linger => return Box::pin(linger(client)).await,
            After::Reset => {
                // If it fails the connection is gone already.
                let _ = SockRef::from(&client.stream).set_linger(Some(Duration::ZERO));
                return;
            }
        }
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
        Err(_) => matches!(
            SockRef::from(&client.stream).peek(&mut [MaybeUninit::uninit()]),
            Ok(1..)
        ),
    }
}

async fn linger(mut client: Client) {
    if client.stream.shutdown().await.is_err() {
        return;
    }
    client.deadline.set(LINGER_TIME);
    let worker = client.worker.clone();
    let mut buffer = worker.buffers.lease();
    let mut left = LINGER_BYTES;
    loop {
        let read = client
            .deadline
            .bound(|cx| buffer.poll_fill(&mut client.stream, cx))
            .await;
        match read {
            Ok(Ok(n @ 1..)) if n < left => {
                left -= n;
                buffer.consume(n);
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

/// Counts the connection while it is open, in the thread and in the metrics.
struct Open(Rc<Worker>);

impl Open {
    fn count(worker: &Rc<Worker>) -> Self {
        worker.open.set(worker.open.get() + 1);
        worker.shared.listener.accepted();
        Self(worker.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.shared.listener.closed();
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
}
