//! Connections to backends: an idle one of this thread, or a new one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::{TcpSocket, TcpStream, UnixStream};

use super::connection::Client;
use super::failure::Failure;
use super::proxied::{self, Telling};
use super::record::Record;
use super::sessions;
use super::transfer::write_all;
use super::worker::Worker;
use crate::backend::{Backend, Target};
use crate::config::Protocol;
use crate::routing::PoolEntry;
use crate::tls::ClientTls;
use crate::wire::stream::Stream;

/// Addresses of one name that one connect tries, one after the other.
const ADDRESSES_TRIED: usize = 4;

/// An idle connection to `backend` that shows no sign of having ended.
pub(crate) fn reuse(
    worker: &Worker,
    pool: &PoolEntry,
    backend: &Backend,
    telling: Option<&Telling>,
    now: Instant,
) -> Option<Stream> {
    if pool.protocol == Protocol::Http2 {
        return worker.sessions.take(pool, backend, telling);
    }
    // What was made before the pool's TLS changed is of no use.
    let identity = identity(pool);
    loop {
        let mut connection = match telling {
            None => worker.idle.take(backend, now)?,
            Some(Telling { origin, .. }) => {
                worker.idle.take_told(backend, origin.as_ref()?, now)?
            }
        };
        if connection.identity() == identity
            && connection.is_quiet()
            && still_there(backend, &connection)
        {
            return Some(connection);
        }
    }
}

/// How connections are encrypted; 0 is not at all.
pub(super) fn identity(pool: &PoolEntry) -> u64 {
    pool.tls.as_ref().map_or(0, |tls| tls.identity())
}

/// Whether the connection goes to an address that its backend still has. Asked only of a name.
fn still_there(backend: &Backend, connection: &Stream) -> bool {
    backend.addresses().is_none_or(|addresses| {
        let peer = connection.peer_address();
        peer.is_some_and(|peer| addresses.contains(&peer.ip()))
    })
}

/// Keeps `connection`, which serves nobody since `at`, for the next request.
pub(crate) fn keep(
    worker: &Worker,
    pool: &PoolEntry,
    backend: &Arc<Backend>,
    connection: Stream,
    telling: Option<Telling>,
    at: Instant,
) {
    let (idle, kept) = (&worker.idle, pool.timeouts.idle);
    match telling {
        None => idle.put(backend, connection, at, kept),
        Some(Telling { origin: None, .. }) => {}
        Some(Telling { origin, .. }) => idle.put_told(backend, origin, connection, at, kept),
    }
}

/// A new connection, or a place on one that others wait for too.
pub(crate) async fn connect(
    worker: &Worker,
    pool: &PoolEntry,
    backend: &Arc<Backend>,
    telling: Option<&Telling>,
    client: &mut Client,
    record: &Record,
) -> Result<Stream, Failure> {
    let started = Instant::now();
    client.deadline.set(pool.timeouts.connect);
    let mut dialling = std::pin::pin!(open(worker, pool, backend, telling));
    let connected = client.bound(|cx| dialling.as_mut().poll(cx)).await;
    record.connect.set(Some(started.elapsed()));
    match connected {
        Ok(connected) => connected?,
        Err(_) if backend.is_unresolved() => Err(Failure::Unresolved),
        Err(_) => Err(Failure::ConnectTimeout),
    }
}

/// As [`connect`], for as long as it takes.
pub(crate) async fn open(
    worker: &Worker,
    pool: &PoolEntry,
    backend: &Arc<Backend>,
    telling: Option<&Telling>,
) -> Result<Stream, Failure> {
    if pool.protocol == Protocol::Http1 {
        worker.idle.make_room(backend);
    }
    let dialling = dial(pool, backend, telling);
    match pool.protocol {
        Protocol::Http1 => dialling.await.inspect(|_| backend.metrics().connected()),
        Protocol::Http2 => {
            // Rare enough to have its room elsewhere.
            let joining = sessions::connect(worker, pool, backend, telling, dialling);
            Box::pin(joining).await
        }
    }
}

async fn dial(
    pool: &PoolEntry,
    backend: &Backend,
    telling: Option<&Telling>,
) -> Result<Stream, Failure> {
    let mut tries = backend.addresses().map_or(1, |all| all.len().max(1));
    tries = tries.min(ADDRESSES_TRIED);
    loop {
        let target = backend.target().await.ok_or(Failure::Unresolved)?;
        let mut connected = match target {
            Target::Tcp(address) => tcp(address).await.map(Stream::from),
            Target::Unix(path) => UnixStream::connect(path).await.map(Stream::from),
        }
        .map_err(|error| unconnected(&error));
        if let (Ok(connection), Some(telling)) = (&mut connected, telling) {
            write_all(connection, &proxied::header(telling), &[])
                .await
                .map_err(|error| unconnected(&error))?;
        }
        if let (Some(tls), Target::Tcp(address)) = (&pool.tls, target)
            && let Ok(connection) = connected
        {
            // Boxed, so that the connections of clients are no larger for it.
            connected = Box::pin(encrypt(tls, backend, address, connection)).await;
        }
        tries -= 1;
        if connected.is_ok() || tries == 0 {
            return connected;
        }
    }
}

async fn encrypt(
    tls: &ClientTls,
    backend: &Backend,
    address: SocketAddr,
    connection: Stream,
) -> Result<Stream, Failure> {
    let Ok(socket) = connection.into_socket() else {
        unreachable!("a connection that was just made is not encrypted");
    };
    let (host, sessions) = (backend.host(address), backend.sessions());
    match tls.connect(socket, host, sessions).await {
        Ok(encrypted) => Ok(Stream::made_by(tls.identity(), encrypted.into())),
        Err(error) => {
            let (pool, id) = (&backend.pool, &backend.id);
            tracing::debug!(%pool, backend = %id, %error, "a TLS handshake with a backend failed");
            Err(Failure::of_tls(&error).unwrap_or(Failure::TlsBroken))
        }
    }
}

fn unconnected(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::ConnectRefused,
        io::ErrorKind::TimedOut => Failure::ConnectTimeout,
        _ => Failure::Unreachable,
    }
}

async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_nodelay(true)?;
    socket.connect(address).await
}
