//! One check of one backend: a file a kind, each on a connection of its own. gRPC's would be `grpc.rs`.

mod http;

mod tcp;

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::Probe;

/// Asks once, and says what was wrong with the answer. `timeout` is for all of it.
pub(super) async fn ask(
    probe: &Probe,
    address: SocketAddr,
    timeout: Duration,
) -> Result<(), String> {
    let asked = async {
        match probe {
            Probe::Http(probe) => http::ask(probe, address).await,
            Probe::Tcp {} => tcp::ask(address).await.map(drop),
        }
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {timeout:?}")),
    }
}

#[cfg(test)]
mod tests;
