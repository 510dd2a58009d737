//! The limit: a relay that copies bytes both ways and understands none of them.
//!
//! One connection to the backend for each of a client's, 16 KiB reads, one thread: what any proxy has to pay.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::{backend, proxies};

/// Relays until killed.
pub(crate) fn run() {
    backend::accept_each(proxies::LISTEN, relay);
}

async fn relay(mut client: TcpStream) {
    let Ok(mut backend) = TcpStream::connect(backend::ADDRESS).await else {
        return;
    };
    let _ = backend.set_nodelay(true);
    let (from_client, to_client) = client.split();
    let (from_backend, to_backend) = backend.split();
    // Whichever direction ends first ends the other: no load here half-closes.
    tokio::select! {
        () = copy(from_client, to_backend) => {}
        () = copy(from_backend, to_client) => {}
    }
}

async fn copy(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
