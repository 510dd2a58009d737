//! Good is a backend that accepts a connection.

use std::net::SocketAddr;

use tokio::net::TcpStream;

pub(super) async fn ask(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address)
        .await
        .map_err(|error| format!("cannot connect: {error}"))
}
