//! Listening: one `SO_REUSEPORT` socket a thread and address, so the kernel spreads connections and nothing is shared.
//!
//! An address is first bound without it: another owner of the port is an error, not a silent half of the traffic.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::net::TcpListener;

use super::connection;
use super::deadlines::TICK;
use super::worker::{ListenerState, Worker};
use crate::shutdown::Shutdown;

const BACKLOG: i32 = 4_096;

/// Binds `address` for `threads` threads, of which there is one at least. Port 0 is settled by the first bind and the
/// same for all.
pub(crate) fn bind(address: SocketAddr, threads: usize) -> io::Result<Vec<StdListener>> {
    let probe = socket(address)?;
    probe.bind(&address.into())?;
    let bound = probe
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    drop(probe);
    let listener = || {
        let socket = socket(bound)?;
        socket.set_reuse_port(true)?;
        // Accepted connections inherit it.
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&bound.into())?;
        socket.listen(BACKLOG)?;
        Ok(StdListener::from(socket))
    };
    (0..threads).map(|_| listener()).collect()
}

/// Which of the threads accept on which sockets: all of both, for each socket has a queue of its own.
pub(crate) fn shares(
    sockets: &[StdListener],
    threads: usize,
) -> impl Iterator<Item = (usize, &StdListener)> {
    let count = sockets.len().max(threads);
    (0..count).map(move |n| (n % threads, &sockets[n % sockets.len()]))
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A port whose old connections are in TIME_WAIT is free; one that somebody listens on is not.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Accepts until `shutdown`, then until nobody waits any more, and closes; at once if another process accepts there.
pub(crate) async fn run(
    worker: Rc<Worker>,
    listener: TcpListener,
    state: Rc<ListenerState>,
    mut shutdown: Shutdown,
) {
    loop {
        let overload = worker.shared.overload.as_ref();
        let full = overload.is_some_and(|overload| overload.has_all_connections());
        tokio::select! {
            biased;
            // Nothing is lost with the accept: a connection not taken stays in the queue, for `finish`.
            () = shutdown.requested() => break,
            () = tokio::time::sleep(TICK), if full => {}
            accepted = listener.accept(), if !full => match accepted {
                Ok((stream, peer)) => connection::spawn(&worker, stream, peer, &state),
                Err(error) => pause_after(&error).await,
            },
        }
    }
    if !worker.is_handed_over() {
        finish(&worker, &listener, &state).await;
    }
}

/// A closed listener resets whoever is in its queue. So newcomers are held off first, by dropping their SYN (they
/// repeat it, and find the port closed or its next owner), then the queue is emptied.
async fn finish(worker: &Rc<Worker>, listener: &TcpListener, state: &Rc<ListenerState>) {
    if let Err(error) = SockRef::from(listener).attach_filter(&DROP_SYN) {
        tracing::debug!(%error, "newcomers cannot be held off while the listener closes");
    }
    empty_queue(worker, listener, state).await;
    // Handshakes under way when the filter came.
    tokio::time::sleep(TICK).await;
    empty_queue(worker, listener, state).await;
}

async fn empty_queue(worker: &Rc<Worker>, listener: &TcpListener, state: &Rc<ListenerState>) {
    loop {
        // Asked directly: the runtime may not have heard yet of a connection that is in the queue.
        let accepted = SockRef::from(listener).accept();
        match accepted {
            Ok((socket, peer)) => {
                let stream = socket
                    .set_nonblocking(true)
                    .and_then(|()| tokio::net::TcpStream::from_std(socket.into()));
                if let (Ok(stream), Some(peer)) = (stream, peer.as_socket()) {
                    connection::spawn(worker, stream, peer, state);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                pause_after(&error).await;
                if !is_of_one_connection(&error) {
                    return;
                }
            }
        }
    }
}

/// One connection's failure is nobody else's; without descriptors or memory it is better to wait than to spin.
async fn pause_after(error: &io::Error) {
    if !is_of_one_connection(error) {
        tracing::warn!(%error, "cannot accept");
        tokio::time::sleep(2 * TICK).await;
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Classic BPF on the TCP header: drop what has SYN set, keep all else whole.
const DROP_SYN: [SockFilter; 4] = [
    // A = flags (byte 13)
    SockFilter::new(0x30, 0, 0, 13),
    // if A & SYN goto drop
    SockFilter::new(0x45, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn all_threads_share_the_port_that_was_found_free() {
        let listeners = bind(loopback(), 3).unwrap();
        let bound = listeners[0].local_addr().unwrap();
        assert_ne!(bound.port(), 0);
        for listener in &listeners {
            assert_eq!(listener.local_addr().unwrap(), bound);
        }
    }

    #[test]
    fn every_thread_has_a_socket_and_every_socket_a_thread() {
        for (sockets, threads) in [(1, 1), (1, 3), (3, 1), (2, 3), (3, 2), (4, 2)] {
            let listeners = bind(loopback(), sockets).unwrap();
            let shares: Vec<_> = shares(&listeners, threads).collect();
            let has = |thread| shares.iter().any(|share| share.0 == thread);
            let is_had =
                |socket: &StdListener| shares.iter().any(|share| std::ptr::eq(share.1, socket));
            assert!((0..threads).all(has), "{sockets} {threads}");
            assert!(listeners.iter().all(is_had), "{sockets} {threads}");
        }
    }

    #[test]
    fn a_port_with_an_owner_is_an_error_even_if_he_would_share() {
        let listeners = bind(loopback(), 1).unwrap();
        let bound = listeners[0].local_addr().unwrap();
        let error = bind(bound, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
