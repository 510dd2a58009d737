//! Connections to backends: an idle one of this thread, or a new one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::net::{TcpSocket, TcpStream};

use super::deadlines::Deadline;
use super::failure::Failure;
use super::record::Record;
use super::worker::Worker;
use crate::backend::Backend;
use crate::routing::PoolEntry;

/// An idle connection to `backend` that shows no sign of having ended.
pub(crate) fn reuse(worker: &Worker, backend: &Backend, now: Instant) -> Option<TcpStream> {
    loop {
        let connection = worker.idle.take(backend, now)?;
        if is_quiet(&connection) {
            return Some(connection);
        }
    }
}

/// Whether nothing arrived while it was idle: neither its end nor bytes that no request asked for. Asks the runtime
/// what it knows, which costs no system call unless something did arrive.
fn is_quiet(connection: &TcpStream) -> bool {
    match connection.poll_read_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => true,
        // It may be readiness left over from the last answer.
        Poll::Ready(_) => is_open_and_empty(connection),
    }
}

/// Asks the kernel whether the connection is open and holds no byte. For requests that must not be sent into a
/// connection that has ended already, because they could not be sent again.
pub(crate) fn is_open_and_empty(connection: &TcpStream) -> bool {
    matches!(connection.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// A new connection.
pub(crate) async fn connect(
    pool: &PoolEntry,
    backend: &Arc<Backend>,
    deadline: &Deadline,
    record: &Record,
) -> Result<TcpStream, Failure> {
    let started = Instant::now();
    deadline.set(pool.timeouts.connect);
    let mut dialling = std::pin::pin!(dial(backend.address));
    let connected = deadline.bound(|cx| dialling.as_mut().poll(cx)).await;
    record.connect.set(Some(started.elapsed()));
    match connected {
        Ok(Ok(connection)) => {
            backend.metrics().connected();
            Ok(connection)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(Failure::ConnectRefused)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(Failure::ConnectTimeout),
        Ok(Err(_)) => Err(Failure::Unreachable),
        Err(_) => Err(Failure::ConnectTimeout),
    }
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_nodelay(true)?;
    socket.connect(address).await
}
