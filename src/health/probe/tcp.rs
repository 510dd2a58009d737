//! Good is a backend that accepts a connection, and shakes hands over it where TLS is spoken.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::Way;
use crate::backend::{Backend, Target};

/// A connection, whatever carries it.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

pub(super) async fn ask(backend: &Backend, way: &Way) -> Result<Box<dyn Connection>, String> {
    let unconnected = |error: io::Error| format!("cannot connect: {error}");
    let target = backend.target().await;
    match target.ok_or("the name cannot be resolved")? {
        Target::Unix(path) => {
            let connection = UnixStream::connect(path).await.map_err(unconnected)?;
            Ok(Box::new(introduced(connection, way).await?))
        }
        Target::Tcp(address) => {
            let connection = TcpStream::connect(address).await.map_err(unconnected)?;
            let connection = introduced(connection, way).await?;
            let Some(tls) = &way.tls else {
                return Ok(Box::new(connection));
            };
            let (host, sessions) = (backend.host(address), backend.sessions());
            let encrypted = tls.connect(connection, host, sessions).await;
            let encrypted = encrypted.map_err(|error| format!("no TLS: {error}"))?;
            Ok(Box::new(encrypted))
        }
    }
}

/// Behind what it begins with.
async fn introduced<C: Connection>(mut connection: C, way: &Way) -> Result<C, String> {
    if let Some(version) = way.proxy_protocol {
        let written = connection.write_all(version.own()).await;
        written.map_err(|error| format!("the connection broke off: {error}"))?;
    }
    Ok(connection)
}
